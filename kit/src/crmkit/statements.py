"""SQLAlchemy Core statements, compiled once and run on the driver's connection.

Compiling is what makes Core slow; a statement is therefore compiled when a service starts (or the first
time a filter is seen) and executed as text with parameters by psycopg.
"""

import re
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from decimal import Decimal
from functools import lru_cache, partial
from operator import itemgetter
from typing import Any

import orjson
import sqlalchemy as sa
from psycopg.types.json import Jsonb
from sqlalchemy.dialects.postgresql import JSONB, Insert, insert
from sqlalchemy.dialects.postgresql.psycopg import PGDialect_psycopg
from sqlalchemy.sql.compiler import SQLCompiler

from crmkit.money import Money

_DIALECT = PGDialect_psycopg()  # type: ignore[no-untyped-call]
# One collation everywhere: byte order, the same on every platform and PostgreSQL build.
TEXT = sa.Text(collation="C")
TIMESTAMP = sa.TIMESTAMP(timezone=True)


@dataclass(frozen=True, slots=True)
class Statement:
    """SQL text with named parameters, and the values that are already known.

    Attributes:
        many: What writes many rows as if this had been run for each; None where nothing does.
    """

    sql: str
    constants: Mapping[str, Any]
    many: "Many | None" = None

    def parameters(self, given: Mapping[str, Any]) -> Mapping[str, Any]:
        """The known values together with those of this execution."""
        return {**self.constants, **given} if self.constants else given


@dataclass(frozen=True, slots=True)
class Many:
    """SQL text that takes rows as one JSON array; of the rows of one key the last counts."""

    sql: str
    key: Callable[[Mapping[str, Any]], Any]

    def parameters(self, rows: Sequence[Mapping[str, Any]]) -> Mapping[str, Any]:
        """The array of these rows."""
        return {"rows": Jsonb(list({self.key(row): row for row in rows}.values()), _dumps)}


def _in_json(value: Any) -> Any:
    if isinstance(value, Jsonb):
        return value.obj
    if isinstance(value, Decimal):
        return str(value)
    raise TypeError


_dumps = partial(orjson.dumps, default=_in_json)


def compile_statement(clause: sa.ClauseElement) -> Statement:
    """Compiles a Core statement for psycopg; bind parameters without a value must be given later."""
    compiled = clause.compile(dialect=_DIALECT, compile_kwargs={"render_postcompile": True})
    if not isinstance(compiled, SQLCompiler):  # a CREATE statement has no parameters
        return Statement(str(compiled), {})
    constants = {}
    for name, value in (compiled.params or {}).items():
        bind = compiled.binds.get(name)
        if value is None and (bind is None or bind.required):
            continue
        is_json = bind is not None and isinstance(bind.type, JSONB)
        constants[name] = Jsonb(value) if is_json and value is not None else value
    return Statement(str(compiled), constants)


def _bound(table: sa.Table, columns: Iterable[str]) -> dict[str, Any]:
    return {name: sa.bindparam(name, type_=table.c[name].type) for name in columns}


@lru_cache(maxsize=4096)
def insert_into(table: sa.Table, columns: tuple[str, ...]) -> Statement:
    """Inserts a row with these columns, parameters of the same names."""
    return compile_statement(table.insert().values(_bound(table, columns)))


@lru_cache(maxsize=4096)
def update_by_id(table: sa.Table, columns: tuple[str, ...]) -> Statement:
    """Writes these columns, parameters of the same names, of the row with an `id`."""
    by_id = table.c.id == sa.bindparam("id", type_=sa.Uuid)
    return compile_statement(table.update().where(by_id).values(_bound(table, columns)))


def upsert(table: sa.Table, replaced: Sequence[str] = ()) -> Statement:
    """Writes a row or replaces it; takes a value for every column.

    Args:
        table: The table.
        replaced: What a row that is there takes over; empty: everything.
    """
    columns, key = list(table.columns), [c.name for c in table.primary_key]
    names = replaced or [c.name for c in columns if c.name not in key]

    def writing(statement: Insert) -> Statement:
        changes = {name: statement.excluded[name] for name in names}
        return compile_statement(statement.on_conflict_do_update(index_elements=key, set_=changes))

    one = writing(insert(table).values(_bound(table, table.c.keys())))
    read = sa.func.jsonb_to_recordset(sa.bindparam("rows", type_=JSONB))
    rows = read.table_valued(*(sa.column(c.name, c.type) for c in columns))
    typed = rows.render_derived(with_types=True)
    many = writing(insert(table).from_select(table.c.keys(), sa.select(typed)))
    return replace(one, many=Many(many.sql, itemgetter(*key)))


@dataclass(frozen=True, slots=True)
class CopyTarget:
    """Columns of a table that COPY writes to, in PostgreSQL's binary format."""

    sql: str
    types: Sequence[str]


def copy_target(table: sa.Table, columns: Sequence[sa.Column[Any]]) -> CopyTarget:
    """What COPY into these columns needs to know."""
    names = ", ".join(f'"{column.name}"' for column in columns)
    sql = f'COPY "{table.name}" ({names}) FROM STDIN (FORMAT BINARY)'
    return CopyTarget(sql, [_copied_as(column.type) for column in columns])


def _copied_as(kind: sa.types.TypeEngine[Any]) -> str:
    """The type's bare name: `numeric` of `NUMERIC(19, 4)`."""
    text = kind.compile(_DIALECT).lower().partition(" collate ")[0]
    return re.sub(r"\(.*?\)", "", text)


def record_table(name: str, metadata: sa.MetaData, *columns: sa.schema.SchemaItem) -> sa.Table:
    """A table of records: the columns that every record has, then its own.

    Indexes serve the default order (newest first) within each record scope, and the trash.
    """
    return sa.Table(
        name,
        metadata,
        sa.Column("id", sa.Uuid, primary_key=True),
        sa.Column("version", sa.Integer, nullable=False),
        sa.Column("create_time", TIMESTAMP, nullable=False),
        sa.Column("update_time", TIMESTAMP, nullable=False),
        sa.Column("delete_time", TIMESTAMP),
        sa.Column("creator", sa.Uuid),
        sa.Column("owner", sa.Uuid),
        sa.Column("team", sa.Uuid),
        sa.Column("labels", JSONB, nullable=False),
        sa.Column("external_id", TEXT),
        sa.Column("custom_fields", JSONB, nullable=False, server_default=sa.text("'{}'")),
        *columns,
        sa.Index(f"ix_{name}_owner", "owner", "id"),
        sa.Index(f"ix_{name}_team", "team", "id"),
        sa.Index(
            f"ix_{name}_delete_time",
            "delete_time",
            "id",
            postgresql_where=sa.text("delete_time IS NOT NULL"),
        ),
        sa.Index(
            f"uq_{name}_external_id",
            "external_id",
            unique=True,
            postgresql_where=sa.text("external_id IS NOT NULL"),
        ),
    )


def money_columns(name: str, kind: type[Money] = Money) -> tuple[sa.Column[Any], sa.Column[Any]]:
    """The two columns of an amount of money, or of a `UnitPrice`: the amount and its ISO 4217 code."""
    return (
        sa.Column(name, sa.Numeric(19, kind.SCALE)),
        sa.Column(f"{name}_currency", sa.String(3)),
    )


Row = tuple[Any, ...]
