"""Reading our documents: their fenced blocks, what they name in backticks, their tables."""

import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).parents[2]
_FENCE = re.compile(r"^```(?P<info>[^\n`]*)\n(?P<text>.*?)^```$", re.MULTILINE | re.DOTALL)
_CODE = re.compile(r"`([^`\n]+)`")
_LINK = re.compile(r"\]\(([^)#\s]+)[^)]*\)")


@dataclass(frozen=True)
class Block:
    """A fenced block; ```` ```sh name=rest ```` has the language `sh` and the name `rest`."""

    language: str
    attributes: dict[str, str]
    text: str


def documents() -> list[Path]:
    """Every document of ours."""
    readmes = [*ROOT.glob("services/*/README.md")]
    return sorted([*ROOT.glob("*.md"), *ROOT.glob("docs/**/*.md"), *readmes])


def blocks(path: Path) -> list[Block]:
    """The fenced blocks of a document, in order."""
    found = []
    for match in _FENCE.finditer(path.read_text()):
        language, *rest = match["info"].split() or [""]
        attributes = dict(item.partition("=")[::2] for item in rest)
        found.append(Block(language, attributes, match["text"]))
    return found


def block(path: str, name: str) -> str:
    """The text of the block with a name."""
    (found,) = [b.text for b in blocks(ROOT / path) if b.attributes.get("name") == name]
    return found


def prose(path: Path) -> str:
    """A document without its fenced blocks."""
    return _FENCE.sub("", path.read_text())


def code_words(path: Path) -> list[str]:
    """What stands in backticks outside of fenced blocks."""
    return _CODE.findall(prose(path))


def links(path: Path) -> list[str]:
    """Where links lead that are no web addresses."""
    return [link for link in _LINK.findall(prose(path)) if "://" not in link]


def table_rows(path: Path) -> Iterator[list[str]]:
    """The rows of a document's tables, as the text of their cells, without heads and rules."""
    for line in prose(path).splitlines():
        if line.startswith("|") and not line.startswith("|---"):
            yield [cell.strip() for cell in line.strip().strip("|").split(" | ")]
