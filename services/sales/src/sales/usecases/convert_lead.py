"""Converting a lead: a saga over two services that ends in one result, or in none.

1. The lead is CONVERTING, and a job is promised that finishes what this process does not.
2. customer makes account and contact, under request ids that are the same in every attempt.
3. The opportunity is made, and the lead is CONVERTED, in one transaction.

Where a step is refused for good, what was made is deleted, and the lead is QUALIFIED again. Any number of
attempts may be under way at once: each step takes effect once, and the lead's row says who is first.
"""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import replace
from datetime import timedelta
from typing import Any
from uuid import UUID

from crm.sales.v1 import lead_pb2 as pb
from crmkit import references
from crmkit.access import service_principal
from crmkit.call import Call
from crmkit.errors import Aborted, FailedPrecondition, Failure
from crmkit.etags import check_etag
from crmkit.field_codecs import Reference
from crmkit.ids import uuid7
from crmkit.jobs import enqueue, is_transient
from crmkit.names import parse_name
from sales.domain.conversion import UNDER_WAY, Conversion
from sales.domain.lead import LEAD, Lead
from sales.domain.opportunity import Opportunity
from sales.storage.conversion import (
    find_conversion,
    insert_conversion,
    lock_conversion,
    save_conversion,
)
from sales.storage.lead import LEADS
from sales.storage.opportunity import OPPORTUNITIES
from sales.storage.pipeline import default_pipeline_id
from sales.usecases.converted_customer import CustomerSide, account_of

CONVERT_LEAD = "convert_lead"
_WHILE_WE_TRY_OURSELVES = timedelta(seconds=30)
_TAKEN_BACK = "The conversion was taken back; see conversion_error, and ask again."
_WANTED = {"account": "accounts", "contact": "contacts", "opportunity": "opportunities"}


async def convert(call: Call, request: pb.ConvertLeadRequest) -> tuple[Lead, bool]:
    """Makes a customer of a lead; answers the lead, and whether it had been one before.

    Raises:
        Failure: As the contract of ConvertLead says.
    """
    wanted = {
        name: parse_name(getattr(request, name), collection=collection, field=name)
        if getattr(request, name)
        else None
        for name, collection in _WANTED.items()
    }
    lead = await LEADS.get(call, request.name)
    if lead.conversion is None:
        conversion_id = await _start(call, request, wanted)
    else:
        conversion_id = lead.conversion
    conversion, done_now = await _finish(call, conversion_id)
    if conversion.asks_for_other(*wanted.values()):
        has = f"accounts/{conversion.account}"
        msg = f"The lead has become {has} already."
        raise FailedPrecondition(msg, reason="LEAD_ALREADY_CONVERTED", metadata={"account": has})
    return await LEADS.get(call, lead.id), not done_now


async def convert_lead(call: Call, arguments: dict[str, Any]) -> None:
    """The job: finishes a conversion, or takes it back."""
    conversion_id = UUID(arguments["conversion"])
    try:
        await _finish(call, conversion_id)
    except Failure as failure:
        conversion = await find_conversion(call.home.database, conversion_id)
        is_under_way = conversion is not None and conversion.state in UNDER_WAY
        if is_under_way and is_transient(failure):
            raise


@asynccontextmanager
async def _step(call: Call) -> AsyncIterator[Call]:
    """One transaction of the saga, with the service's own rights: the caller's were checked at the start."""
    async with call.home.database.transaction() as tx:
        yield replace(
            call, principal=service_principal("sales"), tx=tx, method=None, metadata={}, state={}
        )


# -- 1: the beginning


async def _start(
    call: Call, request: pb.ConvertLeadRequest, wanted: dict[str, UUID | None]
) -> UUID:
    """Begins a conversion, or answers the one that somebody else has begun meanwhile."""
    named = [Reference(_WANTED[name], id_, name) for name, id_ in wanted.items() if id_]
    if request.pipeline:
        pipeline = parse_name(request.pipeline, collection="pipelines", field="pipeline")
        named.append(Reference("pipelines", pipeline, "pipeline"))
    await references.confirm(call, named)
    await references.check(call, named)
    if wanted["contact"] is not None and wanted["account"] is None:
        wanted["account"] = await account_of(call, wanted["contact"])
        if wanted["account"] is None:
            msg = "The contact belongs to no account; name the account."
            raise FailedPrecondition(msg, reason="CONTACT_WITHOUT_ACCOUNT", field="contact")
    async with call.home.database.transaction() as tx:
        return await _begin(replace(call, tx=tx), request, named, wanted)


