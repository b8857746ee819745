"""Into a customer pool and out of it: an account, and its contacts."""

from datetime import datetime
from uuid import UUID

from crm.customer.v1 import account_pb2
from crmkit.access import RecordScope
from crmkit.call import Call
from crmkit.errors import FailedPrecondition, NotFound, PermissionDenied
from crmkit.etags import check_etag
from crmkit.sharing import refuse_collaborator
from customer.domain.account import Account
from customer.domain.pooled import POOL
from customer.storage.account import ACCOUNTS
from customer.storage.contact import CONTACTS
from customer.storage.customer_pool import (
    CUSTOMER_POOLS,
    hold_claims,
    hold_pool,
    note_claim,
    refuse_beyond_limits,
)
from customer.storage.pooled import may_claim_from, unlimited


async def release(
    call: Call, request: account_pb2.ReleaseAccountToPoolRequest, pool: UUID
) -> Account:
    """Puts an account into a pool, as whose it is, or who is above them, wishes."""
    await hold_pool(call, pool, "pool")
    account = await ACCOUNTS.for_change(call, request.name, request.etag)
    permission = ACCOUNTS.permission("releaseToPool")
    refuse_collaborator(call.principal, ACCOUNTS.scope(call, permission), account)
    await put_into_pool(call, account, pool)
    return account


async def put_into_pool(
    call: Call, account: Account, pool: UUID, *, automatic: bool = False
) -> None:
    """Takes a locked account, and its owner's contacts, from whoever has them."""
    any_owner = unlimited(call)  # nobody's records are within nobody's scope but ALL
    previous = account.owner
    account.release(pool, call.now, automatic=automatic)
    await ACCOUNTS.save(any_owner, account)
    if previous is not None:
        await _give_contacts(any_owner, account.id, previous, None)


async def claim(call: Call, request: account_pb2.ClaimAccountRequest) -> Account:
    """Makes an account in a pool the caller's own.

    Raises:
        NotFound: The caller neither sees it nor is one of those who could have claimed it.
        PermissionDenied: `NOT_A_MEMBER`: the pool is for others.
        FailedPrecondition: `ILLEGAL_TRANSITION`: it is in no pool, any more; `CLAIM_LIMIT_REACHED`.
    """
    user = call.principal.user
    if user is None:
        msg = "Only a user can claim an account."
        raise PermissionDenied(msg, reason="NOT_A_MEMBER")
    await hold_claims(call, user)
    any_owner = unlimited(call)
    account = await ACCOUNTS.for_change(any_owner, request.name, deleted=True)
    await _refuse_strangers(call, account)
    check_etag(request.name, request.etag, account.version)
    assert account.pool is not None
    pool = await CUSTOMER_POOLS.get(any_owner, account.pool)
    await refuse_beyond_limits(call, pool, user, _beginning_of_day(call))
    account.claim(user)
    await ACCOUNTS.save(any_owner, account)
    await _give_contacts(any_owner, account.id, None, user)
    await note_claim(call, pool.id, user, account.id)
    return account


async def _refuse_strangers(call: Call, account: Account) -> None:
    """Who could have claimed it learns that somebody was faster; who could not, not even that it is there."""
    name = ACCOUNTS.codec.name_of(account.id)
    is_member = await may_claim_from(call, account.pool or account.claim_pool)
    scope = call.principal.grants.scope(ACCOUNTS.permission("get"))
    seen = scope is not RecordScope.NONE and call.principal.covers(
        scope, account.owner, account.team
    )
    if not (is_member or seen):
        msg = f"There is no {name}."
        raise NotFound(msg, metadata={"resource": name})
    if account.delete_time is not None:
        msg = f"{name} is deleted; restore it first."
        raise FailedPrecondition(msg, reason="RECORD_DELETED")
    POOL.check(account, "claim")
    if not is_member:
        msg = "The pool that the account is in is for others; who may transfer it gives it to you."
        raise PermissionDenied(msg, reason="NOT_A_MEMBER")


def _beginning_of_day(call: Call) -> datetime:
    local = call.now.astimezone(call.organization.zone)
    return local.replace(hour=0, minute=0, second=0, microsecond=0).astimezone(call.now.tzinfo)


async def _give_contacts(
    call: Call, account: UUID, previous: UUID | None, owner: UUID | None
) -> None:
    for contact_id in await CONTACTS.of_owner(call, account, previous):
        contact = await CONTACTS.for_change(call, contact_id)
        contact.owner = owner
        await CONTACTS.save(call, contact)
