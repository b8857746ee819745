"""Which events change which facts."""

from crmkit.service import EventHandler
from reporting.projections import account, opportunity, organisation, ticket

HANDLERS: dict[str, EventHandler] = {
    **opportunity.HANDLERS,
    **ticket.HANDLERS,
    **organisation.HANDLERS,
    **account.HANDLERS,
}


def sources() -> list[str]:
    """The services whose events facts are made of."""
    return sorted({pattern.split(".")[0] for pattern in HANDLERS})


def handlers_of(source: str) -> dict[str, list[EventHandler]]:
    """The handlers of one service's events."""
    return {
        pattern: [handler]
        for pattern, handler in HANDLERS.items()
        if pattern.split(".")[0] == source
    }
