"""The quick way of an import against the thorough one: where it answers, both answer the same."""

from typing import Any
from uuid import UUID

import pytest
from hypothesis import given
from hypothesis import strategies as st

from crm.common.v1 import import_pb2
from crmkit.collection import Collection
from crmkit.custom_fields.definitions import ResourceFields
from crmtransfer.imports.mapping import Key, Mapper
from crmtransfer.imports.quick import QuickRows
from crmtransfer.imports.values import BadValue
from customer.storage.account import ACCOUNTS
from customer.storage.contact import CONTACTS
from sales.storage.opportunity import OPPORTUNITIES

NO_CUSTOM_FIELDS = ResourceFields(())
_ID = UUID("0190a0b0-0000-7000-8000-000000000001")
# Field → what an ordinary file has there.
_COLUMNS = {
    ACCOUNTS.name: {
        "display_name": "Acme", "kind": "organisation", "partner": "yes", "founded_year": "1999",
        "employee_count": "1,200", "annual_revenue": "12.5", "annual_revenue.currency_code": "eur",
        "website": "https://a.example", "emails.address": "a@b.example", "labels.region": "north",
        "phones.number": "+49 30 1234567", "external_id": "A-1", "parent_account": "known",
        "state": "Customer",
    },
    CONTACTS.name: {
        "given_name": "Ada", "family_name": "Lovelace", "birthday": "1815-12-10",
        "do_not_call": "no", "emails.address": "ada@b.example",
    },
    OPPORTUNITIES.name: {
        "display_name": "Deal", "account": "known", "amount": "550", "amount.currency_code": "USD",
        "probability": "12%", "open_time": "2017-03-01T10:00:00+02:00", "state": "won",
        "expected_close_date": "2017-03-01", "kind": "existing business",
        "lines.product": "known", "lines.quantity": "2",
    },
}  # fmt: skip
_CELLS = st.one_of(
    st.sampled_from(
        [
            "", " ", "Acme", "'=1+1", "won", "Existing Business", "organisation", "PERSON", "true",
            "no", "0", "-1", "1999", "1,200.0", "12%", "0.5", "2017-03-01", "2017-02-30",
            "2017-03-01T10:00:00+02:00", "9999-12-31T23:59:59-01:00", "EUR", "eur", "12.345",
            "https://a.example", "ftp://a", "a@b.example", "+49 30 1234567", "x" * 300, "1e5",
            "99999999999", "known", "unknown", "a\x00b", "a\u202eb", "a\nb", "\u200b", "\ud800",
            "北京", "NaN", "inf",
        ]
    ),
    st.text(max_size=12),
)  # fmt: skip


def resolve(key: Key, text: str) -> str:
    if text != "known":
        raise BadValue(text, "REFERENCE_NOT_FOUND")
    return f"{key[0]}/{_ID}"


@pytest.mark.parametrize("collection", [ACCOUNTS, CONTACTS, OPPORTUNITIES], ids=lambda c: c.name)
@given(data=st.data())
def test_both_ways_give_the_same_record(collection: Collection[Any], data: st.DataObject) -> None:
    """INVARIANT: what the quick way understands, the thorough way understands likewise and finds sound."""
    columns = _COLUMNS[collection.name]
    paths = data.draw(st.permutations(list(columns)))
    cells = [columns[path] for path in paths]
    cells[data.draw(st.integers(0, len(cells) - 1))] = data.draw(_CELLS)
    mappings = [import_pb2.FieldMapping(field=path, column=path) for path in paths]
    mapper = Mapper(collection, mappings, NO_CUSTOM_FIELDS).bind(paths, history=True)
    quick = QuickRows(mapper).values(cells, resolve)
    if quick is not None:
        draft = mapper.draft(2, cells, resolve)
        assert mapper.values(draft) == quick
        assert not draft.issues


def test_an_ordinary_row_takes_the_quick_way() -> None:
    """INVARIANT: the quick way is not merely right but taken; otherwise imports were slow and green."""
    header = ["display_name", "industry", "employee_count", "external_id", "parent_account"]
    quick = QuickRows(Mapper(ACCOUNTS, [], NO_CUSTOM_FIELDS).bind(header))
    found = quick.values(["Acme", "retail", "12", "A-1", "known"], resolve)
    assert found == {
        "display_name": "Acme", "industry": "retail", "employee_count": 12, "external_id": "A-1",
        "parent_account": _ID,
    }  # fmt: skip
    assert quick.values(["", "retail", "12", "A-1", "known"], resolve) is None
