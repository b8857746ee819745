"""Trying a rule on what has happened: nothing is done and nothing is kept."""

from dataclasses import dataclass, field

import grpc

from crm.common.v1 import feed_pb2
from crmkit import contract
from crmkit.call import Call
from crmkit.clients import unavailable
from crmkit.errors import Failure
from crmkit.feed.events import Event
from workspace.domain.condition import holds
from workspace.domain.rule import Rule
from workspace.domain.rule_run import Step
from workspace.domain.webhook import matches
from workspace.queries.event_types import matching
from workspace.queries.event_values import condition_values
from workspace.queries.visibility import readable
from workspace.storage.collaborator import note_sharing
from workspace.usecases.rule_actions import Facts, plan

_FEED = "/crm.common.v1.FeedService"
_EVENTS_LOOKED_AT = 1000  # of each service
_MOST_RESULTS = 20


@dataclass
class Tried:
    """An event and what the rule would do with it."""

    event: Event
    holds: bool = False
    condition_error: str = ""
    steps: list[Step] = field(default_factory=list)


async def try_rule(call: Call, rule: Rule) -> list[Tried]:
    """The newest events of the rule's types that its owner may read, each with what would be done.

    Raises:
        Unavailable: A service whose events are needed cannot be reached.
    """
    rights = call.home.rights
    services = {event.service for pattern in rule.event_types for event in matching(pattern)}
    events = [
        shown
        for service in sorted(services)
        for event in await _recent_events(call, service)
        if any(matches(pattern, event.routing_key) for pattern in rule.event_types)
        and event.routing_key in contract.events()
        and (shown := readable(rights, rule.owner, await note_sharing(call, event), rule.limits))
    ]
    events.sort(key=lambda event: event.time, reverse=True)
    return [_tried(call, rule, event) for event in events[:_MOST_RESULTS]]


async def _recent_events(call: Call, service: str) -> list[Event]:
    clients = call.home.clients
    try:
        head = await clients.call(
            service, f"{_FEED}/GetHead", feed_pb2.GetHeadRequest(), feed_pb2.Head,
            metadata=clients.as_service(),
        )  # fmt: skip
        after = max(0, head.last_seq - _EVENTS_LOOKED_AT)
        page = await clients.call(
            service,
            f"{_FEED}/ListEvents",
            feed_pb2.ListFeedEventsRequest(after_seq=after, page_size=_EVENTS_LOOKED_AT),
            feed_pb2.ListFeedEventsResponse,
            metadata=clients.as_service(),
        )
    except grpc.aio.AioRpcError as error:
        raise unavailable(service) from error
    return [Event(wire) for wire in page.events]


def _tried(call: Call, rule: Rule, event: Event) -> Tried:
    tried, values = Tried(event), condition_values(event)
    try:
        tried.holds = holds(rule.condition, values)
    except Failure as failure:
        tried.condition_error = failure.message[:500]
    if tried.holds:
        tried.steps = plan(Facts(rule, event, values, 0, call.home.rights))
    return tried
