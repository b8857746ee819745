"""Leads: people and companies who may become customers."""

from dataclasses import dataclass, field
from datetime import datetime
from uuid import UUID

from crmkit.aggregate import Record
from crmkit.errors import FailedPrecondition, InvalidArgument
from crmkit.money import Money
from crmkit.states import StateMachine
from crmkit.web_address import is_web_address

LEAD = StateMachine(
    "state",
    {
        "start": ({"NEW", "NURTURING"}, "WORKING"),
        "nurture": ({"NEW", "WORKING"}, "NURTURING"),
        "qualify": ({"NEW", "WORKING", "NURTURING"}, "QUALIFIED"),
        "disqualify": ({"NEW", "WORKING", "NURTURING", "QUALIFIED"}, "DISQUALIFIED"),
        "reopen": ({"DISQUALIFIED"}, "WORKING"),
        "convert": ({"QUALIFIED"}, "CONVERTING"),
        "finish_conversion": ({"CONVERTING"}, "CONVERTED"),
        "undo_conversion": ({"CONVERTING"}, "QUALIFIED"),
    },
)
_LENGTH_OF_A_NAME = 300
# What an import of history may say; a conversion cannot be imported, it is made.
_IMPORTABLE = frozenset({"NEW", "WORKING", "NURTURING", "QUALIFIED", "DISQUALIFIED"})


@dataclass
class EmailAddress:
    """An e-mail address, in lower case, and what it is for."""

    address: str
    label: str = ""
    verified: bool | None = None
    primary: bool | None = None
    bounced: bool | None = None


@dataclass
class PhoneNumber:
    """A phone number, as it was typed, and what it is for."""

    number: str
    label: str = ""
    extension: str | None = None
    region_code: str | None = None
    primary: bool | None = None


@dataclass(kw_only=True)
class Lead(Record):
    """Somebody who may become a customer.

    Attributes:
        state: As in the table `LEAD`; None until the lead has begun.
        conversion: The conversion that is under way, or that has made a customer of it.
    """

    display_name: str | None = None
    given_name: str | None = None
    family_name: str | None = None
    company: str | None = None
    job_title: str | None = None
    emails: list[EmailAddress] = field(default_factory=list)
    phones: list[PhoneNumber] = field(default_factory=list)
    website: str | None = None
    region_code: str | None = None
    source: str | None = None
    campaign: UUID | None = None
    utm: dict[str, str] = field(default_factory=dict)
    rating: str | None = None
    products: list[UUID] = field(default_factory=list)
    need: str | None = None
    amount: Money | None = None
    next_follow_up_time: datetime | None = None
    state: str | None = None
    disqualify_reason: str | None = None
    account: UUID | None = None
    contact: UUID | None = None
    opportunity: UUID | None = None
    convert_time: datetime | None = None
    conversion_error: str | None = None
    conversion: UUID | None = None

    @property
    def person(self) -> str:
        """The person's name as it is written; empty where there is none."""
        return " ".join(name for name in (self.given_name, self.family_name) if name)

    def check(self) -> None:
        """Writes values as they are kept.

        Raises:
            InvalidArgument: Nothing says who it is, or a value is impossible.
        """
        for email in self.emails:
            email.address = email.address.strip().lower()
        if not self.display_name:
            self.display_name = self._name_to_show()
        if not self.display_name:
            msg = "A lead needs a person, a company, an e-mail address or a phone number."
            raise InvalidArgument(msg, reason="REQUIRED_FIELD", field="lead.display_name")
        if self.region_code:
            self.region_code = self.region_code.upper()
            if not (len(self.region_code) == 2 and self.region_code.isalpha()):  # noqa: PLR2004
                msg = "The country must be a code of ISO 3166-1, such as DE."
                raise InvalidArgument(msg, field="lead.region_code")
        self._check_website()
        if self.amount is not None and self.amount.amount < 0:
            msg = "The amount cannot be negative."
            raise InvalidArgument(msg, field="lead.amount")
        self.products = list(dict.fromkeys(self.products))

    def _check_website(self) -> None:
        if self.website and "://" not in self.website:
            self.website = f"https://{self.website}"
        if self.website and not is_web_address(self.website):
            msg = "The website must be an http or https address."
            raise InvalidArgument(msg, field="lead.website")

    def _name_to_show(self) -> str | None:
        named = " · ".join(name for name in (self.person, self.company) if name)
        reached = [e.address for e in self.emails] + [p.number for p in self.phones]
        return named[:_LENGTH_OF_A_NAME] or next(iter(reached), None)

    def begin(self, *, imported: bool) -> None:
        """A new lead is NEW, unless an import tells of one that has been worked on.

        Raises:
            InvalidArgument: The import says a state that only converting reaches, or a reason without it.
        """
        self.state = self.state or "NEW"
        if imported and self.state not in _IMPORTABLE:
            msg = f"A lead cannot be imported as {self.state}; convert it."
            raise InvalidArgument(msg, field="lead.state")
        if self.disqualify_reason and self.state != "DISQUALIFIED":
            msg = "Only a disqualified lead has a reason for it."
            raise InvalidArgument(msg, field="lead.disqualify_reason")

    def refuse_changes(self) -> None:
        """Raises FailedPrecondition `CONVERSION_UNDER_WAY`: what is made of it must stay the same."""
        msg = "The lead is being converted; change it afterwards."
        raise FailedPrecondition(msg, reason="CONVERSION_UNDER_WAY")

    # -- working; each raises FailedPrecondition `ILLEGAL_TRANSITION`

    def start(self) -> None:
        """Somebody begins to work on it."""
        LEAD.move(self, "start")
        self.record("started")

    def nurture(self) -> None:
        """There is no need now; it is kept warm."""
        LEAD.move(self, "nurture")
        self.record("nurtured")

    def qualify(self) -> None:
        """There is a need that we can meet."""
        LEAD.move(self, "qualify")
        self.record("qualified")

    def disqualify(self, reason: str) -> None:
        """It will not become a customer."""
        LEAD.move(self, "disqualify")
        self.disqualify_reason = reason
        self.next_follow_up_time = None
        self.record("disqualified")

    def reopen(self) -> None:
        """It is worked on again."""
        LEAD.move(self, "reopen")
        self.disqualify_reason = None
        self.record("reopened")

    def assign(self, owner: UUID) -> None:
        """Gives it to somebody."""
        if owner != self.owner:
            self.owner = owner
            self.record("assigned")

    # -- converting; each raises FailedPrecondition `ILLEGAL_TRANSITION`

    def convert(self, conversion: UUID) -> None:
        """It is about to become a customer."""
        LEAD.move(self, "convert")
        self.conversion, self.conversion_error = conversion, None
        self.record("conversion_started")

    def finish_conversion(self, time: datetime) -> None:
        """It has become what `account`, `contact` and `opportunity` say."""
        LEAD.move(self, "finish_conversion")
        self.convert_time = time
        self.next_follow_up_time = None
        self.record("converted")

    def undo_conversion(self, reason: str) -> None:
        """It could not be converted; what was made of it is taken back."""
        LEAD.move(self, "undo_conversion")
        self.conversion, self.conversion_error = None, reason
        self.account = self.contact = self.opportunity = None
        self.record("conversion_undone")
