"""A resource has exactly one name, and a wrong one is refused naming the field."""

from uuid import UUID

import pytest

from crmkit.errors import InvalidArgument
from crmkit.names import format_name, parse_name, parse_names

ID = UUID("01900000-0000-7000-8000-00000000000a")
CHILD = UUID("01900000-0000-7000-8000-00000000000b")


def test_a_name_survives_the_way_there_and_back() -> None:
    """What format_name writes, parse_name reads."""
    assert format_name("accounts", ID) == f"accounts/{ID}"
    assert parse_name(f"accounts/{ID}", collection="accounts", field="account") == ID


def test_a_child_is_named_with_its_parent() -> None:
    """parse_name gives the child's own id, parse_names both."""
    name = format_name("pipelines/stages", ID, CHILD)
    assert name == f"pipelines/{ID}/stages/{CHILD}"
    assert parse_name(name, collection="pipelines/stages", field="stage") == CHILD
    assert parse_names(name, collection="pipelines/stages", field="stage") == (ID, CHILD)


@pytest.mark.parametrize(
    "name",
    [
        "",
        "accounts",
        "accounts/",
        "accounts/-",
        "accounts/12",
        f"contacts/{ID}",
        f"/accounts/{ID}",
        f"accounts/{ID}/",
        f"accounts/{ID}/notes/{ID}",
        f"accounts/{str(ID).upper()}",
        f"accounts/{{{ID}}}",
        f"accounts/{ID.hex}",
        f"accounts/{ID}\n",
        f"{ID}",
    ],
)
def test_any_other_spelling_is_refused_naming_the_field(name: str) -> None:
    """One resource has one name; the client learns which field is wrong."""
    with pytest.raises(InvalidArgument) as failure:
        parse_name(name, collection="accounts", field="account")
    assert failure.value.reason == "INVALID_FIELD"
    assert [violation.field for violation in failure.value.violations] == ["account"]
