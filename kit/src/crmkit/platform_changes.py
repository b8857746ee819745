"""What later migrations do to the kit's tables: pairs of functions, as in `platform_tables`.

Each is called by one migration of every service; one that has been released is never edited.
"""

import sqlalchemy as sa
from alembic import op
from sqlalchemy.dialects import postgresql


def create_revisions() -> None:
    """Creates the table of the records' history."""
    op.create_table(
        "revision",
        sa.Column("record", sa.Uuid(), nullable=False),
        sa.Column("version", sa.BigInteger(), nullable=False),
        sa.Column("collection", sa.Text(collation="C"), nullable=False),
        sa.Column("create_time", sa.TIMESTAMP(timezone=True), nullable=False),
        sa.Column("actor", sa.Text(collation="C"), nullable=False),
        sa.Column("kind", sa.Text(collation="C"), nullable=False),
        sa.Column("correlation_id", sa.Text(collation="C"), nullable=False),
        sa.Column("causation_id", sa.Text(collation="C"), nullable=False),
        sa.Column("imported", sa.Boolean(), nullable=False),
        sa.Column("changes", postgresql.JSONB(), nullable=False),
        sa.PrimaryKeyConstraint("record", "version"),
    )


def drop_revisions() -> None:
    """Drops it again."""
    op.drop_table("revision")


def create_custom_fields(*tables: str) -> None:
    """Creates definitions and values of custom fields, and their place in tables of records."""
    op.create_table(
        "custom_field",
        sa.Column("id", sa.Uuid(), nullable=False),
        sa.Column("version", sa.BigInteger(), nullable=False),
        sa.Column("create_time", sa.TIMESTAMP(timezone=True), nullable=False),
        sa.Column("update_time", sa.TIMESTAMP(timezone=True), nullable=False),
        sa.Column("delete_time", sa.TIMESTAMP(timezone=True), nullable=True),
        sa.Column("creator", sa.Uuid(), nullable=True),
        sa.Column("resource", sa.Text(collation="C"), nullable=False),
        sa.Column("field_id", sa.Text(collation="C"), nullable=False),
        sa.Column("display_name", sa.Text(collation="C"), nullable=False),
        sa.Column("type", sa.Text(collation="C"), nullable=False),
        sa.Column("options", postgresql.JSONB(), nullable=False),
        sa.Column("target", sa.Text(collation="C"), nullable=False),
        sa.Column("required", sa.Boolean(), nullable=False),
        sa.Column("unique", sa.Boolean(), nullable=False),
        sa.Column("default_value", postgresql.JSONB(), nullable=False),
        sa.Column("personal", sa.Boolean(), nullable=False),
        sa.Column("filterable", sa.Boolean(), nullable=False),
        sa.Column("sortable", sa.Boolean(), nullable=False),
        sa.Column("help_text", sa.Text(collation="C"), nullable=False),
        sa.Column("position", sa.Integer(), nullable=False),
        sa.PrimaryKeyConstraint("id"),
        sa.UniqueConstraint("resource", "field_id", name="uq_custom_field_field_id"),
        sa.UniqueConstraint("id", "type", "target", "unique", name="uq_custom_field_kind"),
    )
    op.create_table(
        "custom_field_value",
        sa.Column("record", sa.Uuid(), nullable=False),
        sa.Column("field", sa.Uuid(), nullable=False),
        sa.Column("type", sa.Text(collation="C"), nullable=False),
        sa.Column("target", sa.Text(collation="C"), nullable=False),
        sa.Column("unique", sa.Boolean(), nullable=False),
        sa.Column("unique_key", sa.Text(collation="C"), nullable=True),
        sa.Column("text_value", sa.Text(collation="C"), nullable=True),
        sa.Column("number_value", sa.Numeric(), nullable=True),
        sa.Column("flag_value", sa.Boolean(), nullable=True),
        sa.Column("date_value", sa.Date(), nullable=True),
        sa.Column("time_value", sa.TIMESTAMP(timezone=True), nullable=True),
        sa.Column("reference_value", sa.Uuid(), nullable=True),
        sa.Column("options_value", sa.ARRAY(sa.Text(collation="C")), nullable=True),
        sa.PrimaryKeyConstraint("record", "field"),
        sa.ForeignKeyConstraint(
            ["field", "type", "target", "unique"],
            ["custom_field.id", "custom_field.type", "custom_field.target", "custom_field.unique"],
            name="fk_custom_field_value_kind",
        ),
    )
    op.create_index(
        "uq_custom_field_value_unique_key",
        "custom_field_value",
        ["field", "unique_key"],
        unique=True,
    )
    for kind in ("text", "number", "flag", "date", "time", "reference"):
        op.create_index(
            f"ix_custom_field_value_{kind}",
            "custom_field_value",
            ["field", f"{kind}_value", "record"],
            postgresql_where=sa.text(f"{kind}_value IS NOT NULL"),
        )
    op.create_index(
        "ix_custom_field_value_options",
        "custom_field_value",
        ["options_value"],
        postgresql_using="gin",
    )
    for table in tables:
        op.add_column(
            table,
            sa.Column(
                "custom_fields", postgresql.JSONB(), nullable=False, server_default=sa.text("'{}'")
            ),
        )


