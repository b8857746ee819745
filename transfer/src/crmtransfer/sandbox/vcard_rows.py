"""Reads vCards (2.1, 3.0, 4.0) from standard input and says them as rows, each a person.

Argument: the encoding, empty for UTF-8 or what a byte order mark says. Holds one card at a time; what no
field is for (photos, sounds, keys) is left out before anything is made of it.
"""

import codecs
import io
import json
import re
import sys
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any

from crmtransfer.regions import region_code
from crmtransfer.sandbox.answers import answering, say, say_row
from crmtransfer.sandbox.limits import limit

_CPU_SECONDS = 300
_MEMORY_BYTES = 512 * 1024 * 1024
_MAX_CARD_CHARS = 1_000_000
_COLUMNS = (
    "external_id", "display_name", "given_name", "family_name", "job_title", "organization",
    "emails", "phones", "addresses", "birthday",
)  # fmt: skip
_KEPT = "VERSION|UID|FN|N|ORG|TITLE|ROLE|EMAIL|TEL|ADR|BDAY"
_PROPERTY = re.compile(rf"(?:[\w-]+\.)?(?:{_KEPT})[;:]", re.IGNORECASE)
_BEGIN = re.compile(r"\s*BEGIN\s*:\s*VCARD\s*", re.IGNORECASE)
_END = re.compile(r"\s*END\s*:\s*VCARD\s*", re.IGNORECASE)
_QUOTED_PRINTABLE = re.compile(
    r"[^:]*ENCODING=QUOTED-PRINTABLE|[^:]*;QUOTED-PRINTABLE", re.IGNORECASE
)
_COMPACT_DATE = re.compile(r"(\d{4})-?(\d{2})-?(\d{2})(?:T.*)?")
_BOMS = ((codecs.BOM_UTF8, "utf-8-sig"), (codecs.BOM_UTF16_LE, "utf-16"),
         (codecs.BOM_UTF16_BE, "utf-16"))  # fmt: skip
_LABELS = {"cell": "mobile", "iphone": "mobile"}
# Say how to reach somebody best, or what everything is; not what it is for.
_NO_LABELS = frozenset({"internet", "pref", "voice", "x400", "dom", "intl", "postal", "parcel"})
_MAX_LABEL_CHARS = 50


def main() -> None:
    """The program."""
    limit(cpu_seconds=_CPU_SECONDS, memory_bytes=_MEMORY_BYTES)
    with answering():
        source = io.BufferedReader(sys.stdin.buffer, 1 << 16)  # type: ignore[type-var]
        said = next((name for bom, name in _BOMS if source.peek(4).startswith(bom)), sys.argv[1])
        text = io.TextIOWrapper(source, said or "utf-8", errors="surrogateescape")
        say(_COLUMNS)
        for number, lines, problem in cards(text):
            try:
                say_row(number, [_whole(lines)] if problem else row_of(lines), problem)
            except Exception as error:  # noqa: BLE001 - the library raises whatever it meets
                msg = f"The card cannot be read: {str(error)[:200]}"
                say_row(number, [_whole(lines)], msg)


def _whole(lines: list[str]) -> str:
    return "".join(lines).encode(errors="replace").decode()


def cards(text: Iterator[str]) -> Iterator[tuple[int, list[str], str]]:
    """Line, lines that matter, and perhaps a problem, of each card."""
    card, inner = _Card(0), 0
    for number, line in enumerate(text, start=1):
        if _BEGIN.fullmatch(line):
            inner += bool(card.number)  # an agent's card within another's
            card = card if card.number else _Card(number)
        elif _END.fullmatch(line) and inner:
            inner -= 1
        elif _END.fullmatch(line) and card.number:
            yield card.number, card.lines, card.problem
            card = _Card(0)
        elif card.number and not inner:
            card.add(line)
    if card.number:
        yield card.number, card.lines, "The card does not end."


@dataclass
class _Card:
    number: int
    lines: list[str] = field(default_factory=list)
    problem: str = ""
    keep: bool = False
    chars: int = 0

    def add(self, line: str) -> None:
        """Keeps a line, if it matters."""
        goes_on = _goes_on(line, self.lines, keep=self.keep)
        self.keep = goes_on or _PROPERTY.match(line) is not None
        if not self.keep or self.chars > _MAX_CARD_CHARS:
            return
        self.chars += len(line)
        self.lines.append(line)
        if self.chars > _MAX_CARD_CHARS:
            self.problem = f"The card is longer than {_MAX_CARD_CHARS:,} characters."
        elif not line.isascii() and _has_escapes(line):
            self.problem = "The card is not UTF-8: name its encoding."


