"""Searching over gRPC: what is found, by what, and in which order."""

# ruff: noqa: RUF001 - letters that look like others are what is tested

from typing import Any

import grpc
import pytest
import sqlalchemy as sa

from crm.customer.v1 import account_pb2, account_pb2_grpc, contact_pb2, contact_pb2_grpc
from crmkit.ids import uuid7
from crmkit.statements import compile_statement
from crmkit.testing.harness import ServiceUnderTest, details_of
from crmkit.testing.polling import eventually
from customer.storage.account import ACCOUNTS
from customer.storage.contact import CONTACTS
from customer.storage.search_upkeep import drop_gone, fill, forget_lost_words

from .imports import run_import
from .searching import account, contact, found, search

SMITH = {
    "given_name": "John",
    "family_name": "Smith",
    "emails": [{"address": "j.smith@acme-tools.example"}],
    "phones": [{"number": "+49 30 12345678"}],
    "addresses": [{"address_lines": ["12 Long Lane"], "locality": "Bristol", "postal_code": "BS1"}],
}


@pytest.mark.parametrize(
    ("query", "field"),
    [
        ("john smith", "display_name"),
        ("Smith, John", "display_name"),
        ("smi", "display_name"),
        ("johnsmi", "display_name"),
        ("smith j", "display_name"),
        ("jhon smiht", "display_name"),
        ("jon smyth", "display_name"),
        ("J.Smith@ACME-tools.example", "emails"),
        ("j.smith@acm", "emails"),
        ("acme-tools.example", "emails"),
        ("acme-to", "emails"),
        ("tools", "emails"),
        ("+49 (0)30 1234-5678", "phones"),
        ("0049 30 12345678", "phones"),
        ("030/12345678", "phones"),
        ("４９３０１２３４５", "phones"),
        ("30 1234", "phones"),
        ("k4711B", "external_ids"),
        ("K-4711", "external_ids"),
        ("lane bristol", "addresses"),
        ("smith bristol", "display_name"),
        ("bristl", "addresses"),
    ],
)
async def test_a_person_is_found_however_one_remembers_them(
    customer: ServiceUnderTest, query: str, field: str
) -> None:
    """In any order, spelling and way of writing; the answer says by which field."""
    ada = await customer.person("customer.*", "customer.records.search")
    own = await customer.person(("customer.*", "OWN"))
    elsewhere = {f"erp{uuid7().hex}": "K-4711/b"}
    smith = await contact(customer, own, **SMITH, external_ids=elsewhere)
    await contact(customer, own, given_name="Wilma", family_name="Other")
    (result,) = (await search(customer, own, query)).results
    assert (result.record, result.kind, result.display_name) == (smith, "contacts", "John Smith")
    assert field in [match.field for match in result.matches]
    assert smith in await found(customer, ada, query, page_size=200)


@pytest.mark.parametrize(
    ("query", "field"),
    [
        ("Muller & Sohne", "display_name"),
        ("mueller soehne", "display_name"),
        ("MÜLLER", "display_name"),
        ("sohne mull", "display_name"),
        ("Müller Werkzeugbau GmbH", "legal_name"),
        ("DE 123 456", "tax_id"),
        ("mueller-werkzeug.example", "website"),
        ("werkzeug.exa", "domains"),
        ("sales@muller.example", "emails"),
    ],
)
async def test_a_firm_is_found_by_its_names_numbers_and_domains(
    customer: ServiceUnderTest, query: str, field: str
) -> None:
    own = await customer.person(("customer.*", "OWN"), ("customer.accounts.read_sensitive", "OWN"))
    firm = await account(
        customer, own,
        display_name="Müller & Söhne", legal_name="Müller Werkzeugbau GmbH", tax_id="DE123456789",
        website="https://www.mueller-werkzeug.example/about", domains=["werkzeug.example"],
        emails=[{"address": "sales@muller.example"}],
    )  # fmt: skip
    (result,) = (await search(customer, own, query)).results
    assert (result.record, result.kind) == (firm, "accounts")
    assert field in [match.field for match in result.matches]


