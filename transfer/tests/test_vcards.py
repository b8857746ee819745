"""Reading vCards: what phones, mail programs and address books of several decades write."""

import json
from collections.abc import AsyncIterator
from contextlib import aclosing
from typing import Any

from crmtransfer.sandboxed import answers_of


async def read(content: bytes, encoding: str = "") -> list[dict[str, Any]]:
    """The cards as rows by column; one that cannot be read has its problem alone."""

    async def pieces() -> AsyncIterator[bytes]:
        for start in range(0, len(content), 1000):
            yield content[start : start + 1000]

    found = []
    async with aclosing(answers_of("vcard_rows", [encoding], pieces())) as answers:
        header = await anext(answers)
        async for number, cells, problem in answers:
            row = {"problem": problem} if problem else dict(zip(header, cells, strict=True))
            found.append({"line": number, **{name: text for name, text in row.items() if text}})
    return found


def card(*lines: str) -> str:
    return "\r\n".join(["BEGIN:VCARD", *lines, "END:VCARD", ""])


async def test_a_card_of_today_becomes_a_person() -> None:
    """INVARIANT: names, numbers with what they are for, addresses, dates; text unescaped and unfolded."""
    content = card(
        "VERSION:4.0",
        "UID:urn:uuid:4fbe8971-0bc3-424c-9c26-36c3e1eff6b1",
        "FN:Dr. Zoë Müller\\, née Özil",
        "N:Müller;Zoë;Ayşe;Dr.;",
        "ORG;TYPE=work:Ping & Pong\\; Söhne;Sales",
        "TITLE:Head of",
        "  Sales",
        'TEL;VALUE=uri;TYPE="work,voice";PREF=1:tel:+1-418-656-9254;ext=102',
        "item1.TEL;type=CELL;type=pref:+49 170 1234567",
        "EMAIL;TYPE=home:zoe@x.example",
        "ADR;TYPE=work:;Suite 2;2875 Laurier\\, east;Quebec;QC;G1V 2M2;Canada",
        "ADR;TYPE=home:;;Weg 1;Köln;;50667;de",
        "BDAY:19800229",
        "PHOTO:data:image/jpeg;base64,/9j/4AAQSkZJRg",
        "X-UNKNOWN:x",
    )
    (person,) = await read(content.encode())
    lists = {name: json.loads(person.pop(name)) for name in ("emails", "phones", "addresses")}
    assert person == {
        "line": 1,
        "external_id": "urn:uuid:4fbe8971-0bc3-424c-9c26-36c3e1eff6b1",
        "display_name": "Dr. Zoë Müller, née Özil",
        "given_name": "Zoë",
        "family_name": "Müller",
        "organization": "Ping & Pong; Söhne",
        "job_title": "Head of Sales",
        "birthday": "1980-02-29",
    }
    assert lists["emails"] == [{"address": "zoe@x.example", "label": "home"}]
    assert lists["phones"] == [
        {"number": "+1-418-656-9254 ext. 102", "label": "work"},
        {"number": "+49 170 1234567", "label": "mobile"},
    ]
    assert lists["addresses"][0]["address_lines"] == ["Suite 2", "2875 Laurier, east"]
    assert lists["addresses"][0]["region_code"] == "CA"
    assert lists["addresses"][1] == {
        "address_lines": ["Weg 1"], "locality": "Köln", "postal_code": "50667",
        "region_code": "DE", "label": "home",
    }  # fmt: skip


async def test_an_old_card_becomes_a_person() -> None:
    """INVARIANT: quoted-printable, bare parameters, and a photo without an end, as phones wrote them."""
    content = card(
        "VERSION:2.1",
        "N;CHARSET=UTF-8;ENCODING=QUOTED-PRINTABLE:=C3=91u=C3=B1ez;Jos=C3=A9;;;",
        "TEL;CELL;PREF:555 66 77",
        "TEL;WORK;FAX:555 66 78",
        "EMAIL;PREF;INTERNET:jose@x.example",
        "ORG;CHARSET=UTF-8;ENCODING=QUOTED-PRINTABLE:Compa=C3=B1=",
        "=C3=ADa",
        "PHOTO;ENCODING=BASE64;JPEG:/9j/4AAQSkZJRgAB",
        " AQAAAQABAAD//Z",
        "",
        "ROLE:Boss",
    )
    (person,) = await read(content.encode())
    assert (person["given_name"], person["family_name"]) == ("José", "Ñuñez")
    assert person["organization"] == "Compañía"
    assert person["job_title"] == "Boss"
    assert json.loads(person["phones"]) == [
        {"number": "555 66 77", "label": "mobile"},
        {"number": "555 66 78", "label": "work fax"},
    ]


async def test_one_bad_card_costs_one_card() -> None:
    """INVARIANT: each card is a row or a row with its problem, numbered by its first line."""
    good = card("VERSION:3.0", "FN:Ada", "N:;Ada;;;")
    content = (
        good.encode()
        + card("VERSION:3.0", "FN:M\xfcller").encode("latin-1")
        + card("VERSION:2.1", "FN;CHARSET=UTF-8;ENCODING=QUOTED-PRINTABLE:=80").encode()
        + card("VERSION:3.0", "N:x", *["FN:" + "y" * 100_000] * 11).encode()
        + good.encode()
        + b"BEGIN:VCARD\r\nFN:Never ends\r\n"
    )
    found = await read(content)
    assert [(one["line"], one.get("display_name")) for one in found] == [
        (1, "Ada"), (6, None), (10, None), (14, None), (29, "Ada"), (34, None),
    ]  # fmt: skip
    problems = [one["problem"] for one in found if "problem" in one]
    assert "encoding" in problems[0]
    assert "cannot be read" in problems[1]
    assert "longer" in problems[2]
    assert "does not end" in problems[3]
    (second,) = [one for one in await read(content, "iso-8859-1") if one["line"] == 6]
    assert second["display_name"] == "Müller"


async def test_a_byte_order_mark_and_an_agent_are_no_trouble() -> None:
    """INVARIANT: UTF-16 is read; a card within a card is not another person, nor part of this one."""
    agent = card("VERSION:2.1", "FN:Agent", "TEL:1").rstrip().splitlines()
    (person,) = await read(card("VERSION:2.1", "FN:陈", "AGENT:", *agent, "TEL:2").encode("utf-16"))
    assert person["display_name"] == "陈"
    assert json.loads(person["phones"]) == [{"number": "2"}]
