"""A filter is either one exact SQL condition or an INVALID_FILTER; nothing is ignored."""

import re
from typing import Any
from uuid import UUID
from zoneinfo import ZoneInfo

import pytest
import sqlalchemy as sa
from hypothesis import given
from hypothesis import strategies as st
from sqlalchemy.dialects.postgresql import ARRAY, JSONB, psycopg

from crmkit.errors import ContractError, InvalidArgument
from crmkit.filters import FilterField, compile_filter

ID = UUID("01900000-0000-7000-8000-00000000000a")
TABLE = sa.table(
    "t",
    sa.column("display_name", sa.Text),
    sa.column("amount", sa.Numeric(19, 4)),
    sa.column("amount_currency", sa.Text),
    sa.column("size", sa.Integer),
    sa.column("partner", sa.Boolean),
    sa.column("create_time", sa.TIMESTAMP(timezone=True)),
    sa.column("close_date", sa.Date),
    sa.column("state", sa.Text),
    sa.column("account", sa.Uuid),
    sa.column("stage", sa.Uuid),
    sa.column("members", ARRAY(sa.Uuid)),
    sa.column("related", ARRAY(sa.Text)),
    sa.column("labels", JSONB),
    sa.column("emails", JSONB),
    sa.column("region", sa.Text),
)
C = TABLE.c
FIELDS = {
    "display_name": FilterField(C.display_name, "text"),
    "amount": FilterField(C.amount, "money", currency=C.amount_currency),
    "probability": FilterField(C.amount, "number"),
    "size": FilterField(C.size, "integer"),
    "partner": FilterField(C.partner, "boolean"),
    "create_time": FilterField(C.create_time, "timestamp"),
    "close_date": FilterField(C.close_date, "date"),
    "state": FilterField(C.state, "enum", ("OPEN", "WON")),
    "account": FilterField(C.account, "reference", ("accounts",)),
    "stage": FilterField(C.stage, "reference", ("pipelines/stages",)),
    "members": FilterField(C.members, "references", ("users",)),
    "related": FilterField(C.related, "record_names", ("accounts", "tickets")),
    "labels": FilterField(C.labels, "labels"),
    "emails": FilterField(C.emails, "json_list", ("address", "primary")),
    "custom_fields.region": FilterField(C.region, "text"),
}


def sql(text: str, **options: Any) -> tuple[str, list[Any]]:
    """Returns the condition's SQL, without table names and casts, and its parameters in order."""
    condition = compile_filter(text, FIELDS, **options)
    assert condition is not None
    compiled = condition.compile(dialect=psycopg.dialect())
    shown = re.sub(r"%\(\w+\)s(::[A-Z]+(\[\])?( WITH TIME ZONE)?)?", "?", str(compiled))
    shown = shown.replace("t.", "")
    return shown, list(compiled.params.values())


