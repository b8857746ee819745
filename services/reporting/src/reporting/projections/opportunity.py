"""Opportunities: events to facts."""

from decimal import ROUND_DOWN, Decimal, localcontext
from uuid import UUID

from crm.sales.v1.opportunity_pb2 import Opportunity
from crmkit.call import Call
from crmkit.feed.events import Event
from crmkit.statements import Statement
from reporting.projections.values import decimal_of, id_of, time_of
from reporting.storage.facts import fact_opportunity, upsert_keeping

_CENTS = Decimal("0.0001")
_MILLIONTHS = Decimal("0.000001")
_DIGITS = 80  # more than any product of two stored numbers has

# While it stays won (or lost) it belongs to those who won (or lost) it, whoever owns it later.
_PUT = upsert_keeping(fact_opportunity, {"close_owner": "state", "close_team": "state"})
_FORGET_PRODUCTS = Statement(
    "DELETE FROM fact_opportunity_product WHERE opportunity = %(opportunity)s", {}
)
_PUT_PRODUCTS = Statement(
    "INSERT INTO fact_opportunity_product (opportunity, product, amount) "
    "SELECT %(opportunity)s, * FROM unnest(%(products)s::uuid[], %(amounts)s::numeric[])",
    {},
)


async def opportunity_changed(event: Event, call: Call) -> None:
    """Replaces the facts of an opportunity by what it is after the event."""
    opportunity: Opportunity = event.message.opportunity
    record_id = id_of(opportunity.name, "opportunities")
    has_amount = opportunity.HasField("amount")
    amount = decimal_of(opportunity.amount) if has_amount else None
    owner, team = id_of(opportunity.owner, "users"), id_of(opportunity.team, "teams")
    closed = opportunity.state != Opportunity.OPEN
    await call.tx.execute(
        _PUT,
        {
            "id": record_id,
            "state": Opportunity.State.Name(opportunity.state),
            "pipeline": id_of(opportunity.pipeline, "pipelines"),
            "stage": id_of(opportunity.stage, "pipelines/stages"),
            "account": id_of(opportunity.account, "accounts"),
            "owner": owner,
            "team": team,
            "close_owner": owner if closed else None,
            "close_team": team if closed else None,
            "amount": amount,
            "currency": opportunity.amount.currency_code if has_amount else None,
            "probability": _probability(opportunity),
            "open_time": time_of(opportunity, "open_time"),
            "close_time": time_of(opportunity, "close_time"),
            "deleted": opportunity.HasField("delete_time"),
        },
    )
    await call.tx.execute(_FORGET_PRODUCTS, {"opportunity": record_id})
    shares = product_shares(opportunity, amount)
    if shares:
        await call.tx.execute(
            _PUT_PRODUCTS,
            {
                "opportunity": record_id,
                "products": list(shares),
                "amounts": list(shares.values()),
            },
        )


def _probability(opportunity: Opportunity) -> Decimal | None:
    if not opportunity.HasField("probability"):
        return None
    return Decimal(repr(opportunity.probability)).quantize(_MILLIONTHS)


def product_shares(opportunity: Opportunity, amount: Decimal | None) -> dict[UUID, Decimal | None]:
    """Product → its part of the amount; the parts add up to the amount exactly.

    The amount is split by the value of the lines (quantity times unit price), and equally where no
    line has a price. What rounding leaves goes to the last product.
    """
    values: dict[UUID, Decimal] = {}
    with localcontext() as context:
        context.prec = _DIGITS
        for line in opportunity.lines:
            product = id_of(line.product, "products")
            if product is not None:
                values[product] = values.get(product, Decimal(0)) + _value(line)
        if amount is None:
            return dict.fromkeys(values)
        if sum(values.values()) <= 0:
            values = dict.fromkeys(values, Decimal(1))
        return _split(amount, values)


def _value(line: Opportunity.Line) -> Decimal:
    if not line.HasField("unit_price"):
        return Decimal(0)
    return Decimal(line.quantity or "1") * decimal_of(line.unit_price)


def _split(amount: Decimal, values: dict[UUID, Decimal]) -> dict[UUID, Decimal | None]:
    total = sum(values.values())
    shares: dict[UUID, Decimal | None] = {}
    left = amount
    for product, value in values.items():
        share = (amount * value / total).quantize(_CENTS, rounding=ROUND_DOWN)
        shares[product] = share
        left -= share
    if shares:
        last = next(reversed(shares))
        shares[last] = (shares[last] or Decimal(0)) + left
    return shares


HANDLERS = {"sales.opportunity.*": opportunity_changed}