async def _begin(
    call: Call,
    request: pb.ConvertLeadRequest,
    named: list[Reference],
    wanted: dict[str, UUID | None],
) -> UUID:
    lead = await LEADS.for_change(call, request.name)
    if lead.conversion is not None:
        return lead.conversion
    check_etag(request.name, request.etag, lead.version)
    LEAD.check(lead, "convert")
    await references.check(call, named)
    pipeline = next((r.id for r in named if r.collection == "pipelines"), None)
    conversion = Conversion(
        id=uuid7(),
        lead=lead.id,
        account=wanted["account"],
        contact=wanted["contact"],
        opportunity=wanted["opportunity"],
        requester=call.principal.user,
        new_account=wanted["account"] is None,
        new_contact=wanted["contact"] is None,
        with_opportunity=not request.without_opportunity or wanted["opportunity"] is not None,
        opportunity_display_name=request.opportunity_display_name.strip() or None,
        pipeline=pipeline or await default_pipeline_id(call),
        start_time=call.now,
    )
    _require_rights(call, lead, conversion)
    await _refuse_foreign_opportunity(call, conversion)
    lead.convert(conversion.id)
    await LEADS.save(call, lead)
    await insert_conversion(call.tx, conversion)
    later = call.now + _WHILE_WE_TRY_OURSELVES
    arguments = {"conversion": str(conversion.id)}
    await enqueue(call.tx, CONVERT_LEAD, arguments, later, job_id=conversion.id)
    return conversion.id


def _require_rights(call: Call, lead: Lead, conversion: Conversion) -> None:
    """Whoever converts could have made by hand what is made of the lead.

    Raises:
        PermissionDenied: A permission is missing, or does not reach records of the lead's owner.
        FailedPrecondition: `NO_DEFAULT_PIPELINE`.
    """
    new_opportunity = conversion.with_opportunity and conversion.opportunity is None
    made = {
        "customer.accounts.create": conversion.new_account,
        "customer.contacts.create": conversion.new_contact,
        "sales.opportunities.create": new_opportunity,
    }
    for permission in (name for name, is_made in made.items() if is_made):
        scope = call.principal.require(permission)
        if not call.principal.covers(scope, lead.owner, lead.team):
            msg = f"Your right {permission} does not reach records of the lead's owner."
            raise FailedPrecondition(msg, reason="OWNER_OUT_OF_SCOPE", field="lead.owner")
    if new_opportunity and conversion.pipeline is None:
        msg = "There is no default pipeline; name one."
        raise FailedPrecondition(msg, reason="NO_DEFAULT_PIPELINE", field="pipeline")


async def _refuse_foreign_opportunity(call: Call, conversion: Conversion) -> None:
    """An opportunity that is named is one that the caller may change, of the same account or of none.

    Raises:
        NotFound: The caller may not change it.
        FailedPrecondition: `ANOTHER_ACCOUNT`.
    """
    if conversion.opportunity is None:
        return
    permission = OPPORTUNITIES.permission("update")
    opportunity = await OPPORTUNITIES.get(
        call, conversion.opportunity, permission=permission, field="opportunity"
    )
    _require_account(opportunity, conversion.account)


def _require_account(opportunity: Opportunity, account: UUID | None) -> None:
    if opportunity.account not in {None, account}:
        msg = "The opportunity is another account's."
        raise FailedPrecondition(msg, reason="ANOTHER_ACCOUNT", field="opportunity")


# -- 2 and 3: the end, one way or the other


