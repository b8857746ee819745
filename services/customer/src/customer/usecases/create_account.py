"""An account and its contacts, created together."""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager

from crm.customer.v1 import account_pb2, contact_pb2
from crmkit.call import Call
from crmkit.errors import Failure, InvalidArgument, Violation
from crmkit.resources import draft
from customer.domain.account import Account
from customer.domain.contact import Contact
from customer.storage.account import ACCOUNTS, person_key
from customer.storage.contact import CONTACTS


async def create_with_contacts(
    call: Call, account: account_pb2.Account, contacts: Sequence[contact_pb2.Contact]
) -> tuple[Account, list[Contact]]:
    """Creates an account and its contacts in one transaction.

    Raises:
        InvalidArgument: `ONE_CONTACT`: a private person has one; `ANOTHER_ACCOUNT`: a contact names one.
    """
    if contacts:
        CONTACTS.scope(call, CONTACTS.permission("create"))
    drafts = await _drafts(call, contacts)
    entity = await draft(ACCOUNTS, call, account)
    if entity.is_person:
        return await _create_person(call, entity, drafts)
    await ACCOUNTS.insert(call, entity)
    for index, contact in enumerate(drafts):
        contact.account = entity.id
        with _naming(index):
            await CONTACTS.insert(call, contact)
    return entity, drafts


async def _drafts(call: Call, contacts: Sequence[contact_pb2.Contact]) -> list[Contact]:
    """The contacts, not yet stored: whom they refer to may have to be asked for before the transaction."""
    drafts = []
    for index, contact in enumerate(contacts):
        if contact.account:
            msg = "The contact's account is the one that is created with it."
            raise InvalidArgument(msg, reason="ANOTHER_ACCOUNT", field=f"contacts[{index}].account")
        with _naming(index):
            drafts.append(await draft(CONTACTS, call, contact))
    return drafts


async def _create_person(
    call: Call, account: Account, drafts: list[Contact]
) -> tuple[Account, list[Contact]]:
    if len(drafts) > 1:
        msg = "A private person has one contact."
        raise InvalidArgument(msg, reason="ONE_CONTACT", field="contacts[1]")
    for contact in drafts:
        call.state[person_key(account.id)] = contact
        _take_over(account, contact)
    with _naming(0):
        await ACCOUNTS.insert(call, account)
    return account, [call.state[person_key(account.id)]]


def _take_over(account: Account, contact: Contact) -> None:
    """What only the contact says counts for the person as a whole."""
    for name, value in contact.in_step().items():
        if value and not getattr(account, name):
            setattr(account, name, value)


@contextmanager
def _naming(index: int) -> Iterator[None]:
    """Makes failures say which of the contacts they are about."""
    try:
        yield
    except Failure as failure:
        failure.violations = tuple(
            Violation(_renamed(v.field, index), v.description) for v in failure.violations
        )
        raise


def _renamed(field: str, index: int) -> str:
    head, dot, rest = field.partition(".")
    return f"contacts[{index}].{rest}" if dot and head == "contact" else field
