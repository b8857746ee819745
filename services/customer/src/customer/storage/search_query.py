"""The statements of a search. Each reads a bounded number of rows, however many there are.

Every condition of a caller's record scope, and of fields that are hidden from them, stands in the statements:
what somebody may not see neither takes places nor changes an order.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import Any
from uuid import UUID

import sqlalchemy as sa
from sqlalchemy.dialects.postgresql import ARRAY

from crmkit.access import RecordScope, scope_condition
from crmkit.db import Transaction
from crmkit.sharing import shared_with_caller
from crmkit.statements import TEXT, Row, Statement, compile_statement
from customer.storage.pooled import open_pools
from customer.storage.search import search_entries, search_keys, search_words

MOST = 200  # records that a search finds
# Who sees fewer records has them looked through; who sees more finds enough on the way through all.
_FEW = 5_000
_MOST_READ = 20_000  # keys, or entries, that are read for a caller who sees only some of them
_MOST_READ_BY_WORDS = 5_000  # entries that are looked through for words that begin too many
MOST_BEGINNINGS = 100  # words with one beginning
_MOST_ALIKE = 60
_LEAST_ALIKE = "0.2"  # of pg_trgm: a slip in a word of four letters leaves a quarter
_BEYOND = "\U0010ffff"

_e, _k = search_entries, search_keys
_TEXTS = ARRAY(sa.Text)


@dataclass(frozen=True, slots=True)
class Sight:
    """What of one kind of records a caller sees.

    Attributes:
        collection: The kind.
        scope: The records.
        fields: The fields of keys that are searched in all of them.
        hidden: Those that are searched only in records within `hidden_scope`.
        shareable: True where records may be shared with the caller beyond the scope.
        pooled: True where the caller sees what waits in pools that they may claim from.
    """

    collection: str
    scope: RecordScope
    fields: frozenset[str]
    hidden: frozenset[str] = frozenset()
    hidden_scope: RecordScope = RecordScope.NONE
    shareable: bool = True
    pooled: bool = False


@dataclass(frozen=True, slots=True)
class Eyes:
    """What a caller sees of all kinds, with the values of its conditions."""

    sights: tuple[Sight, ...]
    parameters: Mapping[str, Any]
    whole: bool  # every kind, and all of it

    @property
    def bound(self) -> Mapping[str, Any]:
        """The parameters of every statement, and which fields are searched."""
        fields: dict[str, Any] = {}
        for number, sight in enumerate(self.sights):
            fields[f"fields_{number}"] = sorted(sight.fields)
            fields[f"hidden_{number}"] = sorted(sight.hidden)
        return {**self.parameters, **fields}


def _visible(sights: tuple[Sight, ...], *, whole: bool) -> sa.ColumnElement[bool]:
    if whole:
        return sa.true()
    return sa.or_(*(sa.and_(_e.c.collection == s.collection, _in_scope(s)) for s in sights))


def _in_scope(sight: Sight) -> sa.ColumnElement[bool]:
    condition = scope_condition(_e, sight.scope)
    if condition is None:
        return sa.true()
    seen = [condition]
    if sight.shareable:
        seen.append(shared_with_caller(_e.c.record))
    if sight.pooled:
        seen.append(_e.c.pool == sa.any_(sa.func.array(open_pools().scalar_subquery())))
    return sa.or_(*seen)


def _searched(sights: tuple[Sight, ...], field: sa.ColumnElement[Any]) -> sa.ColumnElement[bool]:
    """That a key's field is one that the caller may search in its record."""
    conditions: list[sa.ColumnElement[bool]] = []
    for number, sight in enumerate(sights):
        here = _e.c.collection == sight.collection
        fields = sa.bindparam(f"fields_{number}", type_=_TEXTS)
        conditions.append(sa.and_(here, field == sa.any_(fields)))
        if sight.hidden:
            shown = scope_condition(_e, sight.hidden_scope)
            hidden = field == sa.any_(sa.bindparam(f"hidden_{number}", type_=_TEXTS))
            conditions.append(sa.and_(here, hidden, sa.true() if shown is None else shown))
    return sa.or_(*conditions)


def _forms(name: str = "forms") -> Any:
    column = sa.func.unnest(sa.bindparam(name, type_=_TEXTS)).column_valued("form")
    return sa.select(sa.collate(column, "C").label("form")).subquery("typed")


@lru_cache(maxsize=256)
def _by_key(sights: tuple[Sight, ...], whole: bool, few: bool) -> Statement:  # noqa: FBT001 - a cache's key
    typed = _forms()
    begins = sa.and_(_k.c.value >= typed.c.form, _k.c.value < typed.c.form + _BEYOND)
    if few:
        rows = _e.join(_k, _k.c.record == _e.c.record).join(typed, begins)
        found, columns = rows, (_k.c.value, typed.c.form, _k.c.field)
        query = sa.select(_e.c.record, _e.c.collection, _e.c.name, *columns).select_from(found)
        shown = (_visible(sights, whole=False), _searched(sights, _k.c.field))
        return compile_statement(
            query.where(*shown).order_by(_k.c.value, _e.c.record).limit(2 * MOST)
        )
    read = (
        sa.select(_k.c.record, _k.c.field, _k.c.value)
        .where(begins)
        .order_by(_k.c.value)
        .limit(2 * MOST if whole else _MOST_READ)
        .lateral("k")
    )
    query = (
        sa.select(_e.c.record, _e.c.collection, _e.c.name, read.c.value, typed.c.form, read.c.field)
        .select_from(typed.join(read, sa.true()).join(_e, _e.c.record == read.c.record))
        .where(_visible(sights, whole=whole), _searched(sights, read.c.field))
        .limit(4 * MOST)
    )
    return compile_statement(query)