@pytest.mark.parametrize(
    ("text", "expected", "params"),
    [
        ('display_name = "Acme"', "display_name = ?", ["Acme"]),
        ("display_name = 'A \\'b\\''", "display_name = ?", ["A 'b'"]),
        ('display_name != "Acme"', "display_name IS DISTINCT FROM ?", ["Acme"]),
        ('display_name >= "M"', "display_name >= ?", ["M"]),
        ('display_name = "50%_*"', "display_name LIKE ?", ["50\\%\\_%"]),
        ("display_name = Ac*", "display_name LIKE ?", ["Ac%"]),
        ('display_name != "A*"', "(display_name LIKE ?) IS NOT true", ["A%"]),
        ('display_name = "a\\*b\\*"', "display_name = ?", ["a*b*"]),
        ('display_name:"cm%"', "display_name ILIKE ?", ["%cm\\%%"]),
        ("display_name:*", "display_name IS NOT NULL", []),
        ("NOT display_name:*", "(display_name IS NOT NULL) IS NOT true", []),
        ("size = 5", "size = ?", [5]),
        ("size > -3", "size > ?", [-3]),
        ("partner = true", "partner = ?", [True]),
        ("partner:false", "partner = ?", [False]),
        ("state = OPEN", "state = ?", ["OPEN"]),
        ('state != "WON"', "state IS DISTINCT FROM ?", ["WON"]),
        (f"account = accounts/{ID}", "account = ?", [ID]),
        (f'account != "accounts/{ID}"', "account IS DISTINCT FROM ?", [ID]),
        (f"stage = pipelines/{ID}/stages/{ID}", "stage = ?", [ID]),
        (f"members:users/{ID}", "members @> ?", [[ID]]),
        (f"related:tickets/{ID}", "related @> ?", [[f"tickets/{ID}"]]),
        ('labels.tier = "gold"', "labels @> ?", [{"tier": "gold"}]),
        ('labels."a.b/c" = "x"', "labels @> ?", [{"a.b/c": "x"}]),
        ('labels.tier != "gold"', "((labels @> ?)) IS NOT true", [{"tier": "gold"}]),
        ('labels.tier = "go*"', "labels ->> ? LIKE ?", ["tier", "go%"]),
        ("labels:tier", "labels ? ?", ["tier"]),
        ("labels.tier:*", "labels ? ?", ["tier"]),
        ('emails.address = "a@b.c"', "emails @> ?", [[{"address": "a@b.c"}]]),
        ("emails.address:a@b.c", "emails @> ?", [[{"address": "a@b.c"}]]),
        ("emails.primary = true", "emails @> ?", [[{"primary": True}]]),
        ("custom_fields.region = EMEA", "region = ?", ["EMEA"]),
    ],
)
def test_a_term_becomes_its_condition(text: str, expected: str, params: list[Any]) -> None:
    """Each kind of field has its comparisons; values travel as parameters only."""
    assert sql(text) == (expected, params)


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("size=1 OR size=2 AND size=3", "(size = ? OR size = ?) AND size = ?"),
        ("size=1 size=2 OR size=3", "size = ? AND (size = ? OR size = ?)"),
        ("(size=1 AND size=2) OR size=3", "size = ? AND size = ? OR size = ?"),
        ("-size=1 AND NOT (size=2)", "(size = ?) IS NOT true AND (size = ?) IS NOT true"),
        ("NOT (size=1 OR size=2)", "(size = ? OR size = ?) IS NOT true"),
        ("size=1 -size=2", "size = ? AND (size = ?) IS NOT true"),
    ],
)
def test_or_binds_tighter_than_and_and_nothing_means_and(text: str, expected: str) -> None:
    """The precedence of AIP-160, which is not that of most languages."""
    assert sql(text)[0] == expected


def test_money_compares_amount_and_currency_apart() -> None:
    """An amount is compared exactly, not at the column's scale."""
    shown, params = sql('amount > 100.00001 AND amount.currency_code = "EUR"')
    assert shown == "amount > ? AND amount_currency = ?"
    assert [str(value) for value in params] == ["100.00001", "EUR"]


@pytest.mark.parametrize(
    ("value", "instant"),
    [
        ('"2026-01-01T00:00:00Z"', "2026-01-01T00:00:00+00:00"),
        ("2026-01-01T00:00:00.5+02:00", "2025-12-31T22:00:00.500000+00:00"),
        ("2026-01-01", "2025-12-31T23:00:00+00:00"),
    ],
)
def test_a_time_is_an_instant_and_a_date_begins_in_the_zone(value: str, instant: str) -> None:
    """A bare date is midnight where the organisation is."""
    shown, params = sql(f"create_time >= {value}", zone=ZoneInfo("Europe/Berlin"))
    assert (shown, params[0].isoformat()) == ("create_time >= ?", instant)


@pytest.mark.parametrize("text", ["", "  ", "\n"])
def test_an_empty_filter_is_no_condition(text: str) -> None:
    """Absent and empty are the same."""
    assert compile_filter(text, FIELDS) is None


