"""The tables of custom fields: in every service's database, whatever is defined.

What migrations do to them stands in `crmkit.platform_changes`.
"""

import sqlalchemy as sa
from sqlalchemy.dialects.postgresql import JSONB

from crmkit.schema import PLATFORM
from crmkit.statements import TEXT, TIMESTAMP

# What the organisation adds to records. Type and uniqueness stand in the values too: the key that refers here
# lets neither change while there are values, whoever else is writing.
CUSTOM_FIELD = sa.Table(
    "custom_field",
    PLATFORM,
    sa.Column("id", sa.Uuid, primary_key=True),
    sa.Column("version", sa.BigInteger, nullable=False),
    sa.Column("create_time", TIMESTAMP, nullable=False),
    sa.Column("update_time", TIMESTAMP, nullable=False),
    sa.Column("delete_time", TIMESTAMP),
    sa.Column("creator", sa.Uuid),
    sa.Column("resource", TEXT, nullable=False),
    sa.Column("field_id", TEXT, nullable=False),
    sa.Column("display_name", TEXT, nullable=False),
    sa.Column("type", TEXT, nullable=False),
    sa.Column("options", JSONB, nullable=False),
    sa.Column("target", TEXT, nullable=False),
    sa.Column("required", sa.Boolean, nullable=False),
    sa.Column("unique", sa.Boolean, nullable=False),
    sa.Column("default_value", JSONB, nullable=False),
    sa.Column("personal", sa.Boolean, nullable=False),
    sa.Column("filterable", sa.Boolean, nullable=False),
    sa.Column("sortable", sa.Boolean, nullable=False),
    sa.Column("help_text", TEXT, nullable=False),
    sa.Column("position", sa.Integer, nullable=False),
    sa.UniqueConstraint("resource", "field_id", name="uq_custom_field_field_id"),
    sa.UniqueConstraint("id", "type", "target", "unique", name="uq_custom_field_kind"),
)
# The values once more, one row each, for filters, orders and uniqueness: records hold them as jsonb.
CUSTOM_FIELD_VALUE = sa.Table(
    "custom_field_value",
    PLATFORM,
    sa.Column("record", sa.Uuid, primary_key=True),
    sa.Column("field", sa.Uuid, primary_key=True),
    sa.Column("type", TEXT, nullable=False),
    sa.Column("target", TEXT, nullable=False),
    sa.Column("unique", sa.Boolean, nullable=False),
    sa.Column("unique_key", TEXT),
    sa.Column("text_value", TEXT),
    sa.Column("number_value", sa.Numeric),
    sa.Column("flag_value", sa.Boolean),
    sa.Column("date_value", sa.Date),
    sa.Column("time_value", TIMESTAMP),
    sa.Column("reference_value", sa.Uuid),
    sa.Column("options_value", sa.ARRAY(TEXT)),
    # What was recorded, where that was merged into what is shown.
    sa.Column("reference_as_recorded", sa.Uuid),
    sa.ForeignKeyConstraint(
        ["field", "type", "target", "unique"],
        ["custom_field.id", "custom_field.type", "custom_field.target", "custom_field.unique"],
        name="fk_custom_field_value_kind",
    ),
    sa.Index("uq_custom_field_value_unique_key", "field", "unique_key", unique=True),
    *[
        sa.Index(
            f"ix_custom_field_value_{kind}",
            "field",
            f"{kind}_value",
            "record",
            postgresql_where=sa.text(f"{kind}_value IS NOT NULL"),
        )
        for kind in ("text", "number", "flag", "date", "time", "reference")
    ],
    sa.Index("ix_custom_field_value_options", "options_value", postgresql_using="gin"),
    sa.Index(
        "ix_custom_field_value_recorded",
        "field",
        "reference_as_recorded",
        postgresql_where=sa.text("reference_as_recorded IS NOT NULL"),
    ),
)
