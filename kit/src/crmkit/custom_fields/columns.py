"""Custom fields in filters and orders, through the table of their values."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import sqlalchemy as sa

from crmkit.custom_fields.definitions import CustomField, ResourceFields
from crmkit.custom_fields.tables import CUSTOM_FIELD_VALUE
from crmkit.custom_fields.types import KINDS
from crmkit.filters import Condition, FilterField

PREFIX = "custom_fields."


@dataclass(frozen=True, slots=True, eq=False)
class CustomColumns:
    """What lists of one resource may name of its custom fields; the same object while they are the same.

    Attributes:
        filters: By name, `custom_fields.region`.
        orders: The column to sort by, of a table that must be joined.
        joins: That table → the condition to join it on.
    """

    filters: dict[str, FilterField]
    orders: dict[str, sa.ColumnElement[Any]]
    joins: dict[sa.FromClause, sa.ColumnElement[bool]]


def columns_of(fields: ResourceFields, table: sa.Table) -> CustomColumns:
    """The columns for the definitions of a resource whose records are in a table."""
    found = CustomColumns({}, {}, {})
    for field in fields.by_id.values():
        kind, name = KINDS[field.type], PREFIX + field.field_id
        if field.filterable:
            found.filters[name] = FilterField(
                CUSTOM_FIELD_VALUE.c[kind.column],
                kind.filter_kind,
                _filter_values(field),
                currency=CUSTOM_FIELD_VALUE.c.text_value if field.type == "MONEY" else None,
                within=_within(field, table),
            )
        if field.sortable:
            alias = CUSTOM_FIELD_VALUE.alias(f"by_{field.field_id}")
            found.orders[name] = alias.c[kind.column]
            found.joins[alias] = sa.and_(
                alias.c.record == table.c.id, alias.c.field == sa.literal(field.id, sa.Uuid)
            )
    return found


def _filter_values(field: CustomField) -> tuple[str, ...]:
    if field.type == "REFERENCE":
        return (field.target,)
    return tuple(option.option_id for option in field.options)


def _within(field: CustomField, table: sa.Table) -> Callable[[Condition], Condition]:
    """Makes a condition on the table of values one on the records that have such a value."""
    values = CUSTOM_FIELD_VALUE

    def within(condition: Condition) -> Condition:
        of_field = values.c.field == sa.literal(field.id, sa.Uuid)
        return table.c.id.in_(sa.select(values.c.record).where(of_field, condition))

    return within
