"""Merge accounts and contacts."""

from typing import Any

import sqlalchemy as sa
from alembic import op
from sqlalchemy.dialects import postgresql

revision = "2026_11_25_1701"
down_revision = "2026_11_25_1700"
branch_labels = None
depends_on = None

_TEXT = sa.Text(collation="C")
_TIME = sa.TIMESTAMP(timezone=True)
# What was recorded, where it was merged into what is shown: table, field, type, operators of the index.
_RECORDED = (
    ("accounts", "parent_account", sa.Uuid(), ""),
    ("contacts", "account", sa.Uuid(), ""),
    ("contacts", "accounts", postgresql.JSONB(), "jsonb_path_ops"),
    ("consents", "contact", sa.Uuid(), ""),
    ("tasks", "related", sa.ARRAY(_TEXT), "array_ops"),
    ("interactions", "participants", sa.ARRAY(_TEXT), "array_ops"),
    ("interactions", "related", sa.ARRAY(_TEXT), "array_ops"),
    ("appointments", "attendees", postgresql.JSONB(), "jsonb_path_ops"),
    ("appointments", "participants", sa.ARRAY(_TEXT), "array_ops"),
    ("appointments", "related", sa.ARRAY(_TEXT), "array_ops"),
)


def upgrade() -> None:
    for table in ("accounts", "contacts"):
        op.add_column(table, sa.Column("merged_into", sa.Uuid(), nullable=True))
        op.create_index(
            f"ix_{table}_merged_into",
            table,
            ["merged_into"],
            postgresql_where=sa.text("merged_into IS NOT NULL"),
        )
    for table, field, kind, operators in _RECORDED:
        column = f"{field}_as_recorded"
        op.add_column(table, sa.Column(column, kind, nullable=True))
        gin: dict[str, Any] = {"postgresql_using": "gin", "postgresql_ops": {column: operators}}
        op.create_index(
            f"ix_{table}_{column}",
            table,
            [column],
            postgresql_where=sa.text(f"{column} IS NOT NULL"),
            **(gin if operators else {}),
        )
    op.create_index(
        "ix_appointments_attendees",
        "appointments",
        ["attendees"],
        postgresql_using="gin",
        postgresql_ops={"attendees": "jsonb_path_ops"},
    )
    _create_merge_records()


def _create_merge_records() -> None:
    op.create_table(
        "merge_records",
        sa.Column("id", sa.Uuid(), nullable=False),
        sa.Column("version", sa.Integer(), nullable=False),
        sa.Column("create_time", _TIME, nullable=False),
        sa.Column("update_time", _TIME, nullable=False),
        sa.Column("delete_time", _TIME, nullable=True),
        sa.Column("creator", sa.Uuid(), nullable=True),
        sa.Column("owner", sa.Uuid(), nullable=True),
        sa.Column("team", sa.Uuid(), nullable=True),
        sa.Column("labels", postgresql.JSONB(), nullable=False),
        sa.Column("external_id", _TEXT, nullable=True),
        sa.Column(
            "custom_fields", postgresql.JSONB(), nullable=False, server_default=sa.text("'{}'")
        ),
        sa.Column("kind", _TEXT, nullable=False),
        sa.Column("state", _TEXT, nullable=False),
        sa.Column("survivor", _TEXT, nullable=False),
        sa.Column("losers", sa.ARRAY(_TEXT), nullable=False),
        sa.Column("field_choices", postgresql.JSONB(), nullable=False),
        sa.Column("changed_fields", sa.ARRAY(_TEXT), nullable=False),
        sa.Column("revision", _TEXT, nullable=True),
        sa.Column("moved", postgresql.JSONB(), nullable=False),
        sa.Column("caused_by", sa.Uuid(), nullable=True),
        sa.Column("unmerge_time", _TIME, nullable=True),
        sa.Column("unmerger", sa.Uuid(), nullable=True),
        sa.Column("kept_fields", sa.ARRAY(_TEXT), nullable=False),
        sa.PrimaryKeyConstraint("id"),
    )
    op.create_index("ix_merge_records_owner", "merge_records", ["owner", "id"])
    op.create_index("ix_merge_records_team", "merge_records", ["team", "id"])
    op.create_index("ix_merge_records_survivor", "merge_records", ["survivor", "id"])
    op.create_index("ix_merge_records_losers", "merge_records", ["losers"], postgresql_using="gin")
    op.create_index(
        "ix_merge_records_caused_by",
        "merge_records",
        ["caused_by"],
        postgresql_where=sa.text("caused_by IS NOT NULL"),
    )
    op.create_index(
        "ix_merge_records_delete_time",
        "merge_records",
        ["delete_time", "id"],
        postgresql_where=sa.text("delete_time IS NOT NULL"),
    )
    op.create_index(
        "uq_merge_records_external_id",
        "merge_records",
        ["external_id"],
        unique=True,
        postgresql_where=sa.text("external_id IS NOT NULL"),
    )


def downgrade() -> None:
    op.drop_table("merge_records")
    op.drop_index("ix_appointments_attendees", "appointments")
    for table, field, _, _ in reversed(_RECORDED):
        op.drop_column(table, f"{field}_as_recorded")
    for table in ("accounts", "contacts"):
        op.drop_column(table, "merged_into")
