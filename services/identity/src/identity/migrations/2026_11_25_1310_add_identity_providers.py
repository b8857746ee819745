"""Identity providers, and which of their people are which users."""

import sqlalchemy as sa
from alembic import op
from sqlalchemy.dialects import postgresql

revision = "2026_11_25_1310"
down_revision = "2026_11_25_1301"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.create_table(
        "identity_providers",
        sa.Column("id", sa.Uuid(), nullable=False),
        sa.Column("version", sa.Integer(), nullable=False),
        sa.Column("create_time", sa.TIMESTAMP(timezone=True), nullable=False),
        sa.Column("update_time", sa.TIMESTAMP(timezone=True), nullable=False),
        sa.Column("delete_time", sa.TIMESTAMP(timezone=True), nullable=True),
        sa.Column("creator", sa.Uuid(), nullable=True),
        sa.Column("owner", sa.Uuid(), nullable=True),
        sa.Column("team", sa.Uuid(), nullable=True),
        sa.Column("labels", postgresql.JSONB(), nullable=False),
        sa.Column("external_id", sa.Text(collation="C"), nullable=True),
        sa.Column(
            "custom_fields", postgresql.JSONB(), nullable=False, server_default=sa.text("'{}'")
        ),
        sa.Column("display_name", sa.Text(collation="C"), nullable=False),
        sa.Column("issuer", sa.Text(collation="C"), nullable=False),
        sa.Column("client_id", sa.Text(collation="C"), nullable=False),
        sa.Column("allowed_email_domains", sa.ARRAY(sa.Text(collation="C")), nullable=False),
        sa.Column("default_roles", sa.ARRAY(sa.Uuid()), nullable=False),
        sa.Column("create_users", sa.Boolean(), nullable=False),
        sa.Column("sealed_client_secret", sa.LargeBinary(), nullable=True),
        sa.PrimaryKeyConstraint("id"),
    )
    op.create_index("ix_identity_providers_owner", "identity_providers", ["owner", "id"])
    op.create_index("ix_identity_providers_team", "identity_providers", ["team", "id"])
    op.create_index(
        "ix_identity_providers_delete_time",
        "identity_providers",
        ["delete_time", "id"],
        postgresql_where=sa.text("delete_time IS NOT NULL"),
    )
    op.create_index(
        "uq_identity_providers_external_id",
        "identity_providers",
        ["external_id"],
        unique=True,
        postgresql_where=sa.text("external_id IS NOT NULL"),
    )
    op.create_index(
        "uq_identity_providers_display_name", "identity_providers", ["display_name"], unique=True
    )
    op.create_table(
        "external_identities",
        sa.Column("provider", sa.Uuid(), nullable=False),
        sa.Column("subject", sa.Text(collation="C"), nullable=False),
        sa.Column("user", sa.Uuid(), nullable=False),
        sa.Column("create_time", sa.TIMESTAMP(timezone=True), nullable=False),
        sa.PrimaryKeyConstraint("provider", "subject"),
    )
    op.create_index("ix_external_identities_user", "external_identities", ["user"])


def downgrade() -> None:
    op.drop_table("external_identities")
    op.drop_table("identity_providers")