async def test_an_account_is_found_by_its_number_with_or_without_what_stands_before_it(
    customer: ServiceUnderTest,
) -> None:
    own = await customer.person(("customer.*", "OWN"))
    firm = await account(customer, own, display_name="Numbered")
    listed = await search(customer, own, "numbered")
    assert [r.record for r in listed.results] == [firm]
    row = await customer.database.fetch_one(
        compile_statement(sa.text("SELECT customer_number FROM accounts WHERE id = :id")),
        {"id": firm.partition("/")[2]},
    )
    assert row is not None
    number = row[0]
    for query in (number, number.lower(), number.partition("-")[2], number.replace("-", " ")):
        (result,) = (await search(customer, own, query)).results
        assert (result.record, result.matches[0].field) == (firm, "customer_number")
        assert result.score >= 0.9


@pytest.mark.parametrize(
    ("names", "queries"),
    [
        (
            {"family_name": "张", "given_name": "三丰"},
            [
                "张三丰",
                "张三",
                "三丰",
                "丰",
                "zhang sanfeng",
                "sanfeng zhang",
                "zhangsanf",
                "zsf",
                "张三峰",
            ],
        ),
        ({"display_name": "单雄信"}, ["shan xiong xin", "shanxiong", "sxx", "雄信"]),
        ({"display_name": "欧阳修"}, ["ouyang xiu", "oyx", "欧阳"]),
        ({"given_name": "Анна", "family_name": "Ёлкина"}, ["елкина", "Анна Ё", "елкинa", "ЁЛКИНА"]),
        (
            {"given_name": "Νίκος", "family_name": "Παπαδόπουλος"},
            ["νικοσ", "παπαδοπουλος", "Παπαδ"],
        ),
        ({"given_name": "محمد", "family_name": "العلي"}, ["محمد", "العلي محمد", "محم\u200fد"]),
        ({"given_name": "さくら", "family_name": "高橋"}, ["高橋さくら", "さくら", "高橋", "さく"]),
        ({"given_name": "철수", "family_name": "김"}, ["김철수", "철수", "김"]),
        ({"given_name": "Łukasz", "family_name": "Żółć"}, ["lukasz zolc", "ŁUKASZ", "lukazs"]),
        ({"given_name": "Seán", "family_name": "O’Brien"}, ["sean o'brien", "obrien", "OBRIAN"]),
        (
            {"given_name": "Sören", "family_name": "Größe"},
            ["soeren groesse", "soren grosse", "größe"],
        ),
        ({"display_name": "Ｆｕｌｌ Ｗｉｄｔｈ"}, ["full width", "ｆｕｌｌ"]),
    ],
)
async def test_names_of_any_script_are_found(
    customer: ServiceUnderTest, names: dict[str, str], queries: list[str]
) -> None:
    """By characters, by pinyin and its initials, without accents, from the beginning, with a slip."""
    own = await customer.person(("customer.*", "OWN"))
    person = await contact(customer, own, **names)
    await contact(customer, own, given_name="Wilma", family_name="Other")
    for query in queries:
        assert await found(customer, own, query) == [person], query


async def test_exact_comes_before_beginnings_and_those_before_what_is_spelt_alike(
    customer: ServiceUnderTest,
) -> None:
    own = await customer.person(("customer.*", "OWN"))
    alike = await contact(customer, own, display_name="Lorne Voss")
    begins = await contact(customer, own, display_name="Lorena Voss")
    word = await contact(customer, own, display_name="Voss Loren Maria")
    exact = await contact(customer, own, display_name="Loren")
    answer = await search(customer, own, "loren")
    assert [r.record for r in answer.results] == [exact, begins, word, alike]
    scores = [r.score for r in answer.results]
    assert scores == sorted(scores, reverse=True)
    assert all(0 < score <= 1 for score in scores)
    first = answer.results[1].matches[0]
    assert (first.value, [(h.start, h.length) for h in first.highlights]) == (
        "Lorena Voss",
        [(0, 5)],
    )


async def test_a_word_that_is_some_code_too_finds_names_with_it(customer: ServiceUnderTest) -> None:
    """An exact number says whom one means; a word does not."""
    own = await customer.person(("customer.*", "OWN"))
    coded = await account(customer, own, display_name="Somebody", external_id=f"Tulip{uuid7().hex}")
    named = await account(customer, own, display_name="Garden Tulip")
    other = await account(
        customer, own, display_name="Florist", external_ids={uuid7().hex: "tulip"}
    )
    assert await found(customer, own, "tulip") == [other, coded, named]


