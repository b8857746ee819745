"""What tests of timelines share: a customer service that hears the others, and people who look."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import Any
from uuid import UUID

import sqlalchemy as sa
from google.protobuf.message import Message

from crm.customer.v1 import (
    account_pb2,
    account_pb2_grpc,
    contact_pb2,
    contact_pb2_grpc,
    interaction_pb2,
    interaction_pb2_grpc,
)
from crm.customer.v1 import customer_view_pb2 as pb
from crm.customer.v1 import customer_view_pb2_grpc as pb_grpc
from crm.sales.v1 import opportunity_pb2 as sales
from crm.support.v1 import ticket_pb2 as support
from crmkit.feed.cursor import read_cursor
from crmkit.ids import uuid7
from crmkit.statements import compile_statement
from crmkit.testing.feed_host import FeedHost, feed_host
from crmkit.testing.harness import Person, ServiceUnderTest, service_under_test
from crmkit.testing.polling import eventually
from crmkit.testing.postgres import TestServer
from customer.service import SERVICE

Kind = pb.TimelineEntry.Kind
DAY = timedelta(days=1)
START = datetime(2026, 3, 2, 9, tzinfo=UTC)
_WAITING = compile_statement(sa.text("SELECT EXISTS (SELECT FROM outbox)"))
_OTHERS = ("identity", "sales", "marketing", "support")


@dataclass
class Watched:
    """A customer service and the feeds that it reads."""

    customer: ServiceUnderTest
    feeds: FeedHost
    moments: int = field(default=0)

    @property
    def views(self) -> Any:
        """The service that is tested."""
        return pb_grpc.CustomerViewServiceStub(self.customer.channel)

    async def account(self, person: Person, **fields: Any) -> str:
        """A new account's name."""
        made = account_pb2.Account(**{"display_name": f"Acme {uuid7()}", **fields})
        stub: Any = account_pb2_grpc.AccountServiceStub(self.customer.channel)
        request = account_pb2.CreateAccountRequest(account=made)
        return str((await stub.CreateAccount(request, metadata=person.metadata)).name)

    async def contact(self, person: Person, **fields: Any) -> str:
        """A new contact's name."""
        made = contact_pb2.Contact(**{"display_name": "Zhang San", **fields})
        stub: Any = contact_pb2_grpc.ContactServiceStub(self.customer.channel)
        request = contact_pb2.CreateContactRequest(contact=made)
        return str((await stub.CreateContact(request, metadata=person.metadata)).name)

    async def interaction(self, person: Person, **fields: Any) -> interaction_pb2.Interaction:
        """A call that is recorded, once what it is about is known here."""
        await self.level()
        made = interaction_pb2.Interaction(**{"kind": "CALL", "subject": "Call", **fields})
        stub: Any = interaction_pb2_grpc.InteractionServiceStub(self.customer.channel)
        request = interaction_pb2.CreateInteractionRequest(interaction=made)
        answer: interaction_pb2.Interaction = await stub.CreateInteraction(
            request, metadata=person.metadata
        )
        return answer

    async def hear(self, message: Message, owner: Person | None = None, **attributes: Any) -> None:
        """An event of another service, a day after the one before unless it says when."""
        self.moments += 1
        attributes.setdefault("effective_time", START + self.moments * DAY)
        if owner is not None:
            attributes |= {"owner": owner.id, "team": owner.team}
        await self.feeds.publish(message, **attributes)

    async def level(self) -> None:
        """Returns once everything that happened so far is applied."""
        home = self.customer.running.home

        async def applied() -> bool:
            # The others first: what they bring about here is an event of ours.
            head = (await self.feeds.feed.head()).last_seq
            for source in ("sales", "support"):
                if (await read_cursor(home.database, source)).seq < head:
                    return False
            waiting = await home.database.fetch_one(_WAITING)
            own = (await self.customer.running.feed.head()).last_seq
            reached = (await read_cursor(home.database, "customer")).seq >= own
            return reached and waiting == (False,)

        await eventually(applied)

    async def timeline(self, person: Person, of: str, **fields: Any) -> pb.ListTimelineResponse:
        """A page of somebody's timeline, once everything is applied."""
        await self.level()
        if of.startswith("accounts/"):
            request: Any = pb.ListAccountTimelineRequest(parent=of, **fields)
            answer = await self.views.ListAccountTimeline(request, metadata=person.metadata)
        else:
            request = pb.ListContactTimelineRequest(parent=of, **fields)
            answer = await self.views.ListContactTimeline(request, metadata=person.metadata)
        found: pb.ListTimelineResponse = answer
        return found

    async def kinds(self, person: Person, of: str, **fields: Any) -> list[str]:
        """What stands in a timeline, the latest first."""
        page = await self.timeline(person, of, **fields)
        return [Kind.Name(entry.kind) for entry in page.entries]

    async def view(self, person: Person, of: str) -> pb.CustomerView:
        """An account's or a contact's page, once everything is applied."""
        await self.level()
        if of.startswith("accounts/"):
            request: Any = pb.GetCustomerViewRequest(name=of)
            answer = await self.views.GetCustomerView(request, metadata=person.metadata)
        else:
            request = pb.GetContactViewRequest(name=of)
            answer = await self.views.GetContactView(request, metadata=person.metadata)
        found: pb.CustomerView = answer
        return found


def opportunity(account: str = "", **fields: Any) -> sales.Opportunity:
    """An opportunity as sales tells of it."""
    values = {"display_name": "Ten licences", "state": "OPEN", "account": account, **fields}
    return sales.Opportunity(name=f"opportunities/{uuid7()}", **values)


def changed(record: Any, **fields: Any) -> Any:
    """The record after a change."""
    copy = type(record)()
    copy.CopyFrom(record)
    copy.MergeFrom(type(record)(**fields))
    return copy


def ticket(**fields: Any) -> support.Ticket:
    """A ticket as support tells of it."""
    values = {"number": "T-000007", "state": "NEW", "kind": "COMPLAINT", **fields}
    return support.Ticket(name=f"tickets/{uuid7()}", **values)


def id_of(name: str) -> UUID:
    """The id in a name."""
    return UUID(name.partition("/")[2])


@asynccontextmanager
async def watched_service(postgres: TestServer) -> AsyncIterator[Watched]:
    """The service on a database of its own, with feeds that a test fills."""
    async with feed_host(postgres, SERVICE.migrations) as feeds:
        await feeds.start()
        addresses = dict.fromkeys(_OTHERS, feeds.address)
        roles = ("serve", "relay", "jobs", "consume")
        async with service_under_test(
            SERVICE, postgres, roles=roles, addresses=addresses
        ) as running:
            yield Watched(running, feeds)
