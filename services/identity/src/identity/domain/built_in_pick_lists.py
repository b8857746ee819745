"""The pick lists that every installation has; what it makes of them afterwards is its own."""

from dataclasses import dataclass
from uuid import UUID

from crmkit.ids import uuid5_of
from identity.domain.pick_list import Entry

_NAMESPACE = UUID("0b5d9c52-7a4e-4c7e-9a25-6c1f0f6b7a12")


@dataclass(frozen=True)
class BuiltInPickList:
    """A list as it is made at the first start.

    Attributes:
        words: The entries' labels in English; an id is its label in small letters with underscores.
    """

    key: str
    display_name: str
    words: str
    open: bool = True

    @property
    def id(self) -> UUID:
        """The same in every installation."""
        return uuid5_of(_NAMESPACE, self.key)

    def entries(self) -> list[Entry]:
        """The entries of a new installation."""
        labels = [label.strip() for label in self.words.split(",")]
        return [Entry(label.lower().replace(" ", "_"), {"en": label}) for label in labels]


BUILT_IN_PICK_LISTS = (
    BuiltInPickList(
        "industry", "Industry",
        "Agriculture, Automotive, Chemicals, Construction, Education, Employment, Energy, Entertainment,"
        " Finance, Food, Government, Healthcare, Hospitality, Insurance, Logistics, Manufacturing,"
        " Marketing, Media, Medical, Retail, Services, Software, Technology, Telecommunications,"
        " Textiles, Transport",
    ),
    BuiltInPickList(
        "source", "Source",
        "Advertisement, Campaign, Cold call, Event, Existing customer, Partner, Referral, Social media,"
        " Website",
    ),
    BuiltInPickList(
        "lost_reason", "Lost reason",
        "Price, Competitor, No budget, No decision, Missing feature, Timing, No response, Other",
        open=False,
    ),
    BuiltInPickList(
        "disqualify_reason", "Reason for giving a lead up",
        "No need, No budget, No authority, Not reachable, Competitor, Duplicate, Not genuine, Other",
        open=False,
    ),
    BuiltInPickList(
        "ticket_category", "Ticket category",
        "Billing, Delivery, Documents, Hardware, Installation, Sensors, Software, Usage",
    ),
    BuiltInPickList(
        "remedy", "Remedy",
        "Repair, Replacement, Refund, Discount, Credit note, None",
        open=False,
    ),
    BuiltInPickList(
        "job_role", "Job role",
        "Decision maker, Buyer, Influencer, User, Technical contact, Finance, Assistant",
    ),
    BuiltInPickList(
        "consent_purpose", "Purpose of a consent",
        "Marketing, Newsletter, Product information, Events, Surveys, Service messages, Profiling",
        open=False,
    ),
)  # fmt: skip