def _goes_on(line: str, lines: list[str], *, keep: bool) -> bool:
    """True if a line belongs to the property before, which is kept."""
    if not keep or not lines:
        return False
    if line.startswith((" ", "\t")):
        return True
    start = next((n for n in range(len(lines) - 1, -1, -1) if _PROPERTY.match(lines[n])), 0)
    quoted = _QUOTED_PRINTABLE.match(lines[start]) is not None
    return quoted and lines[-1].rstrip("\r\n").endswith("=")


def _has_escapes(line: str) -> bool:
    return any("\udc80" <= char <= "\udcff" for char in line)


def row_of(lines: list[str]) -> list[str]:
    """The cells of a card; raises whatever the library raises."""
    import vobject  # noqa: PLC0415 - limited by then

    whole = "BEGIN:VCARD\r\n" + "".join(lines) + "\r\nEND:VCARD\r\n"
    card = next(vobject.readComponents(whole, allowQP=True, ignoreUnreadable=True))
    found = {name: card.contents.get(name, []) for name in _KEPT.lower().split("|")}
    name = found["n"][0].value if found["n"] else None
    given, family = (_text(getattr(name, part, "")) for part in ("given", "family"))
    organization = _first(found["org"])
    emails = [_labelled(one, address=_text(one.value)) for one in found["email"]]
    phones = [_labelled(one, number=_number(_text(one.value))) for one in found["tel"]]
    addresses = [_address(one) for one in found["adr"]]
    return [
        _text(_first(found["uid"])),
        _text(_first(found["fn"])) or (organization if not (given or family) else ""),
        given,
        family,
        _text(_first(found["title"])) or _text(_first(found["role"])),
        organization,
        _list(emails, "address"),
        _list(phones, "number"),
        _json([one for one in addresses if one.keys() - {"label"}]),
        _COMPACT_DATE.sub(r"\1-\2-\3", _text(_first(found["bday"]))),
    ]


def _first(values: list[Any]) -> Any:
    """What the first of several properties says; of an organisation, not its departments."""
    value = values[0].value if values else ""
    if isinstance(value, list):
        value = value[0] if value else ""
    return ", ".join(map(str.strip, value)) if isinstance(value, list) else value


def _text(value: Any) -> str:
    """Text with no blanks around it, on one line; of several values, all of them."""
    if isinstance(value, list):
        value = " ".join(str(one) for one in value)
    return " ".join(str(value).split())


def _labelled(line: Any, **values: Any) -> dict[str, Any]:
    """What a property says, and what that is for."""
    words = [word.lower() for text in line.params.get("TYPE", []) for word in text.split(",")]
    words += [word.lower() for word in getattr(line, "singletonparams", [])]
    known = [_LABELS.get(word, word) for word in words if word not in _NO_LABELS]
    label = " ".join(dict.fromkeys(known))[:_MAX_LABEL_CHARS]
    return {**values, "label": label} if label else values


def _number(text: str) -> str:
    """A number without the form of an address on the web."""
    return text.removeprefix("tel:").replace(";ext=", " ext. ")


def _list(items: list[dict[str, Any]], of: str) -> str:
    return _json([item for item in items if item[of]])


def _json(items: list[dict[str, Any]]) -> str:
    return json.dumps(items, ensure_ascii=False) if items else ""


def _address(line: Any) -> dict[str, Any]:
    """An address; a country that is not known by its name stands as its last line."""
    value, country = line.value, _text(line.value.country)
    code = region_code(country) if country else None
    street = value.street if isinstance(value.street, list) else str(value.street).splitlines()
    parts = [value.box, value.extended, *street, "" if code else country]
    made = {
        "address_lines": [text for part in parts if (text := _text(part))],
        "locality": _text(value.city),
        "administrative_area": _text(value.region),
        "postal_code": _text(value.code),
        "region_code": code or "",
    }
    return _labelled(line, **{name: found for name, found in made.items() if found})


if __name__ == "__main__":
    main()
