"""What is wrong with how somebody can be reached, and who looks after them: a worklist to repair."""

from collections.abc import Sequence
from typing import Protocol
from uuid import UUID

from customer.domain.phones import is_number
from customer.domain.values import Address, EmailAddress, PhoneNumber

SHARED_EMAIL = "SHARED_EMAIL"  # only the other records can tell


class Reachable(Protocol):
    """Somebody whom one may reach."""

    emails: list[EmailAddress]
    phones: list[PhoneNumber]
    addresses: list[Address]
    owner: UUID | None


def quality_issues(party: Reachable) -> list[str]:
    """What is to be repaired, in the order in which it hurts."""
    bounced = any(email.bounced for email in party.emails)
    found = {
        "NO_EMAIL_OR_PHONE": not party.emails and not party.phones,
        "BOUNCED_EMAIL": bounced,
        "UNVERIFIABLE_PHONE": any(not is_number(phone.number) for phone in party.phones),
        "ADDRESS_WITHOUT_COUNTRY": _lacks_country(party.addresses),
        # Who waits in a customer pool is to be claimed, not repaired.
        "NO_OWNER": party.owner is None and getattr(party, "pool", None) is None,
    }
    return [name for name, is_so in found.items() if is_so]


def _lacks_country(addresses: Sequence[Address]) -> bool:
    return any(not address.region_code for address in addresses)