def drop_custom_fields(*tables: str) -> None:
    """Drops all of it again."""
    for table in tables:
        op.drop_column(table, "custom_fields")
    op.drop_table("custom_field_value")
    op.drop_table("custom_field")


def index_trash(*tables: str) -> None:
    """Indexes the deleted records of tables, by the time of their deletion."""
    for table in tables:
        op.create_index(
            f"ix_{table}_delete_time",
            table,
            ["delete_time", "id"],
            postgresql_where=sa.text("delete_time IS NOT NULL"),
        )


def unindex_trash(*tables: str) -> None:
    """Drops these indexes again."""
    for table in tables:
        op.drop_index(f"ix_{table}_delete_time", table)


def add_limits_to_files() -> None:
    """Adds what the credential was limited to that an import or export was begun with."""
    for table in ("import", "export"):
        op.add_column(table, sa.Column("limits", sa.ARRAY(sa.Text(collation="C")), nullable=True))


def drop_limits_of_files() -> None:
    """Drops it again."""
    for table in ("import", "export"):
        op.drop_column(table, "limits")


def create_bulk_actions() -> None:
    """Creates bulk actions and their records."""
    op.create_table(
        "bulk_action",
        sa.Column("id", sa.Uuid(), nullable=False),
        sa.Column("creator", sa.Uuid(), nullable=True),
        sa.Column("create_time", sa.TIMESTAMP(timezone=True), nullable=False),
        sa.Column("end_time", sa.TIMESTAMP(timezone=True), nullable=True),
        sa.Column("state", sa.Text(collation="C"), nullable=False),
        sa.Column("specification", sa.LargeBinary(), nullable=False),
        sa.Column("reverts", sa.Uuid(), nullable=True),
        sa.Column("correlation_id", sa.Text(collation="C"), nullable=False),
        sa.Column("total_rows", sa.BigInteger(), nullable=True),
        sa.Column("processed_rows", sa.BigInteger(), nullable=False),
        sa.Column("changed_count", sa.BigInteger(), nullable=False),
        sa.Column("unchanged_count", sa.BigInteger(), nullable=False),
        sa.Column("failed_count", sa.BigInteger(), nullable=False),
        sa.Column("error_message", sa.Text(collation="C"), nullable=True),
        sa.Column("limits", sa.ARRAY(sa.Text(collation="C")), nullable=True),
        sa.PrimaryKeyConstraint("id"),
    )
    op.create_index("ix_bulk_action_creator", "bulk_action", ["creator", "id"], unique=False)
    op.create_table(
        "bulk_action_row",
        sa.Column("bulk_action", sa.Uuid(), nullable=False),
        sa.Column("row", sa.BigInteger(), nullable=False),
        sa.Column("record", sa.Uuid(), nullable=False),
        sa.Column("reverted_version", sa.BigInteger(), nullable=True),
        sa.Column("outcome", sa.Text(collation="C"), nullable=True),
        sa.Column("version", sa.BigInteger(), nullable=True),
        sa.Column("field", sa.Text(collation="C"), nullable=True),
        sa.Column("reason", sa.Text(collation="C"), nullable=True),
        sa.Column("message", sa.Text(collation="C"), nullable=True),
        sa.ForeignKeyConstraint(["bulk_action"], ["bulk_action.id"], ondelete="CASCADE"),
        sa.PrimaryKeyConstraint("bulk_action", "row"),
    )
    op.create_index(
        "ix_bulk_action_row_failed",
        "bulk_action_row",
        ["bulk_action", "row"],
        postgresql_where=sa.text("outcome = 'FAILED'"),
    )


