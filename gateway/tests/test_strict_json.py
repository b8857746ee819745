"""Invariant: a body passes only if every field of it is known and fits; else the field is named."""

import json
from typing import Any

import pytest
from google.protobuf import json_format
from hypothesis import given
from hypothesis import strategies as st

from crm.common.v1 import event_pb2
from gateway.descriptors import pool
from gateway.strict_json import BadBodyError, check_body

ACCOUNT = pool().FindMessageTypeByName("crm.customer.v1.CreateAccountRequest")
QUERY = pool().FindMessageTypeByName("crm.reporting.v1.QueryMetricsRequest")
IMPORT = pool().FindMessageTypeByName("crm.common.v1.CreateImportRequest")
EVENT = pool().FindMessageTypeByName("crm.common.v1.DomainEvent")

GOOD: list[dict[str, Any]] = [
    {},
    {"display_name": "张三 😀", "kind": "PERSON", "partner": True, "founded_year": 1999},
    {"founded_year": "1999", "employee_count": 12.0, "legal_name": None},
    {"annual_revenue": {"currency_code": "EUR", "units": "9223372036854775807", "nanos": 5}},
    {"annual_revenue": {"units": -1}},
    {"labels": {"colour": "red"}, "emails": [{"address": "a@example.com"}], "phones": []},
    {"create_time": "2026-01-01T00:00:00Z"},
]


@pytest.mark.parametrize("body", GOOD)
def test_what_fits_passes(body: dict[str, Any]) -> None:
    check_body(json.dumps(body).encode(), ACCOUNT, "account")


def test_an_empty_body_is_an_empty_message() -> None:
    check_body(b"", ACCOUNT)
    check_body(b" \n", ACCOUNT)
    with pytest.raises(BadBodyError, match="empty: a JSON object"):
        check_body(b" ", ACCOUNT, "account")


BAD: list[tuple[bytes, str, str]] = [
    (b"{", "INVALID_JSON", ""),
    (b"{'a': 1}", "INVALID_JSON", ""),
    (b'{"display_name": "a"} {}', "INVALID_JSON", ""),
    (b"\xff\xfe{}", "INVALID_JSON", ""),
    (b'{"display_name": NaN}', "INVALID_JSON", ""),
    (b'{"founded_year": Infinity}', "INVALID_JSON", ""),
    (b'{"labels": ' * 101 + b"1" + b"}" * 101, "UNKNOWN_FIELD|INVALID_FIELD|INVALID_JSON", ""),
    (b"[" * 100_000, "INVALID_JSON", ""),
    (b'{"a":' * 100_000, "INVALID_JSON", ""),
    (b'{"founded_year": ' + b"9" * 5000 + b"}", "INVALID_JSON", ""),
    (b'{"kind": "PERSON", "kind": "PERSON"}', "INVALID_JSON", "kind"),
    (b'{"emails": [{"address": "a", "address": "b"}]}', "INVALID_JSON", "address"),
    (b"null", "", ""),
    (b"[]", "INVALID_FIELD", "account"),
    (b'"text"', "INVALID_FIELD", "account"),
    (b"7", "INVALID_FIELD", "account"),
    (b'{"colour": 1}', "UNKNOWN_FIELD", "account.colour"),
    (b'{"displayName": "x"}', "UNKNOWN_FIELD", "account.displayName"),
    (b'{"": 1}', "UNKNOWN_FIELD", "account."),
    (b'{"emails": [{"adress": "x"}]}', "UNKNOWN_FIELD", "account.emails[0].adress"),
    (b'{"display_name": 7}', "INVALID_FIELD", "account.display_name"),
    (b'{"display_name": ["x"]}', "INVALID_FIELD", "account.display_name"),
    (b'{"display_name": {"x": 1}}', "INVALID_FIELD", "account.display_name"),
    (b'{"display_name": "\\ud800"}', "INVALID_JSON", "account.display_name"),
    (b'{"display_name": "\\uDFFFx"}', "INVALID_JSON", "account.display_name"),
    (b'{"\\ud800": 1}', "INVALID_JSON", "account.\\ud800"),
    (b'{"\\ud800": 1, "\\ud800": 2}', "INVALID_JSON", "\\ud800"),
    (b'{"labels": {"\\ud800": "x"}}', "INVALID_JSON", "account.labels.\\ud800"),
    (b'{"kind": "\\ud800"}', "INVALID_JSON", "account.kind"),
    (b'{"create_time": "\\ud800"}', "INVALID_JSON", "account.create_time"),
    (
        b'{"emails": [{"address": "a"}, {"address": "\\ud800"}]}',
        "INVALID_JSON",
        "account.emails[1].address",
    ),
    (b'{"kind": "MARTIAN"}', "INVALID_FIELD", "account.kind"),
    (b'{"kind": "person"}', "INVALID_FIELD", "account.kind"),
    (b'{"kind": 99}', "INVALID_FIELD", "account.kind"),
    (b'{"partner": "yes"}', "INVALID_FIELD", "account.partner"),
    (b'{"partner": 1}', "INVALID_FIELD", "account.partner"),
    (b'{"founded_year": 1.5}', "INVALID_FIELD", "account.founded_year"),
    (b'{"founded_year": 1e400}', "INVALID_FIELD", "account.founded_year"),
    (b'{"founded_year": true}', "INVALID_FIELD", "account.founded_year"),
    (b'{"founded_year": "1_000"}', "INVALID_FIELD", "account.founded_year"),
    (b'{"founded_year": 2147483648}', "INVALID_FIELD", "account.founded_year"),
    (b'{"annual_revenue": 5}', "INVALID_FIELD", "account.annual_revenue"),
    (b'{"annual_revenue": {"units": "x"}}', "INVALID_FIELD", "account.annual_revenue.units"),
    (
        b'{"annual_revenue": {"units": "9223372036854775808"}}',
        "INVALID_FIELD",
        "account.annual_revenue.units",
    ),
    (b'{"emails": {}}', "INVALID_FIELD", "account.emails"),
    (b'{"emails": [null]}', "INVALID_FIELD", "account.emails[0]"),
    (b'{"emails": ["a"]}', "INVALID_FIELD", "account.emails[0]"),
    (b'{"labels": []}', "INVALID_FIELD", "account.labels"),
    (b'{"labels": {"a": 1}}', "INVALID_FIELD", "account.labels.a"),
    (b'{"labels": {"a": null}}', "INVALID_FIELD", "account.labels.a"),
    (b'{"create_time": "yesterday"}', "INVALID_FIELD", "account.create_time"),
    (b'{"create_time": 5}', "INVALID_FIELD", "account.create_time"),
    (b'{"create_time": {}}', "INVALID_FIELD", "account.create_time"),
    (b'{"create_time": "2026-13-01T00:00:00Z"}', "INVALID_FIELD", "account.create_time"),
]


