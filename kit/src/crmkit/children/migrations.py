"""What migrations do to the tables of `crmkit.children.tables`: as in `crmkit.platform_changes`."""

import sqlalchemy as sa
from alembic import op


def create_comments_and_followers() -> None:
    """Creates the tables of comments and followers."""
    op.create_table(
        "comment",
        sa.Column("id", sa.Uuid(), nullable=False),
        sa.Column("version", sa.BigInteger(), nullable=False),
        sa.Column("collection", sa.Text(collation="C"), nullable=False),
        sa.Column("record", sa.Uuid(), nullable=False),
        sa.Column("author", sa.Text(collation="C"), nullable=False),
        sa.Column("create_time", sa.TIMESTAMP(timezone=True), nullable=False),
        sa.Column("update_time", sa.TIMESTAMP(timezone=True), nullable=False),
        sa.Column("delete_time", sa.TIMESTAMP(timezone=True), nullable=True),
        sa.Column("reply_to", sa.Uuid(), nullable=True),
        sa.Column("text", sa.Text(collation="C"), nullable=False),
        sa.Column("mentions", sa.ARRAY(sa.Uuid()), nullable=False),
        sa.PrimaryKeyConstraint("id"),
    )
    op.create_index("ix_comment_record", "comment", ["record", "id"])
    op.create_table(
        "follower",
        sa.Column("record", sa.Uuid(), nullable=False),
        sa.Column("user", sa.Uuid(), nullable=False),
        sa.Column("version", sa.BigInteger(), nullable=False),
        sa.Column("collection", sa.Text(collation="C"), nullable=False),
        sa.Column("following", sa.Boolean(), nullable=False),
        sa.Column("create_time", sa.TIMESTAMP(timezone=True), nullable=False),
        sa.PrimaryKeyConstraint("record", "user"),
    )


def drop_comments_and_followers() -> None:
    """Drops them again."""
    op.drop_table("follower")
    op.drop_table("comment")


def create_attachments() -> None:
    """Creates the table of attachments."""
    op.create_table(
        "attachment",
        sa.Column("id", sa.Uuid(), nullable=False),
        sa.Column("version", sa.BigInteger(), nullable=False),
        sa.Column("collection", sa.Text(collation="C"), nullable=False),
        sa.Column("record", sa.Uuid(), nullable=False),
        sa.Column("creator", sa.Text(collation="C"), nullable=False),
        sa.Column("create_time", sa.TIMESTAMP(timezone=True), nullable=False),
        sa.Column("update_time", sa.TIMESTAMP(timezone=True), nullable=False),
        sa.Column("delete_time", sa.TIMESTAMP(timezone=True), nullable=True),
        sa.Column("purge_time", sa.TIMESTAMP(timezone=True), nullable=True),
        sa.Column("file_name", sa.Text(collation="C"), nullable=False),
        sa.Column("content_type", sa.Text(collation="C"), nullable=False),
        sa.Column("size_bytes", sa.BigInteger(), nullable=False),
        sa.Column("sha256", sa.LargeBinary(), nullable=False),
        sa.PrimaryKeyConstraint("id"),
    )
    op.create_index("ix_attachment_record", "attachment", ["record", "id"])


def drop_attachments() -> None:
    """Drops it again."""
    op.drop_table("attachment")


def create_collaborators() -> None:
    """Creates the table of collaborators."""
    op.create_table(
        "collaborator",
        sa.Column("id", sa.Uuid(), nullable=False),
        sa.Column("version", sa.BigInteger(), nullable=False),
        sa.Column("collection", sa.Text(collation="C"), nullable=False),
        sa.Column("record", sa.Uuid(), nullable=False),
        sa.Column("grantee_collection", sa.Text(collation="C"), nullable=False),
        sa.Column("grantee", sa.Uuid(), nullable=False),
        sa.Column("access", sa.SmallInteger(), nullable=False),
        sa.Column("creator", sa.Text(collation="C"), nullable=False),
        sa.Column("create_time", sa.TIMESTAMP(timezone=True), nullable=False),
        sa.Column("update_time", sa.TIMESTAMP(timezone=True), nullable=False),
        sa.PrimaryKeyConstraint("id"),
    )
    op.create_index("uq_collaborator_record", "collaborator", ["record", "grantee"], unique=True)
    op.create_index("ix_collaborator_grantee", "collaborator", ["grantee", "record"])


def drop_collaborators() -> None:
    """Drops it again."""
    op.drop_table("collaborator")


def make_attachments_versions() -> None:
    """Makes each attachment the first version of a document."""
    for column in (
        sa.Column("document", sa.Uuid(), nullable=True),
        sa.Column("version_number", sa.Integer(), nullable=False, server_default=sa.text("1")),
        sa.Column("is_current", sa.Boolean(), nullable=False, server_default=sa.text("true")),
        sa.Column("comment", sa.Text(collation="C"), nullable=True),
        sa.Column("document_version", sa.BigInteger(), nullable=False, server_default=sa.text("1")),
        sa.Column("document_creator", sa.Text(collation="C"), nullable=True),
        sa.Column("document_create_time", sa.TIMESTAMP(timezone=True), nullable=True),
        sa.Column("document_update_time", sa.TIMESTAMP(timezone=True), nullable=True),
        sa.Column("title", sa.Text(collation="C"), nullable=True),
        sa.Column("folder", sa.Text(collation="C"), nullable=False, server_default=sa.text("''")),
        sa.Column(
            "tags", sa.ARRAY(sa.Text(collation="C")), nullable=False, server_default=sa.text("'{}'")
        ),
        sa.Column("expire_time", sa.TIMESTAMP(timezone=True), nullable=True),
    ):
        op.add_column("attachment", column)
    op.create_index("ix_attachment_document", "attachment", ["document"])
    op.create_index(
        "ix_attachment_expire_time",
        "attachment",
        ["expire_time", "id"],
        postgresql_where=sa.text("expire_time IS NOT NULL"),
    )


def make_versions_attachments() -> None:
    """Makes attachments nothing but attachments again."""
    op.drop_index("ix_attachment_expire_time", "attachment")
    op.drop_index("ix_attachment_document", "attachment")
    for column in (
        "expire_time", "tags", "folder", "title", "document_update_time", "document_create_time",
        "document_creator", "document_version", "comment", "is_current", "version_number", "document",
    ):  # fmt: skip
        op.drop_column("attachment", column)
