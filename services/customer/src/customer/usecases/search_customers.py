"""A search: exact values first, then what begins so, then words in any order, then what is spelt alike.

Each step is taken only while the steps before have not found enough.
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any
from uuid import UUID

from crmkit.access import RecordScope, scope_parameters
from crmkit.call import Call
from crmkit.db import Transaction
from crmkit.errors import InvalidArgument, PermissionDenied
from crmkit.statements import Row
from customer.domain.search_query import Query, Word, misspellings, swapped
from customer.storage.account import ACCOUNTS
from customer.storage.contact import CONTACTS
from customer.storage.pooled import InPools
from customer.storage.search_query import (
    MOST,
    MOST_BEGINNINGS,
    Eyes,
    Sight,
    by_key,
    by_words,
    prepare,
    record_of,
    words_alike,
    words_beginning,
)

SEARCHED = {collection.name: collection for collection in (ACCOUNTS, CONTACTS)}
_FIELDS = frozenset({
    "display_name", "legal_name", "customer_number", "tax_id", "website", "domains", "emails", "phones",
    "addresses", "external_id", "external_ids",
})  # fmt: skip
# How well a record answers at most, by the step that found it; nearer names add to it.
_EXACT, _BEGINS, _ALL_WORDS, _WORDS_BEGIN, _ALIKE = 0.9, 0.8, 0.65, 0.5, 0.3
_NEARNESS, _SLIP = 0.1, 0.05
_NAMES = frozenset({"display_name", "legal_name"})  # of which another may be meant; not of a number
_FEW = 20  # found as typed: then what is spelt alike may be meant


@dataclass(frozen=True, slots=True)
class Hit:
    """A record that was found, with how well it answers."""

    id: UUID
    kind: str
    name: str
    score: float

    @property
    def place(self) -> tuple[float, str, UUID]:
        """What hits are ordered by."""
        return -self.score, self.name, self.id


@dataclass
class Found:
    """What a search has found.

    Attributes:
        meant: Words that were taken for wrong spellings → how many slips.
    """

    query: Query
    hits: dict[UUID, Hit] = field(default_factory=dict)
    meant: dict[str, int] = field(default_factory=dict)

    @property
    def is_enough(self) -> bool:
        """True once no further step is needed."""
        return len(self.hits) >= MOST

    def take(self, rows: Iterable[Row], score: float) -> None:
        """Adds records; who is there already keeps the place."""
        for row in rows:
            self.add(row, score)

    def add(self, row: Row, score: float) -> None:
        """Adds a record unless it was found better."""
        id_, kind, name = record_of(row), row[1], row[2]
        near = _NEARNESS * min(1.0, self.query.length / max(1, len(name)))
        hit = Hit(id_, kind, name, round(score + near, 4))
        known = self.hits.get(id_)
        if known is None or known.score < hit.score:
            self.hits[id_] = hit

    def best(self) -> list[Hit]:
        """The hits in order."""
        return sorted(self.hits.values(), key=lambda hit: hit.place)[:MOST]


def eyes_of(call: Call, kinds: Sequence[str]) -> Eyes:
    """What a caller sees of the kinds asked for.

    Raises:
        InvalidArgument: A kind is none that is searched.
        PermissionDenied: The caller may list none of them.
    """
    for index, kind in enumerate(kinds):
        if kind not in SEARCHED:
            msg = f"kinds[{index}] is none of {', '.join(sorted(SEARCHED))}."
            raise InvalidArgument(msg, field=f"kinds[{index}]")
    wanted = [SEARCHED[kind] for kind in dict.fromkeys(kinds)] or list(SEARCHED.values())
    sights = tuple(sight for sight in (_sight(call, c) for c in wanted) if sight is not None)
    if not sights:
        permission = wanted[0].permission("list")
        msg = f"The permission {permission} is needed."
        raise PermissionDenied(msg, metadata={"permission": permission})
    parameters: dict[str, object] = {}
    for sight in sights:
        for scope in (sight.scope, sight.hidden_scope):
            parameters |= scope_parameters(call.principal, scope)
    whole = len(sights) == len(SEARCHED) and all(s.scope is RecordScope.ALL for s in sights)
    return Eyes(sights, parameters, whole)


def _sight(call: Call, collection: Any) -> Sight | None:
    grants, contract = call.principal.grants, collection.contract
    scope = grants.scope(collection.permission("list"))
    if scope is RecordScope.NONE:
        return None
    custom = call.home.custom_fields.of(collection.name).by_id.values()
    fields = _FIELDS | {f"custom_fields.{f.field_id}" for f in custom if f.filterable}
    hidden = contract.sensitive & fields
    hidden_scope = grants.scope(contract.read_sensitive) if hidden else RecordScope.NONE
    if hidden_scope is RecordScope.ALL:
        hidden = frozenset()
    return Sight(
        collection.name,
        scope,
        fields - hidden,
        hidden if hidden_scope else frozenset(),
        hidden_scope,
        collection.shareable,
        isinstance(collection, InPools) and call.principal.user is not None,
    )


async def search(call: Call, eyes: Eyes, query: Query) -> Found:
    """What answers a query, of what the caller sees."""
    async with call.home.database.transaction() as tx:  # a method that reads has none of its own
        await prepare(tx)
        return await _search(tx, eyes, query)


async def _search(tx: Transaction, eyes: Eyes, query: Query) -> Found:
    found = Found(query)
    identified = False
    for row in await by_key(tx, eyes, query.keys) if query.keys else ():
        is_exact = row[3] == row[4]
        found.add(row, _EXACT if is_exact else _BEGINS)
        identified = identified or (is_exact and query.is_identifier and row[5] not in _NAMES)
    if not query.words or found.is_enough or identified:
        return found
    found.take(await by_words(tx, eyes, _exact(query)), _ALL_WORDS)
    if found.is_enough:
        return found
    beginnings = await _beginnings(tx, query)
    await _by_beginnings(tx, eyes, found, beginnings)
    if len(found.hits) < _FEW:
        await _by_likeness(tx, eyes, found, beginnings)
    return found


def _exact(query: Query) -> list[list[str]]:
    """For each word what an entry must have of it."""
    groups: list[list[str]] = []
    for word in query.words:
        groups += [[piece] for piece in word.pieces] if word.is_unspaced else [list(word.forms)]
    return groups


async def _beginnings(tx: Transaction, query: Query) -> Mapping[str, list[str]]:
    forms = [form for word in query.words if not word.has_digits for form in word.forms]
    return await words_beginning(tx, forms) if forms else {}


async def _by_beginnings(
    tx: Transaction, eyes: Eyes, found: Found, beginnings: Mapping[str, list[str]]
) -> None:
    """Entries with words that begin as typed; for what begins too many, among those that the others find."""
    groups: list[list[str]] = []
    vague: list[str] = []
    for word in found.query.words:
        if word.is_found_by_pieces:
            groups += [[piece] for piece in word.pieces]
            continue
        words = [w for form in word.forms for w in beginnings.get(form, ())]
        if word.has_digits or len(words) > MOST_BEGINNINGS:
            vague.append(word.forms[0])
        else:
            groups.append([*word.forms, *words])
    if not groups and vague:
        longest = vague.pop(0)
        groups.append([longest, *beginnings.get(longest, ())])
    found.take(await by_words(tx, eyes, groups, vague), _WORDS_BEGIN)


async def _by_likeness(
    tx: Transaction, eyes: Eyes, found: Found, beginnings: Mapping[str, list[str]]
) -> None:
    """Entries with words that those of the query may be wrong spellings of."""
    doubtful = [word for word in found.query.words if word.can_be_misspelt]
    if not doubtful:
        return
    forms = [form for word in doubtful for form in word.forms]
    candidates = await words_alike(tx, forms, [s for form in forms for s in swapped(form)])
    groups = []
    for word in found.query.words:
        meant = misspellings(word, candidates) if word.can_be_misspelt else {}
        found.meant.update(meant)
        groups += _alternatives(word, meant, beginnings)
    if not found.meant:
        return
    for row in await by_words(tx, eyes, groups):
        slips = min((found.meant[word] for word in row[3] if word in found.meant), default=0)
        found.add(row, _ALIKE - _SLIP * slips)


def _alternatives(
    word: Word, meant: Mapping[str, int], beginnings: Mapping[str, list[str]]
) -> list[list[str]]:
    if word.is_unspaced and not meant:
        return [[piece] for piece in word.pieces]
    begun = [w for form in word.forms for w in beginnings.get(form, ())]
    return [[*word.forms, *begun, *meant]]
