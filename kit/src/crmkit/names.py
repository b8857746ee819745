"""Resource names: "accounts/0190…" and "pipelines/0190…/stages/0190…" to and from UUIDs.

A collection of children is written with its parent's: "pipelines/stages".
"""

from uuid import UUID

from crmkit.errors import InvalidArgument


def format_name(collection: str, *ids: UUID) -> str:
    """Returns the resource name.

    Args:
        collection: "accounts", or "pipelines/stages" for children.
        ids: one id per collection, the parent's first.
    """
    pairs = zip(collection.split("/"), ids, strict=True)
    return "/".join(f"{noun}/{id_}" for noun, id_ in pairs)


def parse_name(name: str, *, collection: str, field: str) -> UUID:
    """Returns the id of the resource itself (the last one of a child's name).

    Args:
        name: what the client sent.
        collection: the collection it must belong to, as in `format_name`.
        field: the request field that a failure names.

    Raises:
        InvalidArgument: `INVALID_FIELD`, the name is not of this form.
    """
    return parse_names(name, collection=collection, field=field)[-1]


def parse_names(name: str, *, collection: str, field: str) -> tuple[UUID, ...]:
    """Returns every id in the name, the parent's first.

    Raises:
        InvalidArgument: `INVALID_FIELD`, the name is not of this form.
    """
    nouns = collection.split("/")
    parts = name.split("/")
    ids = [_uuid(part) for part in parts[1::2]]
    if parts[::2] != nouns or len(ids) != len(nouns) or None in ids:
        form = "/".join(f"{noun}/{{uuid}}" for noun in nouns)
        msg = f"{field} must have the form {form}"
        raise InvalidArgument(msg, field=field)
    return tuple(id_ for id_ in ids if id_)


def _uuid(text: str) -> UUID | None:
    """Returns the UUID, only from its canonical form: one resource has one name."""
    try:
        value = UUID(text)
    except ValueError:
        return None
    return value if str(value) == text else None
