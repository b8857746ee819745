"""Where consents are kept: a ledger per contact, which only grows and is read in the contact's scope."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime
from typing import NoReturn
from uuid import UUID

import sqlalchemy as sa
from sqlalchemy.dialects.postgresql import distinct_on

from crm.customer.v1 import consent_pb2
from crmkit import picked_values
from crmkit.access import EVERYTHING, RecordScope, scope_condition
from crmkit.call import Call
from crmkit.collection import Collection
from crmkit.errors import FailedPrecondition, Failure, NotFound
from crmkit.following import recorded_index
from crmkit.listing import Listing
from crmkit.schema import REVISION
from crmkit.sharing import Found, shared_with_caller, within_reach
from crmkit.statements import TEXT, TIMESTAMP, compile_statement, record_table
from customer.domain.consent import Consent, Rank
from customer.domain.contact import Contact
from customer.storage.contact import CONTACTS, contacts
from customer.storage.schema import CUSTOMER

_PURPOSES = "consent_purpose"  # the pick list

consents = record_table(
    "consents",
    CUSTOMER,
    sa.Column("contact", sa.Uuid, nullable=False),
    # A merge alone changes to whom an entry belongs, and its undoing.
    sa.Column("contact_as_recorded", sa.Uuid),
    sa.Column("channel", TEXT, nullable=False),
    sa.Column("purpose", TEXT, nullable=False),
    sa.Column("decision", TEXT, nullable=False),
    sa.Column("basis", TEXT, nullable=False),
    sa.Column("method", TEXT),
    sa.Column("place", TEXT),
    sa.Column("text_version", TEXT),
    sa.Column("source", TEXT),
    sa.Column("evidence", TEXT),
    sa.Column("effective_time", TIMESTAMP, nullable=False),
    sa.Index("ix_consents_contact", "contact", "channel", "purpose", "effective_time"),
    sa.Index("ix_consents_effective_time", "effective_time", "id"),
    *recorded_index("consents", "contact"),
)

# As `Consent.rank`.
HIGHEST_FIRST = (
    consents.c.effective_time.desc(),
    consents.c.create_time.desc(),
    (consents.c.decision == "WITHDRAWN").desc(),
    consents.c.id.desc(),
)
_IDS = sa.bindparam("ids", type_=sa.ARRAY(sa.Uuid))
_OWNERS = sa.select(contacts.c.id, contacts.c.owner, contacts.c.team, contacts.c.delete_time).where(
    contacts.c.id == sa.any_(_IDS)
)
_whose = sa.select(consents.c.id, consents.c.contact, contacts.c.owner, contacts.c.team).join_from(
    consents, contacts, contacts.c.id == consents.c.contact
)
_FIND_OWNERS = compile_statement(_whose.where(consents.c.id == sa.any_(_IDS)))
# One after the other: who compares with the ledger must see what others have just added to it.
_LOCK_OWNERS = compile_statement(_OWNERS.order_by(contacts.c.id).with_for_update(key_share=True))
_key = (consents.c.contact, consents.c.channel, consents.c.purpose)
_DECIDING = compile_statement(
    sa.select(*_key, consents.c.effective_time, consents.c.create_time, consents.c.decision, consents.c.id)
    .ext(distinct_on(*_key))
    .where(consents.c.contact == sa.any_(_IDS))
    .order_by(*_key, *HIGHEST_FIRST)
)  # fmt: skip
_BY = sa.bindparam("by", type_=TIMESTAMP)
_DID_NOT_WANT_CALLS = compile_statement(
    sa.select(REVISION.c.changes["do_not_call"][1].astext)
    .where(
        REVISION.c.record == sa.bindparam("contact", type_=sa.Uuid),
        REVISION.c.create_time <= _BY,
        REVISION.c.changes.has_key("do_not_call"),
    )
    .order_by(REVISION.c.version.desc())
    .limit(1)
)

Key = tuple[UUID, str, str]  # contact, channel, purpose


@dataclass
class _Ledgers:
    """What a piece of work knows of the contacts that it has locked.

    Attributes:
        owners: Owner, team and time of deletion, by contact.
        deciding: Rank and decision of the entry that decides now.
    """

    owners: dict[UUID, tuple[UUID | None, UUID | None, datetime | None]] = field(
        default_factory=dict
    )
    deciding: dict[Key, tuple[Rank, str]] = field(default_factory=dict)

    def has_purpose(self, contact: UUID, purpose: str) -> bool:
        return any(key[0] == contact and key[2] == purpose for key in self.deciding)


async def _ledgers(call: Call, wanted: Iterable[UUID]) -> _Ledgers:
    """The ledgers of these contacts, which nobody else adds to before the transaction ends."""
    ledgers: _Ledgers = call.state.setdefault("consent_ledgers", _Ledgers())
    new = list(set(wanted) - ledgers.owners.keys())
    if new:
        for id_, *owner in await call.tx.fetch_all(_LOCK_OWNERS, {"ids": new}):
            ledgers.owners[id_] = (owner[0], owner[1], owner[2])
        for row in await call.tx.fetch_all(_DECIDING, {"ids": new}):
            contact, channel, purpose, effective, created, decision, id_ = row
            rank = effective, created, decision == "WITHDRAWN", id_
            ledgers.deciding[contact, channel, purpose] = rank, decision
    return ledgers


async def _enter(call: Call, after: Consent, _before: Consent | None) -> None:
    """An entry belongs to a contact in the caller's scope, and says what changes with it."""
    ledgers = await _ledgers(call, [after.contact])
    after.owner, after.team = await _owner(call, ledgers, after.contact)
    after.take_effect(call.now)
    if not ledgers.has_purpose(after.contact, after.purpose):
        after.purpose = picked_values.entry_of(
            call, _PURPOSES, after.purpose, field="consent.purpose"
        )
    key = after.contact, after.channel, after.purpose
    rank, decision = ledgers.deciding.get(key, (None, None))
    after.follow(rank, decision)
    if rank is None or after.rank > rank:
        ledgers.deciding[key] = after.rank, after.decision


