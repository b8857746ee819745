"""A world of the model made in the system, and changed as the model changes."""

from dataclasses import dataclass, field
from typing import Any
from uuid import uuid4

import httpx

from crmkit.access import RecordScope
from crmkit.statements import Statement
from crmkit.testing import eventually

from .conftest import Client, RunningSystem
from .scope_model import Delete, Move, Record, Share, World

_WAITING = Statement("SELECT 1 FROM outbox LIMIT 1", {})


@dataclass
class Population:
    """The same world in the running system.

    Attributes:
        crm: The system.
        account: The one account of all opportunities of this world.
        teams: Names.
        people: Names.
        clients: One REST client for each person, with an API key.
        records: Names.
        start: Where the events of this world begin.
    """

    crm: RunningSystem
    account: str
    start: str
    roles: dict[RecordScope | None, str]
    teams: list[str] = field(default_factory=list)
    people: list[str] = field(default_factory=list)
    clients: list[Client] = field(default_factory=list)
    records: list[str] = field(default_factory=list)

    async def settle(self, world: World) -> Any:
        """Makes teams and people; waits until every service knows them."""
        admin, mark = self.crm.admin, uuid4()
        for index, parent in enumerate(world.parents):
            body = {"display_name": f"T{index} {mark}"}
            body |= {"parent": self.teams[parent]} if parent is not None else {}
            self.teams.append((await admin.post("/v1/teams", body))["name"])
        for index, team in enumerate(world.teams):
            body = {
                "email": f"{index}.{mark}@crm.test", "display_name": f"P{index}", "kind": "SERVICE",
                "roles": [self.roles[s] for s in dict.fromkeys(world.scopes[index])],
                "team": self.teams[team] if team is not None else None,
            }  # fmt: skip
            person = (await admin.post("/v1/users", body))["name"]
            self.people.append(person)
            key = await admin.post("/v1/apiKeys", {"display_name": "k", "owner": person})
            http = httpx.AsyncClient(base_url=self.crm.system.url, timeout=20, trust_env=False)
            http.headers["authorization"] = f"Bearer {key['key']}"
            self.clients.append(Client(http))
        await self.rights_known(world)

    async def rights_known(self, world: World) -> None:
        """Waits until sales and reporting know everybody's team and roles as they are now."""
        expected = {
            person: (self.teams[team] if team is not None else None, len(set(scopes)))
            for person, team, scopes in zip(self.people, world.teams, world.scopes, strict=True)
        }

        def known() -> bool:
            for service in ("sales", "reporting"):
                rights = self.crm.system.running[service].home.rights
                users = {f"users/{id_}": user for id_, user in rights.users.items()}
                for name, (team, roles) in expected.items():
                    user = users.get(name)
                    if user is None or (f"teams/{user.team}" if user.team else None) != team:
                        return False
                    if len(user.roles) != roles or not set(user.roles) <= rights.roles.keys():
                        return False
                if not {name.partition("/")[2] for name in self.teams} <= {
                    str(t) for t in rights.parents
                }:
                    return False
            return True

        await eventually(known)

    async def make(self, world: World, owner: int) -> None:
        """A record of somebody; its amount is a digit of its own in a sum of all."""
        world.records.append(Record(None, None))
        number = len(self.records)
        world.give(number, owner)
        body = {
            "display_name": f"Deal {number}", "account": self.account, "owner": self.people[owner],
            "amount": {"currency_code": "EUR", "units": str(2**number)},
        }  # fmt: skip
        self.records.append((await self.crm.admin.post("/v1/opportunities", body))["name"])

    async def change(self, world: World, change: Any) -> None:
        """Something happens, in the model and in the system."""
        admin = self.crm.admin
        if isinstance(change, Move):
            world.teams[change.person] = change.team
            body = {"team": self.teams[change.team]} if change.team is not None else {}
            path = f"/v1/{self.people[change.person]}?update_mask=team"
            await admin.patch(path, body)
            await self.rights_known(world)
        elif world.records[change.record].deleted:
            return
        elif isinstance(change, Share):
            grantee = (change.kind, change.number)
            if change.kind == "user" and not world.scope(change.number):
                return  # sharing gives no permission, and is refused
            if grantee not in world.records[change.record].shared_with:
                world.records[change.record].shared_with.add(grantee)
                names = self.people if change.kind == "user" else self.teams
                path = f"/v1/{self.records[change.record]}/collaborators"
                await admin.post(path, {change.kind: names[change.number], "access": "READ"})
        elif isinstance(change, Delete):
            world.records[change.record].deleted = True
            Client._ok(await admin.http.delete(f"/v1/{self.records[change.record]}"))
        elif world.records[change.record].owner != change.person:
            world.give(change.record, change.person)
            body = {"owner": self.people[change.person]} if change.person is not None else {}
            path = f"/v1/{self.records[change.record]}?update_mask=owner"
            await admin.patch(path, body)

    async def reported(self) -> None:
        """Waits until reporting has read all that sales has published, and sales has published all."""
        sales, reporting = (self.crm.system.running[n] for n in ("sales", "reporting"))

        async def all_read() -> bool:
            rows = await sales.database.fetch_all(_WAITING)
            head = (await sales.feed.head()).last_seq
            return not rows and reporting.home.consumed["sales"].applied_seq >= head

        await eventually(all_read)
