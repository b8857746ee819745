"""References to what can be merged follow merges."""

import pytest

from crm_cli.services import NAMES, service
from crmkit.following import fields_that_follow, referring_fields
from crmkit.merges import can_be_merged

# What says where a record lies, and whose contact a private person's is: the merge itself decides.
STAY = {
    ("accounts", "merged_into"),
    ("contacts", "merged_into"),
    ("contacts", "person_account"),
}


@pytest.mark.parametrize("name", NAMES)
def test_every_reference_to_what_can_be_merged_follows_it(name: str) -> None:
    """INVARIANT: a column `…_as_recorded` beside such a field keeps what was recorded."""
    for collection in service(name).collections:
        following = {field.name for field in fields_that_follow(collection.codec)}
        for field in referring_fields(collection.codec):
            if any(can_be_merged(target) for target in field.collections):
                place = (collection.name, field.name)
                assert field.name in following or place in STAY, place
