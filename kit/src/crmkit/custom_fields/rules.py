"""What makes sense as a definition of a custom field, and how one may change."""

from dataclasses import replace
from typing import NoReturn

from crmkit import contract
from crmkit.custom_fields.definitions import CustomField
from crmkit.custom_fields.types import KINDS
from crmkit.errors import FailedPrecondition, InvalidArgument

_WITH_OPTIONS = frozenset({"OPTION", "OPTIONS"})


def check(field: CustomField) -> CustomField:
    """The definition with its default in canonical form; raises InvalidArgument where it makes no sense."""
    kind = KINDS.get(field.type)
    if kind is None:
        _refuse("type", "is required")
    if not field.display_name:
        _refuse("display_name", "is required")
    ids = [option.option_id for option in field.options]
    if field.type in _WITH_OPTIONS and not ids:
        _refuse("options", f"are needed for the type {field.type}")
    if field.type not in _WITH_OPTIONS and ids:
        _refuse("options", f"make no sense for the type {field.type}")
    if len(set(ids)) < len(ids):
        _refuse("options", "must have different ids")
    if field.type == "REFERENCE" and field.target not in _targets():
        _refuse("target", f"must be one of {', '.join(sorted(_targets()))}")
    if field.type != "REFERENCE" and field.target:
        _refuse("target", f"makes no sense for the type {field.type}")
    if field.unique and not kind.can_be_unique:
        _refuse("unique", f"makes no sense for the type {field.type}")
    if field.sortable and not kind.can_be_sorted:
        _refuse("sortable", f"makes no sense for the type {field.type}")
    return _with_default(field)


def _with_default(field: CustomField) -> CustomField:
    if field.default_value is None:
        return field
    if field.unique or field.type == "REFERENCE":
        _refuse("default_value", "makes no sense for a unique field or a reference")
    path = "custom_field.default_value"
    return replace(field, default_value=KINDS[field.type].read(field, field.default_value, path))


def _targets() -> set[str]:
    """The collections whose records can be asked for by name."""
    return {name for name, resource in contract.collections().items() if not resource.singleton}


def check_change(before: CustomField, after: CustomField) -> None:
    """Raises a Failure where a definition may not become another."""
    for name in ("resource", "field_id"):
        if getattr(before, name) != getattr(after, name):
            path = f"custom_field.{name}"
            msg = f"{path} cannot be changed after creation."
            raise InvalidArgument(msg, reason="IMMUTABLE_FIELD", field=path)
    kept = {option.option_id for option in after.options}
    if before.type == after.type or kept:
        removed = [o.option_id for o in before.options if o.option_id not in kept]
        if removed:
            msg = f"The option {removed[0]} cannot be removed; retire it."
            raise FailedPrecondition(msg, reason="OPTION_REMOVED", field="custom_field.options")


def _refuse(name: str, problem: str) -> NoReturn:
    path = f"custom_field.{name}"
    msg = f"{path} {problem}."
    raise InvalidArgument(msg, field=path)
