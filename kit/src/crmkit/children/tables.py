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

# Files added to records; the bytes lie in the store, under the id. Each is a version of a document: what is
# said of a document stands in each of its rows, so that it moves and goes with them (ADR 9).
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
    sa.Column("document", sa.Uuid),  # the first version's id; of a first version empty
    sa.Column("version_number", sa.Integer, nullable=False, server_default=sa.text("1")),
    sa.Column("is_current", sa.Boolean, nullable=False, server_default=sa.text("true")),
    sa.Column("comment", TEXT),
    sa.Column("document_version", sa.BigInteger, nullable=False, server_default=sa.text("1")),
    sa.Column("document_creator", TEXT),  # of a first version empty, like the next
    sa.Column("document_create_time", TIMESTAMP),
    sa.Column("document_update_time", TIMESTAMP),
    sa.Column("title", TEXT),
    sa.Column("folder", TEXT, nullable=False, server_default=sa.text("''")),
    sa.Column("tags", sa.ARRAY(TEXT), nullable=False, server_default=sa.text("'{}'")),
    sa.Column("expire_time", TIMESTAMP),
    sa.Index("ix_attachment_record", "record", "id"),
    sa.Index("ix_attachment_document", "document"),
    sa.Index(
        "ix_attachment_expire_time",
        "expire_time",
        "id",
        postgresql_where=sa.text("expire_time IS NOT NULL"),
    ),
)
