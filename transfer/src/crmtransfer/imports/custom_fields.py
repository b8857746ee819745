"""Where a mapping may write besides the contract's fields: `custom_fields.region`."""

from typing import Any

from crmkit.custom_fields.columns import PREFIX
from crmkit.custom_fields.definitions import ResourceFields
from crmkit.custom_fields.types import KINDS
from crmkit.errors import InvalidArgument
from crmtransfer.imports.fields import Target
from crmtransfer.imports.values import BadValue


def custom_target(fields: ResourceFields, path: str) -> Target | None:
    """The place of a custom field; None if the path names none."""
    field = fields.by_id.get(path.removeprefix(PREFIX)) if path.startswith(PREFIX) else None
    if field is None:
        return None
    kind = KINDS[field.type]

    def write(message: Any, text: str) -> None:
        try:
            value = kind.read(field, kind.from_text(text), path)
        except InvalidArgument as error:
            raise BadValue(error.message) from None
        if value is not None:
            message.custom_fields.update({field.field_id: value})

    return Target(
        path=path,
        field=path,
        required=field.required,
        write=write,
        reference=field.target,
        custom=True,
    )
