"""The tables of what belongs to records; in every service's database, whatever it keeps."""

import sqlalchemy as sa

from crmkit.schema import PLATFORM
from crmkit.statements import TEXT, TIMESTAMP

COMMENT = sa.Table(
    "comment",
    PLATFORM,
    sa.Column("id", sa.Uuid, primary_key=True),
    sa.Column("version", sa.BigInteger, nullable=False),
    sa.Column("collection", TEXT, nullable=False),
    sa.Column("record", sa.Uuid, nullable=False),
    sa.Column("author", TEXT, nullable=False),
    sa.Column("create_time", TIMESTAMP, nullable=False),
    sa.Column("update_time", TIMESTAMP, nullable=False),
    sa.Column("delete_time", TIMESTAMP),
    sa.Column("reply_to", sa.Uuid),
    sa.Column("text", TEXT, nullable=False),
    sa.Column("mentions", sa.ARRAY(sa.Uuid), nullable=False),
    sa.Index("ix_comment_record", "record", "id"),
)

# A row says what was decided for or by a user; the owner follows where there is none.
FOLLOWER = sa.Table(
    "follower",
    PLATFORM,
    sa.Column("record", sa.Uuid, primary_key=True),
    sa.Column("user", sa.Uuid, primary_key=True),
    sa.Column("version", sa.BigInteger, nullable=False),
    sa.Column("collection", TEXT, nullable=False),
    sa.Column("following", sa.Boolean, nullable=False),
    sa.Column("create_time", TIMESTAMP, nullable=False),
)

# Files added to records; the bytes lie in the store, under the id.
ATTACHMENT = sa.Table(
    "attachment",
    PLATFORM,
    sa.Column("id", sa.Uuid, primary_key=True),
    sa.Column("version", sa.BigInteger, nullable=False),
    sa.Column("collection", TEXT, nullable=False),
    sa.Column("record", sa.Uuid, nullable=False),
    sa.Column("creator", TEXT, nullable=False),
    sa.Column("create_time", TIMESTAMP, nullable=False),
    sa.Column("update_time", TIMESTAMP, nullable=False),
    sa.Column("delete_time", TIMESTAMP),
    sa.Column("purge_time", TIMESTAMP),
    sa.Column("file_name", TEXT, nullable=False),
    sa.Column("content_type", TEXT, nullable=False),
    sa.Column("size_bytes", sa.BigInteger, nullable=False),
    sa.Column("sha256", sa.LargeBinary, nullable=False),
    sa.Index("ix_attachment_record", "record", "id"),
)