@lru_cache(maxsize=256)
def _count(sights: tuple[Sight, ...]) -> Statement:
    few = (
        sa.select(sa.literal(1))
        .select_from(_e)
        .where(_visible(sights, whole=False))
        .limit(_FEW + 1)
    )
    return compile_statement(sa.select(sa.func.count()).select_from(few.subquery()))


async def by_key(tx: Transaction, eyes: Eyes, forms: Sequence[str]) -> list[Row]:
    """Rows of record, kind, name, key, typed form and field, where a key is the form or begins so."""
    few = False
    if not eyes.whole:
        row = await tx.fetch_one(_count(eyes.sights), eyes.bound)
        few = row is not None and row[0] <= _FEW
    statement = _by_key(eyes.sights, eyes.whole, few)
    return await tx.fetch_all(statement, {**eyes.bound, "forms": list(forms)})


@lru_cache(maxsize=512)
def _by_words(sights: tuple[Sight, ...], whole: bool, groups: int, beginnings: int) -> Statement:  # noqa: FBT001
    query = sa.select(_e.c.record, _e.c.collection, _e.c.name, _e.c.words).where(
        *(
            _e.c.words.op("&&", is_comparison=True)(sa.bindparam(f"any_{i}", type_=ARRAY(TEXT)))
            for i in range(groups)
        ),
        _visible(sights, whole=whole),
    )
    if not beginnings:
        return compile_statement(query.limit(MOST))
    read = query.limit(_MOST_READ_BY_WORDS).subquery("read")
    for i in range(beginnings):
        word = sa.func.unnest(read.c.words).column_valued(f"word_{i}")
        begins = sa.func.starts_with(word, sa.bindparam(f"begins_{i}", type_=sa.Text))
        some = sa.select(sa.literal(1)).where(begins).exists()
        query = sa.select(read) if i == 0 else query
        query = query.where(some)
    return compile_statement(query.limit(MOST))


async def by_words(
    tx: Transaction, eyes: Eyes, groups: Sequence[Sequence[str]], beginnings: Sequence[str] = ()
) -> list[Row]:
    """Rows of record, kind, name and words of entries with a word of each group.

    Args:
        tx: A transaction that was prepared.
        eyes: What the caller sees.
        groups: Of each of them an entry must have a word; at least one group.
        beginnings: What, besides, some word of the entry must begin with, each.
    """
    statement = _by_words(eyes.sights, eyes.whole, len(groups), len(beginnings))
    parameters: dict[str, Any] = {f"any_{i}": list(group) for i, group in enumerate(groups)}
    parameters |= {f"begins_{i}": text for i, text in enumerate(beginnings)}
    return await tx.fetch_all(statement, {**eyes.bound, **parameters})


_typed = _forms()
_some = (
    sa.select(search_words.c.word)
    .where(search_words.c.word >= _typed.c.form, search_words.c.word < _typed.c.form + _BEYOND)
    .order_by(search_words.c.word)
    .limit(MOST_BEGINNINGS + 1)
    .lateral("some")
)
_BEGINNING = compile_statement(
    sa.select(_typed.c.form, _some.c.word).select_from(_typed.join(_some, sa.true()))
)
# For this transaction. That most words are rare and some in every second entry no plan for all can know; a
# scan of the table, tempting where few rows are wanted, reads all of it where there are none.
_PREPARE = compile_statement(
    sa.text(
        "SELECT set_config('enable_seqscan', 'off', true), set_config('jit', 'off', true),"
        " set_config('plan_cache_mode', 'force_custom_plan', true),"
        " set_config('pg_trgm.similarity_threshold', :least, true)"
    )
)
_ALIKE = compile_statement(
    sa.text(
        "SELECT alike.word FROM unnest(:forms) AS form CROSS JOIN LATERAL ("
        " SELECT word FROM search_words WHERE word % form"
        " ORDER BY similarity(word, form) DESC, word LIMIT :most) AS alike"
        " UNION SELECT word FROM search_words WHERE word = ANY(:swapped)"
    ).bindparams(
        sa.bindparam("forms", type_=_TEXTS),
        sa.bindparam("swapped", type_=ARRAY(TEXT)),
        sa.bindparam("most", _MOST_ALIKE),
    )
)


async def prepare(tx: Transaction) -> None:
    """Comes before the first of the statements."""
    await tx.execute(_PREPARE, {"least": _LEAST_ALIKE})


async def words_beginning(tx: Transaction, forms: Sequence[str]) -> Mapping[str, list[str]]:
    """Form → the first words that begin with it; one more than `MOST_BEGINNINGS` where there are too many."""
    found: dict[str, list[str]] = {form: [] for form in forms}
    for form, word in await tx.fetch_all(_BEGINNING, {"forms": list(forms)}):
        found[form].append(word)
    return found


async def words_alike(tx: Transaction, forms: Sequence[str], swapped: Sequence[str]) -> list[str]:
    """Words that are spelt like one of some, and those of the others that there are."""
    parameters = {"forms": list(forms), "swapped": list(swapped)}
    return [row[0] for row in await tx.fetch_all(_ALIKE, parameters)]


def record_of(row: Row) -> UUID:
    """The record of a row that was found."""
    record: UUID = row[0]
    return record
