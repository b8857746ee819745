"""Text that a spreadsheet would take for a formula: guarded in exports, bare again after an import."""

import re

# The full-width forms too: some spreadsheets read them like the plain ones.
_STARTS = "[=+\\-@\\t\\r\\uff1d\\uff0b\\uff0d\\uff20]"
_FORMULA = re.compile(f"'*{_STARTS}")
_GUARDED = re.compile(f"'+{_STARTS}")
_NUMBER = re.compile(r"[+-]?[\d.,]*\d%?", re.ASCII)


def guarded(text: str) -> str:
    """The text as it may stand in a spreadsheet's cell: with an apostrophe where it needs one.

    Text that looks guarded already gets one more, so that `bare` gives back exactly this text.
    """
    return f"'{text}" if _FORMULA.match(text) else text


def bare(text: str) -> str:
    """The text that was guarded."""
    return text[1:] if _GUARDED.match(text) else text


def guarded_cell(text: str) -> str:
    """The text of a cell whose field is not known: a number stays one."""
    return text if _NUMBER.fullmatch(text) else guarded(text)


def in_a_typed_cell(text: str) -> str:
    """The text of a cell that is known to be text and runs as no formula; `bare` gives it back."""
    return f"'{text}" if _GUARDED.match(text) else text
