"""The options of `crm import`: each says what the API is asked for, or what is wrong with it."""

import pytest

from crm_cli.import_mapping import BadOptionError, mappings


def test_options_of_one_column_come_together() -> None:
    """INVARIANT: --value and --lookup hold for the column they name, in every field it fills."""
    made = mappings(
        ["deal=display_name", "deal=external_id", "firm=account"],
        ["amount.currency_code=USD"],
        ["deal:a=b", "deal:c="],
        ["firm=accounts.display_name"],
    )
    assert made == [
        {"column": "deal", "field": "display_name", "translations": {"a": "b", "c": ""}},
        {"column": "deal", "field": "external_id", "translations": {"a": "b", "c": ""}},
        {"column": "firm", "field": "account", "lookup": "accounts.display_name"},
        {"field": "amount.currency_code", "value": "USD"},
    ]


def test_a_field_may_stand_in_the_place_of_a_column() -> None:
    """INVARIANT: where one column fills two fields, each may be translated by itself."""
    made = mappings(["stage=stage", "stage=state"], ["roles=Sales"], ["state:Won=WON"], [
        "roles=roles.display_name"
    ])  # fmt: skip
    assert [mapping.get("translations") for mapping in made] == [None, {"Won": "WON"}, None]
    assert made[2] == {"field": "roles", "value": "Sales", "lookup": "roles.display_name"}


def test_a_column_named_like_a_field_needs_no_map() -> None:
    """INVARIANT: --value alone maps a column to the field of the same name."""
    assert mappings([], [], ["industry:technolgy=technology"], []) == [
        {"column": "industry", "field": "industry", "translations": {"technolgy": "technology"}}
    ]


def test_names_may_contain_the_signs_that_divide() -> None:
    """INVARIANT: a column's name may hold = and :, a value too."""
    made = mappings(["a=b:c=display_name"], ["website=https://x.example/?a=1"], ["a=b:c:x=y=z"], [])
    assert made[0]["column"] == "a=b:c"
    assert made[0]["translations"] == {"x": "y=z"}
    assert made[1]["value"] == "https://x.example/?a=1"


@pytest.mark.parametrize(
    ("columns", "fixed", "values", "lookups", "option"),
    [
        (["column"], [], [], [], "--map column"),
        ([], ["=x"], [], [], "--set =x"),
        ([], [], ["column=x"], [], "--value column=x"),
        ([], [], [], ["column=accounts"], "--lookup column=accounts"),
    ],
)
def test_an_option_that_is_not_of_its_form_is_named(
    columns: list[str], fixed: list[str], values: list[str], lookups: list[str], option: str
) -> None:
    """INVARIANT: the message names the option and its form."""
    with pytest.raises(BadOptionError, match=option):
        mappings(columns, fixed, values, lookups)
