"""Text that a spreadsheet would take for a formula: guarded in exports, bare again after an import."""

import re

_FORMULA = re.compile(r"'*[=+\-@\t\r]")
_GUARDED = re.compile(r"'+[=+\-@\t\r]")


def guarded(text: str) -> str:
    """The text as it may stand in a spreadsheet's cell: with an apostrophe where it needs one.

    Text that looks guarded already gets one more, so that `bare` gives back exactly this text.
    """
    return f"'{text}" if _FORMULA.match(text) else text


def bare(text: str) -> str:
    """The text that was guarded."""
    return text[1:] if _GUARDED.match(text) else text