async def _owner(call: Call, ledgers: _Ledgers, contact: UUID) -> tuple[UUID | None, UUID | None]:
    owner, team, delete_time = ledgers.owners.get(contact, (None, None, None))
    found = [(contact, owner, team)] if contact in ledgers.owners else []
    name, path = CONTACTS.codec.name_of(contact), "consent.contact"
    if not await reached_contacts(call, CONSENTS.permission("create"), found):
        msg = f"{path} refers to {name}, which does not exist."
        raise NotFound(msg, reason="REFERENCE_NOT_FOUND", field=path)
    if delete_time is not None:
        msg = f"{path} refers to {name}, which is deleted."
        raise FailedPrecondition(msg, reason="REFERENCE_DELETED", field=path)
    return owner, team


async def reached_contacts(call: Call, permission: str, found: Sequence[Found]) -> set[UUID]:
    """Those of some contacts whose ledgers the caller may use a permission with; shared ones too."""
    scope = CONSENTS.scope(call, permission)
    of = CONTACTS.contract, permission
    return await within_reach(call.reader, call.principal, of, scope, found)


def _in_scope(table: sa.FromClause, scope: RecordScope) -> sa.ColumnElement[bool] | None:
    """The entries of the contacts that a scope reaches, or that are shared with the caller."""
    condition = scope_condition(contacts, scope)
    if condition is None:
        return None
    reached = sa.select(sa.literal(1)).where(contacts.c.id == table.c.contact, condition)
    return sa.or_(sa.exists(reached), shared_with_caller(table.c.contact))


def _unlimited(call: Call) -> Call:
    """The same work where the record scope is decided here, not in the kit."""
    return replace(call, principal=replace(call.principal, grants=EVERYTHING))


