"""Second factors with recovery codes, and tokens that work once."""

import sqlalchemy as sa
from alembic import op

revision = "2026_11_25_1130"
down_revision = "2026_11_25_1120"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.add_column(
        "users", sa.Column("second_factor", sa.Boolean(), nullable=False, server_default=sa.false())
    )
    op.create_table(
        "second_factors",
        sa.Column("user", sa.Uuid(), nullable=False),
        sa.Column("sealed_secret", sa.LargeBinary(), nullable=False),
        sa.Column("confirm_time", sa.TIMESTAMP(timezone=True), nullable=True),
        sa.Column("last_step", sa.BigInteger(), nullable=False),
        sa.PrimaryKeyConstraint("user"),
    )
    op.create_table(
        "recovery_codes",
        sa.Column("hash", sa.LargeBinary(), nullable=False),
        sa.Column("user", sa.Uuid(), nullable=False),
        sa.PrimaryKeyConstraint("hash"),
    )
    op.create_index("ix_recovery_codes_user", "recovery_codes", ["user"], unique=False)
    op.create_table(
        "one_time_tokens",
        sa.Column("hash", sa.LargeBinary(), nullable=False),
        sa.Column("user", sa.Uuid(), nullable=False),
        sa.Column("purpose", sa.Text(collation="C"), nullable=False),
        sa.Column("expire_time", sa.TIMESTAMP(timezone=True), nullable=False),
        sa.PrimaryKeyConstraint("hash"),
    )
    op.create_index("ix_one_time_tokens_user", "one_time_tokens", ["user"], unique=False)


def downgrade() -> None:
    op.drop_table("one_time_tokens")
    op.drop_table("recovery_codes")
    op.drop_table("second_factors")
    op.drop_column("users", "second_factor")
