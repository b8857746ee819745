"""Cells as values: text becomes what its field means, or a reason why not; never anything else."""

from datetime import UTC, date, datetime
from decimal import Decimal
from zoneinfo import ZoneInfo

import pytest
from google.type import money_pb2
from hypothesis import given
from hypothesis import strategies as st

from crm.customer.v1 import contact_pb2
from crm.sales.v1 import opportunity_pb2
from crmkit.errors import InvalidArgument
from crmtransfer.imports.fields import target
from crmtransfer.imports.leaving_out import leave_out
from crmtransfer.imports.values import (
    BadValue,
    read_bool,
    read_date,
    read_decimal,
    read_integer,
    read_text,
    read_time,
)

Opportunity = opportunity_pb2.Opportunity
PATHS = (
    "display_name", "state", "kind", "amount", "amount.currency_code", "probability", "open_time",
    "expected_close_date", "labels.x", "lines.product", "lines.quantity", "lines.unit_price", "lines",
)  # fmt: skip


@pytest.mark.parametrize(
    ("text", "value"),
    [("550", "550"), ("1,234.50", "1234.50"), ("-0.5", "-0.5"), (".5", "0.5"), ("1.", "1")],
)
def test_amounts_are_read_as_people_write_them(text: str, value: str) -> None:
    """INVARIANT: thousands may be grouped by commas; the point divides decimals."""
    assert read_decimal(text) == Decimal(value)


@pytest.mark.parametrize("text", ["1,23", "1.2.3", "1e3", "NaN", "٣", "", "12a", "9" * 40])
def test_what_is_no_amount_is_refused(text: str) -> None:
    """INVARIANT: nothing is guessed: a decimal comma or an exponent is not a number here."""
    with pytest.raises(BadValue):
        read_decimal(text)


def test_dates_times_booleans_and_guarded_text() -> None:
    """INVARIANT: a bare date is its first instant in UTC; an export's apostrophe goes again."""
    assert read_time("2017-03-01") == datetime(2017, 3, 1, tzinfo=UTC)
    assert read_time("2017-03-01T01:00:00+01:00") == datetime(2017, 3, 1, tzinfo=UTC)
    assert read_date("2017-03-01T10:00:00Z") == date(2017, 3, 1)
    assert [read_bool(text) for text in ("TRUE", "no", "1")] == [True, False, True]
    assert read_text("'=1+1") == "=1+1"
    assert read_text("'tis") == "'tis"
    assert read_integer("1,200.0", 2**31) == 1200


def test_enums_are_read_by_name_in_any_case() -> None:
    """INVARIANT: a name of the contract, never its number."""
    message = Opportunity()
    target(Opportunity, "state").write(message, "Won")
    target(Opportunity, "kind").write(message, "cross sell")
    assert message.state == Opportunity.WON
    assert message.kind == Opportunity.CROSS_SELL
    with pytest.raises(BadValue):
        target(Opportunity, "state").write(message, "STATE_UNSPECIFIED")


def test_parts_of_one_item_come_together() -> None:
    """INVARIANT: all columns of a list's fields describe one item."""
    message = Opportunity()
    target(Opportunity, "lines.product").write(message, "products/1")
    target(Opportunity, "lines.unit_price").write(message, "-1.5")
    target(Opportunity, "lines.unit_price.currency_code").write(message, "eur")
    (line,) = message.lines
    assert line.product == "products/1"
    assert line.unit_price == money_pb2.Money(units=-1, nanos=-500_000_000, currency_code="EUR")


def test_items_of_a_list_have_columns_of_their_own() -> None:
    """INVARIANT: the first item is the one without a number; each column writes to its own item."""
    message = Opportunity()
    target(Opportunity, "lines[1].product").write(message, "products/2")
    target(Opportunity, "lines[0].product").write(message, "products/1")
    assert [line.product for line in message.lines] == ["products/1", "products/2"]
    assert target(Opportunity, "lines[0].product").path == "lines.product"


