"""A company made from a seed: the same seed and day make the same company, row for row.

Every row is a line of a CSV file: field → text. Records refer to one another by external ids, which begin
with the seed, so that a second run finds what is there.
"""

from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import UTC, date, datetime, time, timedelta
from enum import StrEnum
from random import Random

from crm_cli.demo import names

Row = dict[str, str]
_MONTHS_BACK = 12
# Of those that may be decided by now: won below the first, lost below the second, else open.
_WON, _LOST = 0.36, 0.92
_STAGE_WEIGHTS = (5, 4, 3, 2)
_DONE = 0.7  # of the tasks whose time has come


class Size(StrEnum):
    """How much of it."""

    SMALL = "small"
    MEDIUM = "medium"


@dataclass(frozen=True)
class _Counts:
    agents_per_region: int
    accounts: int
    opportunities: int
    tickets: int


_COUNTS = {
    Size.SMALL: _Counts(agents_per_region=3, accounts=60, opportunities=260, tickets=120),
    Size.MEDIUM: _Counts(agents_per_region=8, accounts=600, opportunities=3000, tickets=1500),
}


@dataclass
class _Person:
    id: str
    region: str


@dataclass
class _Account:
    id: str
    name: str
    domain: str
    region: str
    owner: str
    contacts: list[str] = field(default_factory=list)


def _product_id(number: int) -> str:
    """Every seed's company sells the same: names of products are there only once."""
    return f"demo-product-{number}"