def drop_bulk_actions() -> None:
    """Drops both again."""
    op.drop_table("bulk_action_row")
    op.drop_table("bulk_action")


def create_handovers() -> None:
    """Creates how far this service's parts of hand-overs are."""
    op.create_table(
        "handover",
        sa.Column("id", sa.Uuid(), nullable=False),
        sa.Column("version", sa.Integer(), nullable=False),
        sa.Column("user", sa.Uuid(), nullable=False),
        sa.Column("successor", sa.Uuid(), nullable=False),
        sa.Column("actor", sa.Text(collation="C"), nullable=False),
        sa.Column("state", sa.Text(collation="C"), nullable=False),
        sa.Column("total_count", sa.BigInteger(), nullable=False),
        sa.Column("moved_count", sa.BigInteger(), nullable=False),
        sa.Column("failed_count", sa.BigInteger(), nullable=False),
        sa.Column("error_message", sa.Text(collation="C"), nullable=True),
        sa.Column("collection", sa.Text(collation="C"), nullable=True),
        sa.Column("position", sa.Uuid(), nullable=True),
        sa.PrimaryKeyConstraint("id"),
    )


def drop_handovers() -> None:
    """Drops it again."""
    op.drop_table("handover")


def hand_over_teams() -> None:
    """A hand-over is of a person's records or of a team's, to a person or to a team."""
    for name in ("user", "successor"):
        op.alter_column("handover", name, existing_type=sa.Uuid(), nullable=True)
    for name in ("former_team", "successor_team"):
        op.add_column("handover", sa.Column(name, sa.Uuid(), nullable=True))


def hand_over_persons_only() -> None:
    """Takes it back; hand-overs of teams go with it."""
    op.execute("DELETE FROM handover WHERE former_team IS NOT NULL")
    for name in ("former_team", "successor_team"):
        op.drop_column("handover", name)
    for name in ("user", "successor"):
        op.alter_column("handover", name, existing_type=sa.Uuid(), nullable=False)


def create_rejected_rows() -> None:
    """Creates the place of rows that imports refuse, and of the reason why an import failed."""
    op.create_table(
        "import_rejected_row",
        sa.Column("import", sa.Uuid(), nullable=False),
        sa.Column("row", sa.BigInteger(), nullable=False),
        sa.Column("cells", sa.ARRAY(sa.Text(collation="C")), nullable=False),
        sa.PrimaryKeyConstraint("import", "row"),
        sa.ForeignKeyConstraint(["import"], ["import.id"], ondelete="CASCADE"),
    )
    op.add_column("import", sa.Column("error_reason", sa.Text(collation="C"), nullable=True))


def drop_rejected_rows() -> None:
    """Drops both again."""
    op.drop_column("import", "error_reason")
    op.drop_table("import_rejected_row")


def know_merges() -> None:
    """Lets references follow merges: what lies in what, and what custom fields were recorded with."""
    op.create_index(
        "ix_known_record_merged_into",
        "known_record",
        ["collection", "merged_into"],
        postgresql_where=sa.text("merged_into IS NOT NULL"),
    )
    op.add_column(
        "custom_field_value", sa.Column("reference_as_recorded", sa.Uuid(), nullable=True)
    )
    op.create_index(
        "ix_custom_field_value_recorded",
        "custom_field_value",
        ["field", "reference_as_recorded"],
        postgresql_where=sa.text("reference_as_recorded IS NOT NULL"),
    )


def forget_merges() -> None:
    """Drops it again."""
    op.drop_column("custom_field_value", "reference_as_recorded")
    op.drop_index("ix_known_record_merged_into", "known_record")