async def test_the_index_follows_every_change(customer: ServiceUnderTest) -> None:
    """INVARIANT: what a record was called before does not find it, nor anything once it is deleted."""
    own = await customer.person(("customer.*", "OWN"))
    stub: Any = contact_pb2_grpc.ContactServiceStub(customer.channel)
    name = await contact(
        customer, own, display_name="Greta Before", emails=[{"address": "g@b.example"}]
    )
    change = contact_pb2.Contact(name=name, display_name="Greta After", emails=[])
    request = contact_pb2.UpdateContactRequest(
        contact=change, update_mask={"paths": ["display_name", "emails"]}
    )
    await stub.UpdateContact(request, metadata=own.metadata)
    for query, there in {"greta": [name], "after": [name], "before": [], "g@b.example": []}.items():
        assert await found(customer, own, query) == there, query
    await stub.DeleteContact(contact_pb2.DeleteContactRequest(name=name), metadata=own.metadata)
    assert await found(customer, own, "greta") == []
    restore = contact_pb2.UndeleteContactRequest(name=name)
    await stub.UndeleteContact(restore, metadata=own.metadata)
    assert await found(customer, own, "greta") == [name]


async def test_what_was_merged_is_found_as_its_survivor_and_by_itself_after_it_was_taken_back(
    customer: ServiceUnderTest,
) -> None:
    """INVARIANT: a record that was merged takes no place in results, from the moment of the merge on."""
    own = await customer.person(("customer.*", "OWN"))
    stub: Any = account_pb2_grpc.AccountServiceStub(customer.channel)
    mark = {"emails": [{"address": f"{uuid7().hex}@merged.example"}]}
    kept = await account(customer, own, display_name="Mergewell One")
    gone = await account(customer, own, display_name="Mergewell", **mark)
    request = account_pb2.MergeAccountsRequest(name=kept, losers=[gone])
    await stub.MergeAccounts(request, metadata=own.metadata)
    assert await found(customer, own, "mergewell", page_size=1) == [kept]
    back = account_pb2.UnmergeAccountsRequest(name=kept)
    await stub.UnmergeAccounts(back, metadata=own.metadata)
    assert await found(customer, own, "mergewell") == [gone, kept]


async def test_what_an_import_brings_is_found(customer: ServiceUnderTest) -> None:
    own = await customer.person(("customer.*", "OWN"))
    await run_import(customer, own, b"display_name,external_id\nImported Quince,Q-77\nOther,Q-78\n")
    (result,) = (await search(customer, own, "quince imp")).results
    assert result.display_name == "Imported Quince"
    assert await found(customer, own, "Q77") == [result.record]


async def test_pages_together_hold_every_record_once(customer: ServiceUnderTest) -> None:
    """INVARIANT: a token continues after the last record; another query does not take it."""
    own = await customer.person(("customer.*", "OWN"))
    names = {await contact(customer, own, display_name=f"Paging {n % 3}") for n in range(7)}
    seen: list[str] = []
    token = ""
    while True:
        answer = await search(customer, own, "paging", page_size=3, page_token=token)
        assert len(answer.results) <= 3
        seen += [result.record for result in answer.results]
        if not (token := answer.next_page_token):
            break
        with pytest.raises(grpc.aio.AioRpcError) as refused:
            await search(customer, own, "other", page_token=token)
        assert details_of(refused.value)["reason"] == "INVALID_PAGE_TOKEN"
    assert (len(seen), set(seen)) == (7, names)


@pytest.mark.parametrize("query", ["", "   ", "\u200b\u3000", "a\0b", "x" * 257, "a\u202eb"])
async def test_what_nobody_types_is_refused_with_the_field_named(
    customer: ServiceUnderTest, query: str
) -> None:
    own = await customer.person(("customer.*", "OWN"))
    with pytest.raises(grpc.aio.AioRpcError) as refused:
        await search(customer, own, query)
    assert refused.value.code() == grpc.StatusCode.INVALID_ARGUMENT
    assert details_of(refused.value)["fields"] == ["query"]