class Company:
    """Everything there is to know of the company, by collection, in the order of dependence."""

    def __init__(self, seed: int, size: Size, today: date, stages: Sequence[str]) -> None:
        """Makes the company up.

        Args:
            seed: Which company.
            size: How large.
            today: The day until which things happened.
            stages: The open stages of the pipeline in use.
        """
        self._random = Random(seed)  # noqa: S311 - a story, no secret
        self._prefix = f"demo-{seed}"
        self._counts = _COUNTS[size]
        self._now = datetime.combine(today, time(0), UTC)
        self._stages = stages
        self._accounts: list[_Account] = []
        self.rows: dict[str, list[Row]] = {}
        self._staff()
        self.rows["products"] = self._products()
        self._customers()
        self.rows["opportunities"] = self._many("opportunity", self._counts.opportunities)
        self.rows["tickets"] = self._many("ticket", self._counts.tickets)
        self.rows["campaigns"] = self._campaigns()
        self.rows["interactions"] = self._interactions()
        self.rows["tasks"] = self._tasks()

    def _id(self, *parts: object) -> str:
        return "-".join([self._prefix, *map(str, parts)])

    def _many(self, noun: str, count: int) -> list[Row]:
        make = {"opportunity": self._opportunity, "ticket": self._ticket}[noun]
        return [make(self._id(noun, number)) for number in range(count)]

    # -- who works there

    def _staff(self) -> None:
        head = self._id("team", "sales")
        teams: list[Row] = [{"external_id": head, "display_name": f"Sales ({self._prefix})"}]
        users = [self._user("head", "Europe", head, "Manager")]
        self._agents: list[_Person] = []
        self._supporters: list[_Person] = []
        for region in names.REGIONS:
            team = self._id("team", region.lower())
            title = f"Sales {region} ({self._prefix})"
            teams.append({"external_id": team, "display_name": title, "parent": head})
            users.append(self._user(f"manager-{region.lower()}", region, team, "Manager"))
            for number in range(self._counts.agents_per_region):
                user = self._user(f"agent-{region.lower()}-{number}", region, team, "Sales")
                users.append(user)
                self._agents.append(_Person(user["external_id"], region))
        support = self._id("team", "support")
        teams.append({"external_id": support, "display_name": f"Support ({self._prefix})"})
        for number, region in enumerate(names.REGIONS):
            user = self._user(f"support-{number}", region, support, "Support")
            users.append(user)
            self._supporters.append(_Person(user["external_id"], region))
        self.rows |= {"teams": teams, "users": users}

    def _user(self, key: str, region: str, team: str, role: str) -> Row:
        given, family, _ = self._name(region)
        full = f"{family}{given}" if not family.isascii() else f"{given} {family}"
        return {
            "external_id": self._id("user", key),
            "email": f"{key}@{self._prefix}.example",
            "display_name": full,
            "team": team,
            "roles": role,
        }

    def _name(self, region: str) -> tuple[str, str, str]:
        """Given name, family name, and both as in an address."""
        if region == "Asia":
            family, given, letters = self._random.choice(names.CHINESE_NAMES)
            return given, family, letters
        given = self._random.choice(names.GIVEN_NAMES)
        family = self._random.choice(names.FAMILY_NAMES)
        return given, family, f"{given}.{family}".lower()

    # -- what they sell, and to whom

    def _products(self) -> list[Row]:
        return [
            {
                "external_id": _product_id(number),
                "display_name": name,
                "sku": f"DEMO-{number:03}",
                "category": category,
                "kind": kind,
                "unit_price": str(price),
                "unit_price.currency_code": "EUR",
            }
            for number, (name, category, kind, price) in enumerate(names.PRODUCTS)
        ]

    def _customers(self) -> None:
        accounts, contacts = [], []
        taken: set[str] = set()
        for number in range(self._counts.accounts):
            agent = self._random.choice(self._agents)
            name, domain = self._company_name(agent.region, number, taken)
            account = _Account(self._id("account", number), name, domain, agent.region, agent.id)
            accounts.append(self._account(account))
            for place in range(self._random.randint(1, 3)):
                contact = self._contact(account, self._id("contact", number, place))
                account.contacts.append(contact["external_id"])
                contacts.append(contact)
            self._accounts.append(account)
        self.rows |= {"accounts": accounts, "contacts": contacts}

    def _company_name(self, region: str, number: int, taken: set[str]) -> tuple[str, str]:
        choose = self._random.choice
        if region == "Asia":
            (head, letters), (tail, more) = choose(names.CHINESE_HEADS), choose(names.CHINESE_TAILS)
            name, domain = f"{head}{tail}", f"{letters}-{more}.example"
        else:
            head, tail = choose(names.COMPANY_HEADS), choose(names.COMPANY_TAILS)
            name, domain = f"{head} {tail}", f"{head}-{tail}.example".lower()
        if name in taken:
            name, domain = f"{name} {number}", f"{number}.{domain}"
        taken.add(name)
        return name, domain

    def _account(self, account: _Account) -> Row:
        country, city = self._random.choice(names.REGIONS[account.region])
        employees = int(self._random.lognormvariate(5, 1.2)) + 3
        revenue = employees * self._random.randint(90, 260) * 1000
        return {
            "external_id": account.id,
            "display_name": account.name,
            "kind": "ORGANISATION",
            "industry": self._random.choice(names.INDUSTRIES),
            "founded_year": str(self._random.randint(1920, 2020)),
            "employee_count": str(employees),
            "annual_revenue": str(revenue),
            "annual_revenue.currency_code": "EUR",
            "website": f"https://www.{account.domain}",
            "addresses.locality": city,
            "addresses.region_code": country,
            "labels.region": account.region,
            "owner": account.owner,
        }

    def _contact(self, account: _Account, contact_id: str) -> Row:
        given, family, letters = self._name(account.region)
        return {
            "external_id": contact_id,
            "given_name": given,
            "family_name": family,
            "job_title": self._random.choice(names.JOB_TITLES),
            "account": account.id,
            "emails.address": f"{letters}@{account.domain}",
            "emails.label": "work",
            "owner": account.owner,
        }

    # -- what happened

    def _moment(self, days_back_from: float, days_back_to: float) -> datetime:
        """A moment of the past, in working hours."""
        days = int(self._random.uniform(days_back_to, days_back_from))
        minutes = self._random.randint(7 * 60, 17 * 60)
        return self._now - timedelta(days=days + 1) + timedelta(minutes=minutes)

    def _opportunity(self, opportunity_id: str) -> Row:
        account = self._random.choice(self._accounts)
        product = self._random.randrange(len(names.PRODUCTS))
        name, _, kind, price = names.PRODUCTS[product]
        quantity = self._random.choice((1, 2, 3, 5, 8, 12)) if kind == "GOOD" else 1
        discount = self._random.choice((0, 0, 0, 5, 10, 15))
        opened = self._moment(_MONTHS_BACK * 30, 1)
        return {
            "external_id": opportunity_id,
            "display_name": f"{name} for {account.name}",
            "account": account.id,
            "owner": account.owner,
            "kind": self._random.choice(("NEW", "NEW", "UPSELL", "CROSS_SELL")),
            "lines.product": _product_id(product),
            "lines.quantity": str(quantity),
            "lines.unit_price": str(price * (100 - discount) // 100),
            "lines.unit_price.currency_code": "EUR",
            "open_time": opened.isoformat(),
            **self._course(opened),
        }

    def _course(self, opened: datetime) -> Row:
        """How far it came: most are decided within three months of their opening."""
        closed = opened + timedelta(days=self._random.triangular(3, 120, 35))
        fate = self._random.random()
        if closed < self._now and fate < _LOST:
            course = {"state": "WON" if fate < _WON else "LOST", "close_time": closed.isoformat()}
            if fate >= _WON:
                course["lost_reason"] = self._random.choice(names.LOST_REASONS)
            return course
        stages = self._stages[: len(_STAGE_WEIGHTS)]
        (stage,) = self._random.choices(stages, _STAGE_WEIGHTS[: len(stages)])
        expected = max(closed, self._now + timedelta(days=self._random.randint(3, 90)))
        return {"state": "OPEN", "stage": stage, "expected_close_date": expected.date().isoformat()}

    def _ticket(self, ticket_id: str) -> Row:
        account = self._random.choice(self._accounts)
        subject, kind, category = self._random.choice(names.TICKETS)
        helper = self._random.choice(self._supporters)
        opened = self._moment(_MONTHS_BACK * 30, 0)
        row = {
            "external_id": ticket_id,
            "subject": subject,
            "kind": kind,
            "category": category,
            "priority": self._random.choices(("LOW", "NORMAL", "HIGH", "URGENT"), (2, 6, 3, 1))[0],
            "account": account.id,
            "contact": self._random.choice(account.contacts),
            "owner": helper.id,
            "open_time": opened.isoformat(),
        }
        resolved = opened + timedelta(hours=self._random.lognormvariate(2.5, 1.3))
        if resolved >= self._now:
            return row | {"state": self._random.choice(("NEW", "OPEN", "PENDING_CUSTOMER"))}
        closed = resolved + timedelta(days=3)
        row["resolve_time"] = resolved.isoformat()
        if closed >= self._now:
            return row | {"state": "RESOLVED"}
        return row | {"state": "CLOSED", "close_time": closed.isoformat()}

    def _campaigns(self) -> list[Row]:
        rows = []
        for number, (name, kind, goal) in enumerate(names.CAMPAIGNS):
            start = self._now + timedelta(days=(number - len(names.CAMPAIGNS) + 3) * 40)
            end = start + timedelta(days=self._random.randint(5, 30))
            rows.append(
                {
                    "external_id": self._id("campaign", number),
                    "display_name": name,
                    "kind": kind,
                    "goal": goal,
                    "budget": str(self._random.randint(4, 40) * 500),
                    "budget.currency_code": "EUR",
                    "start_time": start.isoformat(),
                    "end_time": end.isoformat(),
                    # What lies ahead begins as a draft: filling schedules it as a person would.
                    "state": "COMPLETED" if end < self._now else "DRAFT",
                }
            )
        return rows

    def _interactions(self) -> list[Row]:
        rows: list[Row] = []
        for account in self._accounts:
            for _ in range(self._random.randint(1, 4)):
                kind, subject = self._random.choice(names.INTERACTIONS)
                rows.append(
                    {
                        "external_id": self._id("interaction", len(rows)),
                        "kind": kind,
                        "direction": self._random.choice(("INBOUND", "OUTBOUND")),
                        "subject": subject,
                        "duration_minutes": str(self._random.choice((5, 10, 20, 45, 60))),
                        "occur_time": self._moment(_MONTHS_BACK * 30, 0).isoformat(),
                        "owner": account.owner,
                        "account": account.id,
                        "contact": self._random.choice(account.contacts),
                    }
                )
        return rows

    def _tasks(self) -> list[Row]:
        """What is to do for some accounts: some of it done, some overdue, some to come."""
        rows = []
        for number, account in enumerate(self._accounts):
            due = self._now + timedelta(days=self._random.randint(-10, 20), hours=9)
            row = {
                "external_id": self._id("task", number),
                "title": self._random.choice(names.TASKS),
                "priority": self._random.choice(("NORMAL", "NORMAL", "HIGH")),
                "state": "OPEN",
                "due_time": due.isoformat(),
                "owner": account.owner,
                "account": account.id,
            }
            if due < self._now and self._random.random() < _DONE:
                row |= {"state": "DONE", "close_time": (due - timedelta(hours=2)).isoformat()}
            rows.append(row)
        return rows
