"""Add a logo to the organisation."""

import sqlalchemy as sa
from alembic import op

revision = "2026_11_25_1530"
down_revision = "2026_11_25_1520"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.add_column("organization", sa.Column("logo_uri", sa.Text(collation="C"), nullable=True))
    op.create_table(
        "logo",
        sa.Column("organization", sa.Uuid(), nullable=False),
        sa.Column("digest", sa.Text(collation="C"), nullable=False),
        sa.Column("png", sa.LargeBinary(), nullable=False),
        sa.PrimaryKeyConstraint("organization"),
        sa.ForeignKeyConstraint(["organization"], ["organization.id"]),
    )


def downgrade() -> None:
    op.drop_table("logo")
    op.drop_column("organization", "logo_uri")
