"""Users: people who sign in."""

import re
from dataclasses import dataclass, field
from uuid import UUID

from crmkit.aggregate import Record
from crmkit.errors import FailedPrecondition, InvalidArgument
from crmkit.states import StateMachine
from identity.domain.absence import Absence

STATES = StateMachine(
    "state",
    {
        "activate": ({"DEACTIVATED"}, "ACTIVE"),
        "deactivate": ({"ACTIVE"}, "DEACTIVATED"),
    },
)
_ADDRESS = re.compile(r"[^\s@]+@[^\s@]+")


@dataclass(kw_only=True)
class User(Record):
    """A person with an e-mail address to sign in with; without a password they cannot yet."""

    email: str
    display_name: str
    state: str = "ACTIVE"
    roles: list[UUID] = field(default_factory=list)
    password_hash: str | None = field(default=None, repr=False)
    second_factor: bool = False
    kind: str = "PERSON"
    absence: Absence | None = None

    def check(self) -> None:
        """Writes the address in lower case and names each role once.

        Raises:
            InvalidArgument: The address is no e-mail address; or a service account has a password:
                `NO_PASSWORD_FOR_SERVICES`.
        """
        if self.is_service and self.password_hash is not None:
            msg = "A service account has API keys, never a password."
            raise InvalidArgument(msg, reason="NO_PASSWORD_FOR_SERVICES", field="user.password")
        self.email = normalise_email(self.email)
        if not _ADDRESS.fullmatch(self.email):
            msg = "user.email must be an e-mail address."
            raise InvalidArgument(msg, field="user.email")
        self.roles = list(dict.fromkeys(self.roles))

    @property
    def is_service(self) -> bool:
        """True for a program."""
        return self.kind == "SERVICE"

    @property
    def may_sign_in(self) -> bool:
        """True while the user is active and not deleted."""
        return self.state == "ACTIVE" and self.delete_time is None

    def refuse_invitation(self) -> None:
        """Raises FailedPrecondition: `USER_NOT_ACTIVE`, `NO_PASSWORD_FOR_SERVICES`, `PASSWORD_SET`."""
        if not self.may_sign_in:
            msg = "The user may not sign in; activate or restore them first."
            raise FailedPrecondition(msg, reason="USER_NOT_ACTIVE")
        if self.is_service:
            msg = "A service account has API keys, never a password."
            raise FailedPrecondition(msg, reason="NO_PASSWORD_FOR_SERVICES")
        if self.password_hash is not None:
            msg = "The user has a password; if it is forgotten, they ask for a new one themselves."
            raise FailedPrecondition(msg, reason="PASSWORD_SET")

    def roles_in_effect(self) -> set[UUID]:
        """The roles that give rights now: none while the user may not sign in."""
        return set(self.roles) if self.may_sign_in else set()

    def be_away(self, absence: Absence) -> None:
        """Is away for some time, instead of what was said before.

        Raises:
            InvalidArgument: `DEPUTY_IS_USER`.
        """
        if absence.deputy == self.id:
            msg = "Nobody stands in for themselves."
            raise InvalidArgument(msg, reason="DEPUTY_IS_USER", field="absence.deputy")
        self.absence = absence
        self.record("absence_set")

    def be_back(self) -> None:
        """Is not away; nothing happens if nobody said so."""
        if self.absence is not None:
            self.absence = None
            self.record("absence_cleared")

    def activate(self) -> None:
        """May sign in again."""
        STATES.move(self, "activate")
        self.record("activated")

    def deactivate(self) -> None:
        """May not sign in any more."""
        STATES.move(self, "deactivate")
        self.record("deactivated")


def normalise_email(text: str) -> str:
    """The form in which addresses are stored and compared."""
    return text.strip().lower()