@pytest.mark.parametrize(("body", "reason", "field"), BAD)
def test_what_does_not_fit_is_refused_and_named(body: bytes, reason: str, field: str) -> None:
    if not reason:
        check_body(body, ACCOUNT, "account")
        return
    with pytest.raises(BadBodyError) as refused:
        check_body(body, ACCOUNT, "account")
    assert refused.value.reason in reason.split("|")
    if field:
        assert refused.value.violations[0][0] == field
    assert refused.value.violations[0][1]


def test_a_struct_may_be_as_deep_as_services_can_read() -> None:
    def nested(depth: int) -> bytes:
        return b'{"data": ' + b'{"a":' * depth + b"1" + b"}" * depth + b"}"

    check_body(nested(28), EVENT)
    message = json_format.Parse(nested(28), event_pb2.DomainEvent())
    event_pb2.DomainEvent.FromString(message.SerializeToString())
    with pytest.raises(BadBodyError) as refused:
        check_body(nested(40), EVENT)
    assert refused.value.reason == "INVALID_JSON"


def test_many_wrong_fields_are_named_but_not_without_end() -> None:
    body = json.dumps({f"field_{number}": 1 for number in range(1000)}).encode()
    with pytest.raises(BadBodyError) as refused:
        check_body(body, ACCOUNT, "account")
    assert len(refused.value.violations) == 50


_TEXT = st.text() | st.text(st.characters(categories=["Cs"]), max_size=3)
_JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | _TEXT,
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.dictionaries(
            st.sampled_from([f.name for f in ACCOUNT.fields_by_name["account"].message_type.fields])
            | _TEXT,
            inner,
            max_size=4,
        )
    ),
    max_leaves=20,
)


@given(_JSON | st.binary())
def test_nothing_but_a_refusal_escapes(value: Any) -> None:
    body = value if isinstance(value, bytes) else json.dumps(value).encode()
    for message, field in ((ACCOUNT, "account"), (QUERY, "*"), (IMPORT, "*"), (EVENT, "*")):
        try:
            check_body(body, message, field)
        except BadBodyError as error:
            json.dumps(error.violations, ensure_ascii=False).encode()
            assert error.violations  # noqa: PT017  the only error allowed
