"""Random sequences of merges, their undoing and writes end where a simple model says."""

import random
from dataclasses import dataclass, field

import pytest

from crm.customer.v1 import contact_pb2, task_pb2
from crmkit.testing.harness import ServiceUnderTest

from .merging import As, Contact

_STEPS = 40


@dataclass
class Model:
    """What was recorded, and what lies in what; the rest follows."""

    into: dict[str, str] = field(default_factory=dict)
    merges: list[tuple[str, str]] = field(default_factory=list)
    lists: dict[str, list[str]] = field(default_factory=dict)
    links: dict[str, str] = field(default_factory=dict)

    def root(self, name: str) -> str:
        while name in self.into:
            name = self.into[name]
        return name

    def shown(self, names: list[str]) -> list[str]:
        return list(dict.fromkeys(map(self.root, names)))

    def write(self, record: str, names: list[str]) -> None:
        """Old names mean their survivors; what was there already stays as it was recorded."""
        had = self.lists.get(record, [])
        kept: list[str] = []
        for name in self.shown(names):
            kept += [old for old in had if self.root(old) == name] or [name]
        self.lists[record] = kept


class Walk:
    """One random sequence, done in the service and in the model."""

    def __init__(self, ada: As, seed: int) -> None:
        self.ada, self.dice, self.model = ada, random.Random(seed), Model()
        self.records: dict[str, list[str]] = {}

    async def prepare(self) -> None:
        accounts = [(await self.ada.account(f"A{i}")).name for i in range(5)]
        contacts = [(await self.ada.contact(f"C{i}", account=accounts[i])).name for i in range(5)]
        self.records = {"accounts": accounts, "contacts": contacts}
        self.model.links = dict(zip(contacts, accounts, strict=True))

    def some(self) -> list[str]:
        everything = self.records["accounts"] + self.records["contacts"]
        return self.dice.sample(everything, self.dice.randrange(1, 6))

    async def step(self) -> None:
        steps = (self.create, self.update, self.link, self.merge, self.merge, self.unmerge)
        await self.dice.choice(steps)()

    async def create(self) -> None:
        names = self.some()
        request = task_pb2.CreateTaskRequest(task={"title": "Call", "related": names})
        task = await self.ada.do(self.ada.tasks.CreateTask, request)
        self.model.write(task.name, names)

    async def update(self) -> None:
        if self.model.lists:
            task = self.dice.choice(list(self.model.lists))
            names = self.some() + self.model.shown(self.model.lists[task])[:1]
            request = task_pb2.UpdateTaskRequest(task={"name": task, "related": names})
            await self.ada.do(self.ada.tasks.UpdateTask, request)
            self.model.write(task, names)

    async def link(self) -> None:
        """Whoever belongs to an account by an old name belongs to its survivor."""
        roots = [c for c in self.records["contacts"] if c not in self.model.into]
        contact, account = self.dice.choice(roots), self.dice.choice(self.records["accounts"])
        if self.model.root(account) == self.model.root(self.model.links[contact]):
            return
        request = contact_pb2.UpdateContactRequest(contact=Contact(name=contact, account=account))
        await self.ada.do(self.ada.contacts.UpdateContact, request)
        self.model.links[contact] = self.model.root(account)

    async def merge(self) -> None:
        records = self.records[self.dice.choice(["accounts", "contacts"])]
        roots = [name for name in records if name not in self.model.into]
        if len(roots) > 1:
            survivor, loser = self.dice.sample(roots, 2)
            await self.ada.merge(await self.ada.get(survivor), loser)
            self.model.into[loser] = survivor
            self.model.merges.append((survivor, loser))

    async def unmerge(self) -> None:
        """The last merge into a record that stands by itself."""
        open_ = [m for m in self.model.merges if m[0] not in self.model.into]
        if open_:
            survivor, _ = self.dice.choice(open_)
            loser = [m for m in self.model.merges if m[0] == survivor][-1][1]
            await self.ada.unmerge(await self.ada.get(survivor))
            self.model.merges.remove((survivor, loser))
            del self.model.into[loser]

    async def compare(self) -> None:
        for task, recorded in self.model.lists.items():
            found = await self.ada.do(self.ada.tasks.GetTask, task_pb2.GetTaskRequest(name=task))
            assert list(found.related) == self.model.shown(recorded)
        for contact, account in self.model.links.items():
            if contact not in self.model.into:
                found = await self.ada.get(contact)
                assert found.account == self.model.root(account)
        for name in self.model.into:
            assert (await self.ada.get(name)).name == self.model.root(name)


@pytest.mark.parametrize("seed", range(6))
async def test_references_end_where_the_model_says(customer: ServiceUnderTest, seed: int) -> None:
    """INVARIANT: a reference shows who stands for what was recorded, whatever was merged and taken back."""
    ada = As(customer, await customer.person("customer.*"))
    walk = Walk(ada, seed)
    await walk.prepare()
    for _ in range(_STEPS):
        await walk.step()
        await walk.compare()
