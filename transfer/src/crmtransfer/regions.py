"""Countries as people write them, in their languages, and their codes of ISO 3166-1."""

import re
import unicodedata
from collections.abc import Iterable, Iterator
from functools import cache

from babel import localedata

_NOT_IN_A_NAME = re.compile(r"[^\w\s]|_")
_ARTICLE = re.compile(r"(the|la|le|les|el|los|die|der) ")
# "Tanzania, United Republic of": the form of government follows the name.
_GOVERNMENT = re.compile(r"([^,(]+)[,(] ?[^,]*\b(of|of the)\)?", re.IGNORECASE)
_CODE = re.compile(r"[A-Za-z]{2}", re.ASCII)
_WORLD = "001"  # of phone numbers that belong to no country, by UN M49
# A name that two languages use for two countries means what the first of them says.
_LANGUAGES = (
    "en de fr es it pt nl pl ru zh zh_Hant ja ko ar tr uk cs sk hu ro bg el da nb sv fi et lv lt hr sl sr"
    " he fa hi bn ur id ms th vi ca eu gl is ga mk sq ka hy az kk uz"
)
_CODES_OF_OTHERS = {"UK": "GB", "EL": "GR"}  # of traffic signs and of the European Union
# What CLDR has as no name of its own: formal names that do not follow from it, and everyday ones.
_MORE_NAMES = {
    "AT": "Oesterreich|Republic of Austria", "BA": "Bosnia", "BN": "Brunei Darussalam",
    "BO": "Plurinational State of Bolivia", "BQ": "Bonaire",
    "CD": "DR Congo|DRC|Democratic Republic of the Congo|Congo Kinshasa|Congo Democratic Republic of the",
    "CG": "Republic of the Congo|Congo Brazzaville|Congo", "CI": "Ivory Coast|Cote d Ivoire",
    "CN": "People's Republic of China|PRC|Mainland China|中华人民共和国", "CV": "Cape Verde",
    "CZ": "Czech Republic|Česká republika|Tschechische Republik",
    "DE": "Federal Republic of Germany|Bundesrepublik Deutschland|BRD",
    "FK": "Falkland Islands Malvinas", "FM": "Federated States of Micronesia",
    "GB": "Great Britain|England|Scotland|Wales|Northern Ireland|Großbritannien"
    "|Grande-Bretagne|Gran Bretaña|U K",
    "HK": "Hong Kong|香港", "HM": "Heard Island and McDonald Islands", "IE": "Republic of Ireland|Éire",
    "IR": "Islamic Republic of Iran", "KP": "DPRK|Korea Democratic People's Republic of",
    "KR": "Republic of Korea|Korea Republic of|Korea", "LA": "Lao People's Democratic Republic|Lao PDR",
    "LB": "الجمهورية اللبنانية", "LU": "Luxemburg", "MF": "Saint Martin French part",
    "MK": "Macedonia|FYROM|F Y R O M", "MM": "Burma", "MO": "Macau|Macao|澳門|澳门",
    "NL": "Holland|Koninkrijk der Nederlanden", "OM": "سلطنة عمان",
    "PS": "Palestine|State of Palestine|فلسطين", "RU": "Russian Federation|Российская Федерация",
    "SH": "Saint Helena Ascension and Tristan da Cunha", "SX": "Sint Maarten Dutch part",
    "SY": "Syrian Arab Republic|الجمهورية العربية السورية", "SZ": "Swaziland", "TL": "East Timor",
    "TR": "Turkey", "TW": "中華民國|中华民国|Republic of China", "TZ": "United Republic of Tanzania",
    "UM": "United States Minor Outlying Islands",
    "US": "U S|U S A|United States of America|America|美利坚合众国",
    "VA": "Holy See|Vatican", "VE": "Bolivarian Republic of Venezuela", "VG": "Virgin Islands British",
    "VI": "Virgin Islands U S|United States Virgin Islands", "VN": "Viet Nam",
    "ZA": "RSA|Republic of South Africa",
}  # fmt: skip


def region_code(text: str) -> str | None:
    """The code that a name, a code of two or three letters, or `001` means; None if it means none.

    Two letters are taken as a code whatever they are: what is a country is not ours to decide.
    """
    if _CODE.fullmatch(text):
        return _CODES_OF_OTHERS.get(text.upper(), text.upper())
    if text == _WORLD:
        return text
    found = _names().get(plain := _plain(text)) or _names().get(_ARTICLE.sub("", plain, count=1))
    of = _GOVERNMENT.fullmatch(text) if found is None else None
    return _names().get(_plain(of[1])) if of else found


def _plain(name: str) -> str:
    """A name as it is compared: without case, accents, punctuation, and with words written out."""
    letters = "".join(
        char for char in unicodedata.normalize("NFKD", name) if not unicodedata.combining(char)
    )
    words = _NOT_IN_A_NAME.sub(" ", letters.casefold().replace("&", " and ")).split()
    return " ".join("saint" if word == "st" else word for word in words)


@cache
def _names() -> dict[str, str]:
    """Plain name → code; made when a name is first met, in a tenth of a second."""
    found: dict[str, str] = {}
    own = ((name, code) for code, text in _MORE_NAMES.items() for name in text.split("|"))
    for name, code in (*own, *_three_letters()):
        found.setdefault(_plain(name), code)
    for language in _LANGUAGES.split():
        names: dict[str, str | None] = {}
        for name, code in _of(language):
            # What a language calls two countries by the same name means neither.
            names[name] = code if names.get(name, code) == code else None
        for name, known in names.items():
            if known is not None:
                found.setdefault(name, known)
    return found


def _of(language: str) -> Iterator[tuple[str, str]]:
    territories = localedata.load(language, merge_inherited=False)["territories"]
    # Nothing else of the language is needed, which takes a megabyte.
    localedata._cache.pop(language, None)  # noqa: SLF001 - Babel would keep it for good
    for code, name in territories.items():
        if _CODE.fullmatch(code):
            yield _plain(name), code


def _three_letters() -> Iterable[tuple[str, str]]:
    from babel.core import get_global  # noqa: PLC0415 - loads CLDR's common data

    for alias, codes in get_global("territory_aliases").items():
        if len(alias) == 3 and alias.isalpha() and len(codes) == 1:  # noqa: PLR2004 - alpha-3
            yield alias, codes[0]