@pytest.mark.parametrize(
    "query",
    [
        "%", "_", "%%%%", "\\", "'; DROP TABLE accounts; --", "(a+)+$" * 40, "*" * 256, "a " * 128,
        "x" * 256, "\u200f\u200e?", "@", ".", "@@..", "+", "00", "0", "(0)", "()", "\U0001f600", "ǅ", "ﬁ",
        "½ ㈱", "e\u0301" * 100, "\U0010ffff", "{}[]<>", "a\tb\nc", "\ufdfa" * 200, "١" * 200, "王" * 256,
        "ü" * 256, "1" * 256,
    ],
)  # fmt: skip
async def test_odd_input_gets_an_answer(customer: ServiceUnderTest, query: str) -> None:
    """INVARIANT: no text that may be sent makes a fault: wildcards and operators are characters as others."""
    for person in (
        await customer.person("customer.*"),
        await customer.person(("customer.*", "OWN")),
    ):
        await search(customer, person, query)


async def test_records_of_before_the_index_become_known(customer: ServiceUnderTest) -> None:
    """Filling the index can be repeated; it brings what is missing, and not what is deleted."""
    own = await customer.person(("customer.*", "OWN"))
    name = await contact(customer, own, display_name="Old Timer")
    firm = await account(customer, own, display_name="Old Firm")
    for table in ("search_entries", "search_keys"):
        await customer.database.execute(compile_statement(sa.text(f"DELETE FROM {table}")))
    assert await found(customer, own, "old") == []
    for collection in (ACCOUNTS, CONTACTS):
        assert await fill(customer.running.home, collection) > 0
        assert await fill(customer.running.home, collection) == 0
    assert set(await found(customer, own, "old")) == {name, firm}


async def test_records_that_are_gone_without_the_index_knowing_are_taken_out(
    customer: ServiceUnderTest,
) -> None:
    """As older code leaves them while replicas are replaced; what is there stays."""
    own = await customer.person(("customer.*", "OWN"))
    gone = await contact(customer, own, display_name="Ghostly Gone")
    stays = await contact(customer, own, display_name="Ghostly Stays")
    delete = compile_statement(sa.text("UPDATE contacts SET delete_time = now() WHERE id = :id"))
    await customer.database.execute(delete, {"id": gone.partition("/")[2]})
    assert await drop_gone(customer.running.home, CONTACTS) == 1
    assert await drop_gone(customer.running.home, CONTACTS) == 0
    assert await found(customer, own, "ghostly") == [stays]
    keys = compile_statement(sa.text("SELECT count(*) FROM search_keys WHERE record = :id"))
    assert await customer.database.fetch_one(keys, {"id": gone.partition("/")[2]}) == (0,)


async def test_words_that_no_record_has_any_more_are_forgotten(customer: ServiceUnderTest) -> None:
    """INVARIANT: nothing of a name remains when the last record with it is gone; what others have stays."""
    own = await customer.person(("customer.*", "OWN"))
    stub: Any = contact_pb2_grpc.ContactServiceStub(customer.channel)
    unique = "Qu" + uuid7().hex.translate(str.maketrans("0123456789", "ghijklmnop"))[-20:]
    gone = await contact(customer, own, display_name=f"{unique} Sharedname")
    stays = await contact(customer, own, display_name="Stays Sharedname")
    await stub.DeleteContact(contact_pb2.DeleteContactRequest(name=gone), metadata=own.metadata)

    async def forgotten() -> bool:
        await forget_lost_words(customer.running.home)
        words = compile_statement(sa.text("SELECT word FROM search_words WHERE word = ANY(:words)"))
        rows = await customer.database.fetch_all(words, {"words": [unique.lower(), "sharedname"]})
        return {row[0] for row in rows} == {"sharedname"}

    await eventually(forgotten)
    assert await found(customer, own, "sharednmae") == [stays]


async def test_searches_give_their_connections_back(customer: ServiceUnderTest) -> None:
    """INVARIANT: however many searches follow one another, no connection is lost or closed by them."""
    own = await customer.person(("customer.*", "OWN"))
    pool = customer.database._pool
    before = pool.get_stats().get("connections_num", 0)
    for number in range(40):
        await search(customer, own, f"nobody {number}")
    stats = pool.get_stats()
    assert stats.get("connections_num", 0) - before <= stats["pool_max"]
    assert not stats.get("returns_bad", 0)
