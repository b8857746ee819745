"""Merge tags: `{{record.stage|no stage}}` in a text becomes the record's stage, or the default.

There is no logic in them and no template engine behind them: a tag is a path, found or not, and what it
stands for is not looked at again. Source: guarantees.md rows 9 to 11.
"""

import re
from collections.abc import Callable, Mapping
from datetime import datetime
from typing import Any

from crmkit.errors import InvalidArgument

_TAG = re.compile(r"\{\{\s*([A-Za-z_]\w*(?:\.[A-Za-z_]\w*)*)\s*(?:\|([^{}|]*))?\}\}", re.ASCII)
_OPENING = re.compile(r"\{\{|\{%|\{#")
_MOST_TAGS = 50


def check_merge_tags(text: str, field: str, known: Callable[[str], bool]) -> None:
    """Refuses a text with anything in double braces that is no known tag.

    Args:
        text: What somebody wrote.
        field: Where it stands, for the error.
        known: Whether there is a value of this path.

    Raises:
        InvalidArgument: `UNKNOWN_MERGE_TAG`.
    """
    tags = _TAG.findall(text)
    problem = ""
    if _OPENING.search(_TAG.sub("", text)):
        problem = "a merge tag looks like {{record.owner}} or {{record.owner|a default}}"
    elif unknown := [path for path, _ in tags if not known(path)]:
        problem = f"unknown merge tag {unknown[0]}"
    elif len(tags) > _MOST_TAGS:
        problem = f"at most {_MOST_TAGS} merge tags"
    if problem:
        msg = f"{field}: {problem}"
        raise InvalidArgument(msg, reason="UNKNOWN_MERGE_TAG", field=field)


def has_merge_tags(text: str) -> bool:
    """True if there is a tag in the text."""
    return bool(_TAG.search(text))


def render(text: str, values: Mapping[str, Any]) -> str:
    """The text with values in place of its tags, in one pass; an absent one is the tag's default."""
    return _TAG.sub(lambda tag: _shown(_find(values, tag[1])) or (tag[2] or "").strip(), text)


def render_all(value: Any, values: Mapping[str, Any]) -> Any:
    """JSON with every text in it rendered; keys stay as they are."""
    if isinstance(value, str):
        return render(value, values)
    if isinstance(value, dict):
        return {key: render_all(item, values) for key, item in value.items()}
    if isinstance(value, list):
        return [render_all(item, values) for item in value]
    return value


def texts_of(value: Any, path: str) -> list[tuple[str, str]]:
    """Every text in JSON with its path."""
    if isinstance(value, str):
        return [(path, value)]
    if isinstance(value, dict):
        return [found for key, item in value.items() for found in texts_of(item, f"{path}.{key}")]
    if isinstance(value, list):
        return [f for i, item in enumerate(value) for f in texts_of(item, f"{path}[{i}]")]
    return []


def _find(values: Mapping[str, Any], path: str) -> Any:
    found: Any = values
    for part in path.split("."):
        if not isinstance(found, Mapping):
            return None
        found = found.get(part)
    return found


def _shown(value: Any) -> str:
    if isinstance(value, Mapping) and "currency_code" in value:
        amount = f"{value['amount']:.4f}".rstrip("0").rstrip(".")
        return f"{amount} {value['currency_code']}"
    if value is None or isinstance(value, Mapping):
        return ""
    if isinstance(value, bool):
        return str(value).lower()
    if isinstance(value, datetime):
        return value.isoformat()
    if isinstance(value, list):
        return ", ".join(filter(None, map(_shown, value)))
    return str(value)