async def _finish(call: Call, conversion_id: UUID) -> tuple[Conversion, bool]:
    """Goes on with a conversion to its end; answers it, and whether the end was reached here.

    Raises:
        Failure: What it was refused for, after everything was taken back; or what it may be repeated for.
    """
    conversion = await find_conversion(call.home.database, conversion_id)
    if conversion is None:
        msg = "The lead was purged."
        raise Aborted(msg)
    if conversion.state == "DONE":
        return conversion, False
    if conversion.state == "UNDONE":
        raise Aborted(_TAKEN_BACK)
    refusal: Failure = Aborted(_TAKEN_BACK)
    if conversion.state == "STARTED":
        try:
            done = await _complete(call, conversion)
        except Failure as failure:
            if is_transient(failure) and not conversion.is_over_at(call.now):
                raise
            refusal = failure
            goes_back = await _give_up(call, conversion, failure.reason)
        else:
            if done is not None:
                return done, True
            goes_back = False
        if not goes_back:  # another attempt came first
            return await _finish(call, conversion_id)
    await _take_back(call, conversion)
    raise refusal


async def _complete(call: Call, conversion: Conversion) -> Conversion | None:
    """Does all that is left; None where another attempt has come to an end first."""
    async with _step(call) as step:
        lead = await LEADS.get(step, conversion.lead)
    made = await CustomerSide(step, lead, conversion).make()
    async with _step(call) as step:
        # It may be too new to be known here by its event.
        await references.confirm(step, made.references())
        lead = await LEADS.for_change(step, conversion.lead)
        current = await lock_conversion(step.tx, conversion.id)
        if current is None or current.state != "STARTED":
            return None
        current.account, current.contact = made.account, made.contact
        if current.with_opportunity:
            current.opportunity = await _opportunity(step, lead, current)
        current.state = "DONE"
        lead.account, lead.contact = current.account, current.contact
        lead.opportunity = current.opportunity
        lead.finish_conversion(call.now)
        await LEADS.save(step, lead)
        await save_conversion(step.tx, current)
    return current


async def _opportunity(call: Call, lead: Lead, conversion: Conversion) -> UUID:
    """The opportunity that is asked for, now of the account; or a new one, which is always the same."""
    if conversion.opportunity is not None:
        opportunity = await OPPORTUNITIES.for_change(call, conversion.opportunity)
        _require_account(opportunity, conversion.account)
        opportunity.account = opportunity.account or conversion.account
        await OPPORTUNITIES.save(call, opportunity)
        return opportunity.id
    values = {
        "display_name": conversion.opportunity_display_name or _subject(call, lead),
        "account": conversion.account,
        "pipeline": conversion.pipeline,
        "owner": lead.owner,
        "creator": conversion.requester,
        "amount": lead.amount,
    }
    record_id = UUID(conversion.step("opportunity"))
    opportunity = OPPORTUNITIES.new(call, values, record_id=record_id)
    await OPPORTUNITIES.insert(call, opportunity)
    return opportunity.id


def _subject(call: Call, lead: Lead) -> str:
    """What a new opportunity is about; never a person's name: events tell of it, and are kept for ever."""
    return (
        lead.company or f"Enquiry of {lead.create_time.astimezone(call.organization.zone):%Y-%m-%d}"
    )


async def _give_up(call: Call, conversion: Conversion, reason: str) -> bool:
    """From here on it is taken back; False where another attempt has come to an end first."""
    async with _step(call) as step:
        await LEADS.for_change(step, conversion.lead)
        current = await lock_conversion(step.tx, conversion.id)
        if current is None or current.state == "DONE":
            return False
        if current.state == "STARTED":
            current.state, current.error_reason = "UNDOING", reason
            await save_conversion(step.tx, current)
    return True


async def _take_back(call: Call, conversion: Conversion) -> None:
    """Deletes what was made; then the lead is QUALIFIED again."""
    async with _step(call) as step:
        lead = await LEADS.get(step, conversion.lead)
    await CustomerSide(step, lead, conversion).take_back()
    async with _step(call) as step:
        lead = await LEADS.for_change(step, conversion.lead)
        current = await lock_conversion(step.tx, conversion.id)
        if current is None or current.state != "UNDOING":
            return
        current.state = "UNDONE"
        lead.undo_conversion(current.error_reason or "UNKNOWN")
        await LEADS.save(step, lead)
        await save_conversion(step.tx, current)