@pytest.mark.parametrize(
    "text",
    [
        "colour = red",
        "display_name.first = x",
        "acme",
        '"acme"',
        "regex(display_name, 'x')",
        "size",
        "size =",
        "size = 1 AND",
        "AND size = 1",
        "size = 1 and size = 2",
        "size = x",
        "size = 1.5",
        "size = 9223372036854775808",
        "size = 1*",
        "size = ١",  # noqa: RUF001 - a digit, but not an ASCII one
        "probability = 1e999",
        "probability = NaN",
        "partner = 1",
        "partner < true",
        "state = CLOSED",
        "state > OPEN",
        "account = 5",
        f"account = contacts/{ID}",
        "create_time > yesterday",
        'create_time > "2026-02-30T00:00:00Z"',
        'create_time > "2026-01-01T00:00:00"',
        'create_time > "0001-01-01T00:00:00+10:00"',
        "close_date = 2026-13-01",
        f"members = users/{ID}",
        f"related = accounts/{ID}",
        f"related:users/{ID}",
        "related:accounts/1",
        f"related:accounts/{ID}*",
        "amount.units = 3",
        'amount.currency_code = "XYZ"',
        "labels = x",
        "labels.tier > a",
        "emails = x",
        "emails.phone = x",
        'emails.address = "a*"',
        'display_name = "a*b"',
        'display_name = "a',
        'display_name = "a\0"',
        'display_name = "\ud800"',
        "(size = 1",
        "size = 1)",
        "size == 1",
        " ".join(["size = 1"] * 21),
        "(" * 21 + "size = 1" + ")" * 21,
        "(" * 1999 + "x" + ")" * 1999,
        f'display_name = "{"x" * 4000}"',
    ],
)
def test_what_cannot_be_answered_is_refused(text: str) -> None:
    """Bad input names the field `filter`; it is never ignored and never an internal error."""
    with pytest.raises(InvalidArgument) as failure:
        compile_filter(text, FIELDS)
    assert failure.value.reason == "INVALID_FILTER"
    assert [violation.field for violation in failure.value.violations] == ["filter"]


def test_the_limits_themselves_are_allowed() -> None:
    """Twenty terms and twenty parentheses are still fine."""
    assert compile_filter(" ".join(["size = 1"] * 20), FIELDS) is not None
    assert compile_filter("(" * 20 + "size = 1" + ")" * 20, FIELDS) is not None


def test_a_refusal_tells_the_column() -> None:
    """A console can underline the fault."""
    with pytest.raises(InvalidArgument, match="column 14") as failure:
        compile_filter("size = 1 AND colour = red", FIELDS)
    assert failure.value.metadata == {"column": "14"}


@pytest.mark.parametrize(("kind", "values"), [("colour", ()), ("enum", ()), ("money", ())])
def test_a_field_that_no_filter_could_use_stops_the_start(kind: str, values: tuple[str]) -> None:
    """The whitelist is code: its mistakes show before the first request."""
    with pytest.raises(ContractError):
        FilterField(C.state, kind, values)


_WORDS = st.sampled_from(
    [
        *FIELDS,
        *("AND", "OR", "NOT", "-", "(", ")", "=", "!=", "<", "<=", ">", ">=", ":", "*", ".", ","),
        *('"x"', '"x*"', "\\", "OPEN", "1", "-1.5", "true", " ", "amount.currency_code"),
        *(f"accounts/{ID}", "2026-01-01", '"2026-01-01T00:00:00Z"', "EUR"),
    ]
)


@given(st.text() | st.lists(_WORDS, max_size=12).map(" ".join) | st.lists(_WORDS).map("".join))
def test_any_text_is_a_condition_or_an_invalid_filter(text: str) -> None:
    """No text whatever becomes an internal error, in the compiler of SQL either."""
    try:
        condition = compile_filter(text, FIELDS)
    except InvalidArgument as failure:
        assert failure.reason == "INVALID_FILTER"  # noqa: PT017 - either outcome is right
    else:
        if condition is not None:
            condition.compile(dialect=psycopg.dialect())