class Consents(Collection[Consent]):
    """The collection: entries are added, never changed, and read by whom their contact may be read."""

    made_by = "Record"
    ends_with = "contact"
    holds_on = False  # a contact that is purged takes its ledger along
    handed_over = sa.false()  # the contact is; the entry keeps who was responsible then

    def scope(self, call: Call, permission: str) -> RecordScope:
        """The contacts whose entries a caller may use: those that they may read as well."""
        readable = call.principal.require(CONTACTS.permission("get"))
        return min(super().scope(call, permission), readable)

    async def get(
        self, call: Call, name: str | UUID, *, permission: str = "", field: str = "name"
    ) -> Consent:
        """One entry of a contact within the caller's scope; raises NotFound."""
        permission = permission or self._required(call)
        consent = await super().get(_unlimited(call), name, permission=permission, field=field)
        found = [(consent.id, consent.owner, consent.team)]
        if not await self.within_reach(call, permission, found):
            raise self.not_found(self.codec.name_of(consent.id))
        return consent

    async def within_reach(self, call: Call, permission: str, found: Sequence[Found]) -> set[UUID]:
        """Those of some entries whose contacts the caller may use a permission with."""
        rows = await call.reader.fetch_all(_FIND_OWNERS, {"ids": [id_ for id_, _, _ in found]})
        reached = await reached_contacts(call, permission, [(r[1], r[2], r[3]) for r in rows])
        return {row[0] for row in rows if row[1] in reached}

    async def for_change(
        self,
        call: Call,
        name: str | UUID,
        etag: str = "",
        *,
        deleted: bool = False,
        field: str = "name",
    ) -> NoReturn:
        """Raises FailedPrecondition: also a file does not change what was recorded."""
        del call, name, etag, deleted
        msg = "The consent ledger only grows: record what holds now as a new entry."
        raise FailedPrecondition(msg, reason="APPEND_ONLY", field=field)

    async def prepare_many(
        self, call: Call, entities: Sequence[Consent], *, checked: bool = False
    ) -> list[Failure | None]:
        """As for one, with the ledgers of all of them at once."""
        await _ledgers(call, [entity.contact for entity in entities])
        return await super().prepare_many(call, entities, checked=checked)


CONSENTS = Consents(consent_pb2.Consent, Consent, consents, natural_key="external_id", rule=_enter)
CONSENTS.shareable = False  # the contact is shared
CONSENTS.whose = _whose.subquery()
CONSENTS.listing = Listing(CONSENTS.codec, scoped=_in_scope)
# The contract says which list front ends offer; `_enter` reads it, as what is retired can be withdrawn.
CONSENTS.codec.pick_lists = []

_state = (
    sa.select(*CONSENTS.codec.columns)
    .ext(distinct_on(consents.c.channel, consents.c.purpose))
    .where(
        consents.c.contact == sa.bindparam("contact", type_=sa.Uuid),
        sa.or_(_BY.is_(None), consents.c.effective_time <= _BY),
        sa.or_(
            sa.bindparam("channel", type_=TEXT).is_(None),
            consents.c.channel == sa.bindparam("channel", type_=TEXT),
        ),
        sa.or_(
            sa.bindparam("purpose", type_=TEXT).is_(None),
            consents.c.purpose == sa.bindparam("purpose", type_=TEXT),
        ),
    )
    .order_by(consents.c.channel, consents.c.purpose, *HIGHEST_FIRST)
)
_STATE = compile_statement(_state)


async def deciding(
    call: Call, contact: UUID, channel: str | None, purpose: str | None, by: datetime | None
) -> list[Consent]:
    """The entries that decide, one for each channel and purpose.

    Args:
        call: The work at hand.
        contact: Whose ledger.
        channel: Only this one; None for all.
        purpose: Only this one; None for all.
        by: What had taken effect then; None for now.
    """
    parameters = {"contact": contact, "channel": channel, "purpose": purpose, "by": by}
    rows = await call.reader.fetch_all(_STATE, parameters)
    return [CONSENTS.codec.from_row(row) for row in rows]


async def did_not_want_calls(call: Call, contact: Contact, by: datetime | None) -> bool:
    """Whether the contact had `do_not_call` at an instant, by its history; None for now."""
    if by is None:
        return bool(contact.do_not_call)
    row = await call.reader.fetch_one(_DID_NOT_WANT_CALLS, {"contact": contact.id, "by": by})
    return row is not None and row[0] == "true"
