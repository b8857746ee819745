"""A person's places in accounts: one of the active ones is the primary."""

from uuid import UUID, uuid4

import pytest

from crmkit.clock import now
from crmkit.errors import InvalidArgument
from crmkit.ids import uuid7
from customer.domain.contact import AccountContact, Contact

A, B, C = uuid4(), uuid4(), uuid4()
NAMES = {A: "A", B: "B", C: "C", None: ""}


def contact(account: UUID | None, *accounts: AccountContact) -> Contact:
    made = Contact(
        id=uuid7(),
        create_time=now(),
        update_time=now(),
        display_name="Ada",
        account=account,
        accounts=list(accounts),
    )
    made.check()
    return made


def place(
    account: UUID, *, primary: bool | None = None, active: bool | None = None
) -> AccountContact:
    return AccountContact(account, primary=primary, active=active)


def stands(person: Contact) -> str:
    """The places in short: `A*` for the primary one, `b` for one that was left."""
    shown = [NAMES[p.account] if p.active else NAMES[p.account].lower() for p in person.accounts]
    marks = ["*" if p.primary else "" for p in person.accounts]
    return f"{NAMES[person.account]}:{''.join(s + m for s, m in zip(shown, marks, strict=True))}"


@pytest.mark.parametrize(
    ("person", "settled"),
    [
        (contact(None), ":"),
        (contact(A), "A:A*"),
        (contact(None, place(A), place(B)), "A:A*B"),
        (contact(None, place(A), place(B, primary=True)), "B:AB*"),
        (contact(None, place(A, active=False), place(B)), "B:aB*"),
        (contact(None, place(A, active=False)), ":a"),
        (contact(B, place(A)), "B:B*A"),
        (contact(A, place(A, primary=True)), "A:A*"),
    ],
)
def test_a_new_contact_belongs_to_one_account_first(person: Contact, settled: str) -> None:
    """INVARIANT: `account` is the primary one of `accounts`, and active."""
    person.settle_accounts(None)
    assert stands(person) == settled


@pytest.mark.parametrize(
    ("after", "settled"),
    [
        (contact(A, place(A, primary=True), place(B)), "A:A*B"),
        (contact(B, place(A, primary=True), place(B)), "B:AB*"),
        (contact(C, place(A, primary=True), place(B)), "C:C*AB"),
        (contact(None, place(A, primary=True), place(B)), "B:B*"),
        (contact(A, place(B)), "B:B*"),
        (contact(A, place(C), place(A)), "A:CA*"),
        (contact(A, place(A), place(B, primary=True)), "B:AB*"),
        (contact(A, place(A, active=False), place(B)), "B:aB*"),
        (contact(A), ":"),
    ],
)
def test_whichever_of_the_two_was_changed_leads(after: Contact, settled: str) -> None:
    """INVARIANT: `account` is the primary one of `accounts`, and active."""
    before = contact(A, place(A, primary=True), place(B))
    after.settle_accounts(before)
    assert stands(after) == settled


def test_what_contradicts_itself_is_refused() -> None:
    """The field at fault is named."""
    person = contact(A, place(B, primary=True))
    with pytest.raises(InvalidArgument) as two:
        person.settle_accounts(None)
    assert two.value.violations[0].field == "contact.account"
    for places, field in (
        ([place(A), place(A)], "contact.accounts[1].account"),
        ([place(A, primary=True), place(B, primary=True)], "contact.accounts"),
        ([place(A, primary=True, active=False)], "contact.accounts[0].primary"),
    ):
        with pytest.raises(InvalidArgument) as refused:
            contact(None, *places)
        assert refused.value.violations[0].field == field
