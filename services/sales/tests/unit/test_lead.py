"""Leads: which way they go, and how they are called."""

from typing import Any

import pytest

from crmkit.clock import now
from crmkit.errors import FailedPrecondition, InvalidArgument
from crmkit.ids import uuid7
from crmkit.states import Cell
from sales.domain.lead import LEAD, EmailAddress, Lead, PhoneNumber

METHODS = {
    "disqualify": ("other",),
    "convert": (uuid7(),),
    "finish_conversion": (now(),),
    "undo_conversion": ("INVALID_FIELD",),
}


def lead(**values: Any) -> Lead:
    values = {"company": "Initech", "state": "NEW", **values}
    return Lead(id=uuid7(), create_time=now(), update_time=now(), **values)


@pytest.mark.parametrize("cell", list(LEAD.cells()), ids=lambda c: f"{c.method} while {c.state}")
def test_leads_go_the_ways_of_the_table(cell: Cell) -> None:
    """INVARIANT: a method that the table does not allow changes nothing and notes nothing."""
    one = lead(state=cell.state)
    if cell.target is None:
        with pytest.raises(FailedPrecondition) as refused:
            getattr(one, cell.method)(*METHODS.get(cell.method, ()))
        assert refused.value.reason == "ILLEGAL_TRANSITION"
        assert (one.state, one.events) == (cell.state, [])
    else:
        getattr(one, cell.method)(*METHODS.get(cell.method, ()))
        assert (one.state, len(one.events)) == (cell.target, 1)


@pytest.mark.parametrize(
    ("values", "shown"),
    [
        ({"given_name": "Ada", "family_name": "Lovelace"}, "Ada Lovelace · Initech"),
        ({}, "Initech"),
        ({"company": None, "family_name": "Lovelace"}, "Lovelace"),
        ({"company": None, "emails": [EmailAddress(" ADA@Example.com ")]}, "ada@example.com"),
        ({"company": None, "phones": [PhoneNumber("030 123456")]}, "030 123456"),
        ({"display_name": "The one from the fair"}, "The one from the fair"),
    ],
)
def test_a_lead_is_called_by_what_is_known_of_it(values: dict[str, Any], shown: str) -> None:
    one = lead(**values)
    one.check()
    assert one.display_name == shown


@pytest.mark.parametrize(
    ("values", "field"),
    [
        ({"company": None}, "lead.display_name"),
        ({"region_code": "Germany"}, "lead.region_code"),
        ({"region_code": "4X"}, "lead.region_code"),
        ({"website": "not an address"}, "lead.website"),
        ({"website": "ftp://initech.example"}, "lead.website"),
    ],
)
def test_what_a_lead_cannot_be_is_refused_and_named(values: dict[str, Any], field: str) -> None:
    with pytest.raises(InvalidArgument) as refused:
        lead(**values).check()
    assert [v.field for v in refused.value.violations] == [field]


@pytest.mark.parametrize("state", ["CONVERTING", "CONVERTED"])
def test_a_conversion_is_made_and_not_imported(state: str) -> None:
    with pytest.raises(InvalidArgument):
        lead(state=state).begin(imported=True)


def test_giving_a_lead_to_its_owner_is_nothing_new() -> None:
    one = lead(owner=uuid7())
    assert one.owner is not None
    one.assign(one.owner)
    assert one.events == []
    one.assign(uuid7())
    assert [e.kind for e in one.events] == ["assigned"]
