"""The grammar of filters (AIP-160): text to a small tree of terms, within limits."""

import re
from collections.abc import Iterator
from dataclasses import dataclass, replace
from functools import lru_cache
from typing import ClassVar, TypeAlias

from lark import Lark, Token, Transformer
from lark.exceptions import UnexpectedInput

from crmkit.errors import InvalidArgument

MAX_CHARS = 4000
MAX_TERMS = 20
MAX_DEPTH = 20

# The official grammar is not LALR(1): here a dotted path is one token, and what may stand right
# of a comparison is told from a path by the parser's state (the contextual lexer).
_GRAMMAR = r"""
?start: expression
?expression: factor (_AND? factor)*    -> all
?factor: term (_OR term)*              -> any
?term: simple | _NOT simple            -> negation
?simple: restriction | "(" expression ")" -> parenthesis
restriction: PATH [COMPARATOR (VALUE | STRING)]

_AND.2: /AND\b/
_OR.2: /OR\b/
_NOT.2: /NOT\b|-/
PATH: /(?!(?:AND|OR|NOT)\b)[^\W\d][\w-]*(?:\.(?:[\w-]+|"(?:\\.|[^"\\])*"))*/
COMPARATOR: "<=" | "<" | ">=" | ">" | "!=" | "=" | ":"
STRING: /"(?:\\.|[^"\\])*"|'(?:\\.|[^'\\])*'/
VALUE: /\d{4}-\d\d-\d\dT[\d:.]+(?:Z|[+-]\d\d:\d\d)|(?!(?:AND|OR|NOT)(?:[\s()]|$))[^\s()<>=!:,"']+/
%ignore /\s+/
"""
_SEGMENT = re.compile(r'"((?:\\.|[^"\\])*)"|([^.]+)')
_UNESCAPED_STAR = re.compile(r"(?<!\\)(?:\\\\)*\*")


@dataclass(frozen=True, slots=True)
class Term:
    """One comparison.

    Attributes:
        path: the field's name, split at the dots.
        operator: = != < <= > >= or :
        text: the value, unescaped and without the star of a prefix.
        prefix: whether the value ended in a star.
        quoted: whether the value stood in quotes.
        position: where the term begins in the filter, from 1.
        depth: parentheses around it.
    """

    path: tuple[str, ...]
    operator: str
    text: str
    prefix: bool
    quoted: bool
    position: int
    depth: int = 0

    @property
    def presence(self) -> bool:
        """Whether this is `field:*`."""
        return self.operator == ":" and self.prefix and not self.text and not self.quoted


@dataclass(frozen=True, slots=True)
class Group:
    """Terms joined by ALL or ANY, or a single one negated by NOT."""

    ALL: ClassVar[str] = "ALL"
    ANY: ClassVar[str] = "ANY"
    NOT: ClassVar[str] = "NOT"

    operator: str
    items: tuple["Node", ...]
    depth: int


Node: TypeAlias = Term | Group


@lru_cache(maxsize=1024)
def parse_filter(text: str) -> Node | None:
    """Returns the tree of a filter, None for an empty one.

    Raises:
        InvalidArgument: `INVALID_FILTER` on `filter`.
    """
    if len(text) > MAX_CHARS:
        msg = f"at most {MAX_CHARS} characters"
        raise invalid_filter(msg)
    if any(char == "\0" or "\ud800" <= char <= "\udfff" for char in text):
        msg = "NUL and unpaired surrogate characters are not allowed"
        raise invalid_filter(msg)
    if not text.strip():
        return None
    try:
        node: Node = _PARSER.parse(text)  # type: ignore[assignment]  # _Builder returns nodes
    except UnexpectedInput as error:
        position = (error.pos_in_stream or 0) + 1
        token = getattr(error, "token", None)
        if token is not None and token.type == "$END":
            msg = "it ends too early"
            raise invalid_filter(msg, len(text)) from None
        msg = "this is not understood"
        raise invalid_filter(msg, position) from None
    if sum(1 for _ in _terms(node)) > MAX_TERMS:
        msg = f"at most {MAX_TERMS} terms"
        raise invalid_filter(msg)
    return node


def invalid_filter(problem: str, position: int | None = None) -> InvalidArgument:
    """Returns the failure of a filter; `position` counts characters from 1."""
    where = f" (at column {position})" if position else ""
    return InvalidArgument(
        f"filter: {problem}{where}",
        reason="INVALID_FILTER",
        field="filter",
        metadata={"column": str(position)} if position else None,
    )


def _terms(node: Node) -> Iterator[Term]:
    if isinstance(node, Term):
        yield node
    else:
        for item in node.items:
            yield from _terms(item)


class _Builder(Transformer[Token, Node]):
    """Builds nodes while parsing, so that no deep tree ever exists."""

    def all(self, items: list[Node]) -> Node:
        return _group(Group.ALL, items)

    def any(self, items: list[Node]) -> Node:
        return _group(Group.ANY, items)

    def negation(self, items: list[Node]) -> Node:
        return Group(Group.NOT, tuple(items), items[0].depth)

    def parenthesis(self, items: list[Node]) -> Node:
        (node,) = items
        if node.depth >= MAX_DEPTH:
            msg = f"parentheses nest deeper than {MAX_DEPTH}"
            raise invalid_filter(msg)
        return replace(node, depth=node.depth + 1)

    def restriction(self, tokens: list[Token | None]) -> Node:
        path, comparator, value = (*tokens, None, None)[:3]
        position = (path.start_pos or 0) + 1 if path else 1
        if path is None or comparator is None or value is None:
            msg = f"compare {path} with a value; bare words and functions are not supported"
            raise invalid_filter(
                msg,
                position,
            )
        quoted = value.type == "STRING"
        text, prefix = _value(value[1:-1] if quoted else value, position)
        segments = tuple(
            _unescaped(match[1]) if match[2] is None else match[2]
            for match in _SEGMENT.finditer(path)
        )
        return Term(segments, str(comparator), text, prefix, quoted, position)


def _group(operator: str, items: list[Node]) -> Node:
    if len(items) == 1:
        return items[0]
    return Group(operator, tuple(items), max(item.depth for item in items))


def _value(raw: str, position: int) -> tuple[str, bool]:
    """Returns the value without its escapes, and whether it is a prefix."""
    star = _UNESCAPED_STAR.search(raw)
    if star and star.end() < len(raw):
        msg = "only the end of a value may be *; write \\* for a star"
        raise invalid_filter(msg, position)
    return _unescaped(raw[:-1] if star else raw), star is not None


def _unescaped(raw: str) -> str:
    return re.sub(r"\\(.)", r"\1", raw)


_PARSER = Lark(_GRAMMAR, parser="lalr", transformer=_Builder(), maybe_placeholders=True)