@pytest.mark.parametrize(
    "path",
    [
        *("", "x", "amount.x", "open_time.seconds", "lines.x", "lines[1]", "lines[1].x"),
        *("lines[100].product", "lines[-1].product", "amount[1].units", "display_name[1]"),
    ],
)
def test_a_path_to_nothing_is_refused(path: str) -> None:
    """INVARIANT: a mapping names a field of the contract."""
    with pytest.raises(InvalidArgument):
        target(Opportunity, path)


@given(path=st.sampled_from(PATHS), text=st.text(min_size=1, max_size=40))
def test_any_text_is_a_value_or_a_reason(path: str, text: str) -> None:
    """INVARIANT: no cell, whatever it holds, is an error of ours."""
    message = Opportunity()
    try:
        target(Opportunity, path).write(message, text)
    except BadValue as bad:
        refused = bad.reason
        assert_reason(refused)
    else:
        message.SerializeToString()


def assert_reason(reason: str) -> None:
    assert reason.isupper()


@given(st.decimals(min_value=-(10**14), max_value=10**14, places=4))
def test_money_is_exact(amount: Decimal) -> None:
    """INVARIANT: units and nanos are the amount to the last decimal, both with its sign."""
    message = Opportunity()
    target(Opportunity, "amount").write(message, f"{amount:f}")
    assert message.amount.units + Decimal(message.amount.nanos).scaleb(-9) == amount
    assert message.amount.units * message.amount.nanos >= 0


@pytest.mark.parametrize(
    ("text", "zone", "instant"),
    [
        ("2017-03-01", "Asia/Shanghai", "2017-02-28T16:00:00Z"),
        ("2017-03-01T09:00:00", "America/New_York", "2017-03-01T14:00:00Z"),
        ("2017-03-01T09:00:00Z", "Asia/Shanghai", "2017-03-01T09:00:00Z"),
        ("2017-03-01", "UTC", "2017-03-01T00:00:00Z"),
    ],
)
def test_a_time_without_a_zone_is_of_the_organisation(text: str, zone: str, instant: str) -> None:
    """INVARIANT: decision 15; what names its zone keeps it."""
    message = Opportunity()
    target(Opportunity, "close_time", ZoneInfo(zone)).write(message, text)
    assert message.close_time.ToJsonString() == instant


@pytest.mark.parametrize(
    ("path", "text", "expected"),
    [
        ("emails", "a@x.example; b@x.example", ["a@x.example", "b@x.example"]),
        ("emails", "a@x.example,\nb@x.example", ["a@x.example", "b@x.example"]),
        ("emails", '["a@x.example"]', ["a@x.example"]),
        ("emails", '[{"label": "work", "value": "a@x.example"}]', ["a@x.example"]),
        ("emails", '[{"label": "work", "address": "a@x.example"}]', ["a@x.example"]),
    ],
)
def test_a_list_in_one_cell_is_read_as_other_systems_write_it(
    path: str, text: str, expected: list[str]
) -> None:
    """INVARIANT: one address a line, or JSON with our names or theirs."""
    contact = contact_pb2.Contact()
    target(contact_pb2.Contact, path).write(contact, text)
    assert [email.address for email in contact.emails] == expected
    assert {email.label for email in contact.emails} <= {"", "work"}


def test_of_a_record_only_what_is_bad_is_left_out() -> None:
    """INVARIANT: a bad part costs the part, a bad key its item, a bad field itself; the rest stays."""
    contact = contact_pb2.Contact(display_name="Ada", job_title="x")
    for address in ("a@x.example", "no address", "b@x.example"):
        contact.emails.add(address=address, label="work")
    contact.addresses.add(locality="Köln", region_code="Germany", address_lines=["x" * 300, "y"])
    bad = ["emails[1].address", "addresses[0].region_code", "addresses[0].address_lines[0]"]
    leave_out(contact, [*bad, "job_title", "emails[7].address", "interests[3]"])
    assert [email.address for email in contact.emails] == ["a@x.example", "b@x.example"]
    (address,) = contact.addresses
    assert (address.locality, address.region_code, list(address.address_lines)) == ("Köln", "", [])
    assert (contact.display_name, contact.HasField("job_title")) == ("Ada", False)
