"""Countries: what people and other systems write becomes the code; nothing is guessed."""

import pytest

from crmtransfer.regions import region_code


@pytest.mark.parametrize(
    ("text", "code"),
    [
        ("de", "DE"),
        ("DEU", "DE"),
        ("Germany", "DE"),
        ("DEUTSCHLAND", "DE"),
        ("Allemagne", "DE"),
        ("德国", "DE"),
        ("USA", "US"),
        ("U.S.A.", "US"),
        ("United States of America", "US"),
        ("UK", "GB"),
        ("England", "GB"),
        ("the Netherlands", "NL"),
        ("Holland", "NL"),
        ("Österreich", "AT"),
        ("Osterreich", "AT"),
        ("中国", "CN"),
        ("中華民國", "TW"),
        ("日本", "JP"),
        ("대한민국", "KR"),
        ("Россия", "RU"),
        ("مصر", "EG"),
        ("Turkey", "TR"),
        ("Türkiye", "TR"),
        ("Côte d'Ivoire", "CI"),
        ("St. Lucia", "LC"),
        ("Trinidad & Tobago", "TT"),
        ("Trinidad and Tobago", "TT"),
        ("Tanzania, United Republic of", "TZ"),
        ("Iran (Islamic Republic of)", "IR"),
        ("Korea, Republic of", "KR"),
        ("Virgin Islands, British", "VG"),
        ("001", "001"),
    ],
)
def test_a_country_is_understood_in_many_languages(text: str, code: str) -> None:
    """INVARIANT: a name means the country that it means to people, in whatever form files have it."""
    assert region_code(text) == code


@pytest.mark.parametrize(
    "text", ["", "Atlantis", "1002", "Germany, La Réunion", "North", "Germany, Bavaria", "D E"]
)
def test_what_is_no_country_is_none(text: str) -> None:
    """INVARIANT: nothing is guessed: half a name, or more than a name, is no country."""
    assert region_code(text) is None
