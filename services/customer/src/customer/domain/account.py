"""Accounts: the organisations and persons we deal with."""

import re
from dataclasses import dataclass, field
from datetime import date, datetime
from uuid import UUID

from crmkit.errors import FailedPrecondition, InvalidArgument
from crmkit.money import Money
from crmkit.web_address import is_web_address
from customer.domain.names import firm_key, person_key
from customer.domain.party import once
from customer.domain.pooled import Pooled

_DOMAIN = re.compile(r"[^\s./@:]+(\.[^\s./@:]+)+")


@dataclass(frozen=True, kw_only=True)
class Credit:
    """What was decided on how much an account may owe; no limit where it is None."""

    credit_class: str | None
    state: str
    limit: Money | None
    review_date: date | None
    reason: str


@dataclass(kw_only=True)
class Account(Pooled):
    """An organisation or a private person we deal with."""

    noun = "account"
    display_name: str
    legal_name: str | None = None
    kind: str = "ORGANISATION"
    state: str = "PROSPECT"
    partner: bool | None = None
    parent_account: UUID | None = None
    industry: str | None = None
    founded_year: int | None = None
    employee_count: int | None = None
    annual_revenue: Money | None = None
    website: str | None = None
    tax_id: str | None = None
    customer_number: str | None = None
    domains: list[str] = field(default_factory=list)
    grade: str | None = None
    grade_source: str | None = None
    grade_reason: str | None = None
    credit_class: str | None = None
    credit_state: str | None = None
    credit_limit: Money | None = None
    credit_used: Money | None = None
    credit_reason: str | None = None
    credit_review_date: date | None = None

    def check(self) -> None:
        """Writes values as they are kept, makes the name that is sorted by, rates the record.

        Raises:
            InvalidArgument: The account is its own parent, its website is no web address, or a domain none.
        """
        self.settle_points()
        self.settle_preferences()
        self.domains = once([_domain(text, index) for index, text in enumerate(self.domains or [])])
        name = self.display_name
        self.sort_name = person_key(name, None, None) if self.is_person else firm_key(name)
        if self.parent_account == self.id:
            msg = "An account cannot belong to itself."
            raise InvalidArgument(msg, field="account.parent_account")
        if self.website and _DOMAIN.fullmatch(self.website.partition("/")[0]):
            self.website = f"https://{self.website}"
        if self.website is not None and not is_web_address(self.website):
            msg = "The website must be an http or https address."
            raise InvalidArgument(msg, field="account.website")
        _refuse_debt(self.credit_limit, "account.credit_limit")
        if self.grade and not self.grade_source:
            self.grade_source = "MANUAL"
        self.rate_as_account()

    @property
    def has_credit(self) -> bool:
        """True once it was decided how much they may owe."""
        return bool(self.credit_state or self.credit_limit or self.credit_class)

    @property
    def is_person(self) -> bool:
        """True for a private person."""
        return self.kind == "PERSON"

    def rate_as_account(self) -> None:
        """Says how complete the record is; less is expected of a private person."""
        expected = {
            "emails": self.emails,
            "phones": self.numbers(),
            "addresses": self.addresses,
            "owner": self.owner,
        }
        if self.is_person:
            expected |= {"language_code": self.language_code}
        else:
            expected |= {
                "industry": self.industry,
                "employee_count": self.employee_count is not None,
                "website": self.website or self.domains,
            }
        self.rate(expected)

    def buy(self, time: datetime) -> bool:
        """Becomes a customer with the first purchase; False if it is one already."""
        if self.state == "CUSTOMER":
            return False
        self.state = "CUSTOMER"
        self.record("won", effective_time=time)
        return True

    def grade_as(self, grade: str | None, source: str, reason: str | None) -> None:
        """Takes a grade, or loses the one it has.

        Raises:
            InvalidArgument: A score makes nobody a VIP.
            FailedPrecondition: `GRADED_BY_HAND`: a score does not change what a person said.
        """
        if source == "SCORE" and grade == "VIP":
            msg = "Only a person says who is a VIP."
            raise InvalidArgument(msg, field="grade")
        if source == "SCORE" and self.grade_source == "MANUAL":
            msg = "A person has graded this account; a score does not change that."
            raise FailedPrecondition(msg, reason="GRADED_BY_HAND")
        before = (self.grade, self.grade_source, self.grade_reason)
        after = (grade, source, reason) if grade else (None, None, None)
        if before != after:
            self.record("graded", previous_grade=self.grade)
            self.grade, self.grade_source, self.grade_reason = after

    def transfer(self, owner: UUID) -> UUID | None:
        """Gets another owner; answers the one it had, None where that is the same or there was none."""
        before = self.owner
        if before == owner:
            return None
        self.owner = owner
        previous = f"users/{before}" if before else None
        self.record("transferred", previous_owner=previous, changed_fields=["owner"])
        return before

    def decide_credit(self, credit: Credit) -> None:
        """Replaces what was decided before.

        Raises:
            InvalidArgument: The limit is below 0.
        """
        _refuse_debt(credit.limit, "credit_limit")
        self.record("credit_changed", previous_credit_state=self.credit_state)
        self.credit_class = credit.credit_class
        self.credit_state = credit.state
        self.credit_limit = credit.limit
        self.credit_review_date = credit.review_date
        self.credit_reason = credit.reason


def _refuse_debt(limit: Money | None, path: str) -> None:
    if limit is not None and limit.amount < 0:
        msg = "A credit limit cannot be below 0."
        raise InvalidArgument(msg, field=path)


def _domain(text: str, index: int) -> str:
    """The bare domain of what people paste: `https://www.Acme.example/about` is `acme.example`."""
    bare = text.strip().lower().rpartition("://")[2].partition("/")[0].partition(":")[0]
    bare = bare.rpartition("@")[2].removeprefix("www.").rstrip(".")
    if bare and not _DOMAIN.fullmatch(bare):
        msg = "A domain looks like acme.example."
        raise InvalidArgument(msg, field=f"account.domains[{index}]")
    return bare
