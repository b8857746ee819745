"""An update writes exactly the fields that its mask says."""

import pytest
from google.type.postal_address_pb2 import PostalAddress

from crmkit.errors import InvalidArgument
from crmkit.fieldmask import masked_fields

ALLOWED = ("region_code", "address_lines", "organization")
MESSAGE = PostalAddress(revision=7, region_code="DE", address_lines=["a"])


def test_without_a_mask_the_populated_fields_are_written() -> None:
    """Output-only fields that a client sends back are ignored then."""
    assert masked_fields([], MESSAGE, ALLOWED) == ["region_code", "address_lines"]


def test_a_star_means_every_field_that_can_be_written() -> None:
    """A full replacement clears what is not populated."""
    assert masked_fields(["*"], MESSAGE, ALLOWED) == list(ALLOWED)


def test_a_named_field_is_written_even_if_empty_and_only_once() -> None:
    """That is how a client clears a field."""
    assert masked_fields(["organization", "organization"], MESSAGE, ALLOWED) == ["organization"]


@pytest.mark.parametrize(
    ("path", "hint"),
    [
        ("colour", "no field colour"),
        ("revision", "cannot be updated"),
        ("organization.units", "name the whole field organization"),
        ("*", "only path"),
        ("", "no field"),
    ],
)
def test_a_path_that_cannot_be_written_is_refused(path: str, hint: str) -> None:
    """Unknown, output-only, partial and mixed paths are errors of update_mask."""
    with pytest.raises(InvalidArgument, match=hint) as failure:
        masked_fields(["region_code", path], MESSAGE, ALLOWED)
    assert [violation.field for violation in failure.value.violations] == ["update_mask"]
