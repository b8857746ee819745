"""Names of people and firms: how they are shown, and what they are sorted and found by."""

import unicodedata

from pypinyin import Style, lazy_pinyin

# Scripts whose names have the family name first and no space. Not Katakana: it writes foreign names, in
# their own order.
_FAMILY_FIRST = ("CJK UNIFIED", "CJK COMPATIBILITY", "HANGUL", "HIRAGANA")
_LONGEST_KEY = 300
_LONGEST_NAME_OF_A_PERSON = 4
# Letters that Unicode does not take apart into a plain one and its mark.
_PLAIN = str.maketrans(
    {
        "ł": "l",
        "ø": "o",
        "đ": "d",
        "ð": "d",
        "þ": "th",
        "æ": "ae",
        "œ": "oe",
        "\u0131": "i",
        "ħ": "h",
    }
)
# Surnames that are read otherwise than the same characters in other words.
_SURNAMES = {
    "万俟": "mo qi", "尉迟": "yu chi", "单于": "chan yu", "长孙": "zhang sun", "澹台": "tan tai",
    "亓官": "qi guan", "令狐": "ling hu", "宿六斤": "su lu jin",
    "单": "shan", "解": "xie", "仇": "qiu", "区": "ou", "曾": "zeng", "查": "zha", "盖": "ge",
    "翟": "zhai", "朴": "piao", "任": "ren", "缪": "miao", "覃": "qin", "冼": "xian", "洗": "xian",
    "乐": "yue", "员": "yun", "种": "chong", "秘": "bi", "折": "she", "黑": "he", "华": "hua",
    "宁": "ning", "牟": "mu", "召": "shao", "句": "gou", "车": "che", "都": "du", "那": "na",
    "哈": "ha", "过": "guo", "阙": "que", "隗": "kui", "佴": "nai", "妫": "gui", "郇": "xun",
    "宓": "fu", "阚": "kan", "郗": "xi", "祭": "zhai", "能": "nai", "繁": "po", "晟": "cheng",
    "逄": "pang", "逯": "lu", "应": "ying", "占": "zhan", "石": "shi", "卜": "bu", "角": "jue",
    "重": "chong", "藏": "zang", "沈": "shen", "贾": "jia", "葛": "ge", "纪": "ji", "尹": "yin",
}  # fmt: skip
# Of two characters, and read as always.
_DOUBLE_SURNAMES = frozenset({
    "欧阳", "司马", "上官", "诸葛", "东方", "皇甫", "公孙", "慕容", "司徒", "夏侯", "轩辕", "宇文",
    "端木", "百里", "东郭", "南宫", "呼延", "钟离", "司空", "闻人", "赫连", "公羊", "濮阳", "淳于",
    "太叔", "申屠", "仲孙", "鲜于", "闾丘", "拓跋", "独孤", "南门", "西门", "公冶", "宗政", "左丘",
    "东门", "梁丘",
})  # fmt: skip


def full_name(given_name: str | None, family_name: str | None) -> str:
    """Both names, or the one there is, in the order of their script."""
    given, family = given_name or "", family_name or ""
    if given and family and _is_family_first(given + family):
        return family + given
    return f"{given} {family}".strip()


def person_key(
    display_name: str | None, given_name: str | None, family_name: str | None
) -> str | None:
    """What a person is sorted by: the family name, then the given name; else the name that is shown."""
    if family_name:
        parts = [_surname(family_name), *([_reading(given_name)] if given_name else [])]
        return _key(" ".join(parts))
    if given_name or not display_name:
        return _key(_reading(given_name or ""))
    return _key(_surname_and_rest(display_name))


def firm_key(display_name: str) -> str | None:
    """What a firm is sorted by."""
    return _key(_reading(display_name))


def fold(text: str) -> str:
    """In small letters, without accents, of one width; what remains is compared byte by byte."""
    if text.isascii():
        return text.lower()
    apart = unicodedata.normalize("NFKD", text).casefold()
    bare = "".join(c for c in apart if not unicodedata.combining(c))
    return unicodedata.normalize("NFC", bare).translate(_PLAIN)


def _key(text: str) -> str | None:
    return " ".join(fold(text).split())[:_LONGEST_KEY].strip() or None


def _reading(text: str) -> str:
    """Chinese characters as pinyin without tones, each a word of its own; everything else as it is."""
    if text.isascii() or not any(is_chinese(character) for character in text):
        return text
    return " ".join(lazy_pinyin(text, style=Style.NORMAL))


def _surname(text: str) -> str:
    return _SURNAMES.get(text) or _reading(text)


def _surname_and_rest(name: str) -> str:
    """A name in one piece: 单雄信 is `shan xiong xin`; what is too long for a person is read as any text."""
    surname, rest = split_name(name)
    return f"{_surname(surname)} {_reading(rest)}" if surname else _reading(name)


def split_name(name: str) -> tuple[str, str]:
    """Surname and given name of a person's Chinese name; an empty surname where it is none."""
    compact = "".join(name.split())
    if not all(map(is_chinese, compact)) or not 1 < len(compact) <= _LONGEST_NAME_OF_A_PERSON:
        return "", name
    for length in (3, 2):
        head, rest = compact[:length], compact[length:]
        if rest and (head in _SURNAMES or head in _DOUBLE_SURNAMES):
            return head, rest
    return compact[:1], compact[1:]


def is_chinese(character: str) -> bool:
    """True for a Chinese character."""
    return unicodedata.name(character, "").startswith(("CJK UNIFIED", "CJK COMPATIBILITY"))


def _is_family_first(names: str) -> bool:
    letters = [c for c in names if c.isalpha()]
    names_of = (unicodedata.name(c, "") for c in letters)
    return bool(letters) and all(name.startswith(_FAMILY_FIRST) for name in names_of)
