"""What other systems call our fields, in their exports and in people's spreadsheets.

Names are compared without case, blanks and punctuation. `SURE` holds in every file of such records;
`PERHAPS` is worth showing to a person. A path may stand for a reference by the name of what it refers to.
"""

import re
from collections.abc import Mapping
from functools import lru_cache

_NO_LETTERS = re.compile(r"[\W_]+")

# Before the part of an address: which of a record's addresses it is, and what that is for.
_PLACES = {
    "billing": "billing|billing address|rechnung|invoice",
    "delivery": "shipping|shipping address|delivery|delivery address|liefer",
    "work": "business|work|office|company|business address|work address",
    "home": "home|home address|private|privat",
    "other": "other|other address|alt address|alternate address|address 2|secondary address",
    "": "|address|address 1|primary address|mailing|mailing address|main address|street address",
}
_PARTS = {
    "addresses.address_lines": "street|street address|address street|address line 1|地址|straße|strasse",
    "addresses.locality": "city|town|locality|城市|ort|stadt",
    "addresses.administrative_area": "state region|province|state province|省份|bundesland",
    "addresses.postal_code": "zip|zip code|postal code|postcode|postalcode|zip postal code|邮编|邮政编码|plz"
    "|postleitzahl",
    "addresses.region_code": "country|country code|country region|region code|国家|国家代码|land",
}
# A record has a state, too, and an address of one line may hold all of it: sure only where the place is said.
_PARTS_OF_A_PLACE = {
    "addresses.administrative_area": "state|region",
    "addresses.address_lines": "line 1",
}
_ADDRESS_PERHAPS = {
    "addresses.address_lines": "address|full address|organization address|location"
    "|office location|address 1 formatted",
    "addresses.administrative_area": "state|region",
}


def _address() -> dict[str, str]:
    names: dict[str, list[str]] = {}
    for place in "|".join(_PLACES.values()).split("|"):
        for parts in (_PARTS, _PARTS_OF_A_PLACE) if place else (_PARTS,):
            for path, text in parts.items():
                names.setdefault(path, []).extend(f"{place} {part}" for part in text.split("|"))
    names["addresses.address_lines"].append("address 1")
    return {path: "|".join(found) for path, found in names.items()}


_ADDRESS = _address()
_REACH = {
    "emails.address": "email|e mail|email address|e mail address|email work|primary email|work email"
    "|business email|e mail 1 value|email 1|email 1 value|person email work|email home|home email"
    "|email other|e mail 2 address|e mail 3 address|e mail 2 value|e mail 3 value|email 2"
    "|person email home|邮箱|电子邮件|电子邮箱|e mail adresse",
    "phones.number": "phone|phone number|telephone|telephone number|tel|phone work|work phone"
    "|business phone|business phone 2|office phone|main phone|primary phone|phone 1 value"
    "|phone 2 value|person phone|mobile|mobile phone|mobile number|phone mobile|cell|cell phone"
    "|home phone|home phone 2|phone home|other phone|phone other|company main phone|fax|fax number"
    "|business fax|home fax|电话|手机|联系电话|移动电话|传真|telefon|telefonnummer|handy|mobil",
    "emails": "emails|e mails|email addresses|non primary e mails|other emails",
    "phones": "phones|phone numbers|telephone numbers|contact numbers",
}
_REACH_PERHAPS = {
    "phones.number": "assistant phone|pager|car phone",
}
# Words of a column's name → what an address or number is for.
_PURPOSES = {
    "fax": "fax|传真",
    "mobile": "mobile|cell|手机|移动电话|handy|mobil",
    "home": "home|private|privat",
    "work": "work|business|office|geschäftlich|büro",
    "other": "other",
}
_COMPANY = (
    "company|company name|account|account name|organization|organisation|organization name"
    "|organisation name"
    "|associated company|employer|organization 1 name|公司|公司名称|客户|客户名称|firma|firmenname"
)
_OF_ALL = {"external_id": "external id|externe id|外部编号"}
_OF_ALL_PERHAPS = {
    "external_id": "id|record id|key",
    "owner": "owner|assigned to|assigned user|account owner|contact owner|deal owner"
    "|opportunity owner|sales agent"
    "|user id|owner id|负责人",
}

SURE: Mapping[str, Mapping[str, str]] = {
    "accounts": {
        **_OF_ALL,
        **_ADDRESS,
        **_REACH,
        "display_name": f"name|customer|customer name|client|client name|{_COMPANY}|企业名称",
        "legal_name": "legal name|registered name|company legal name|法定名称",
        "industry": "industry|sector|branch|line of business|行业|branche",
        "founded_year": "founded|founded year|year founded|year established|founding year|成立年份",
        "employee_count": "employees|employee count|number of employees|no of employees"
        "|headcount|staff|员工人数|mitarbeiter",
        "annual_revenue": "annual revenue|revenue|turnover|yearly revenue|年收入"
        "|jahresumsatz|umsatz",
        "annual_revenue.currency_code": "currency|currency code|revenue currency|货币|währung",
        "website": "website|web site|web page|homepage|url|website url|company website|网站"
        "|网址|webseite",
        "tax_id": "tax id|tax number|vat|vat id|vat number|vat registration number|税号"
        "|ust idnr|steuernummer",
        "parent_account": "parent account|parent company|subsidiary of|parent|母公司",
    },
    "contacts": {
        **_OF_ALL,
        **_ADDRESS,
        **_REACH,
        "display_name": "name|full name|contact name|contact|display name|person name|姓名"
        "|联系人|联系人姓名",
        "given_name": "first name|given name|forename|firstname|person first name|名|名字|vorname",
        "family_name": "last name|family name|surname|lastname|person last name|姓|姓氏"
        "|nachname|familienname",
        "job_title": "job title|title|position|organization 1 title|职位|职务"
        "|position im unternehmen",
        "birthday": "birthday|birthdate|birth date|date of birth|生日|出生日期|geburtstag"
        "|geburtsdatum",
        "do_not_call": "do not call|do not phone|no calls",
        "account": _COMPANY,
    },
    "opportunities": {
        **_OF_ALL,
        "display_name": "name|title|deal name|deal title|deal|opportunity|opportunity name"
        "|商机名称|商机",
        "amount": "amount|value|deal value|opportunity amount|lead value|close value"
        "|deal amount|金额",
        "amount.currency_code": "currency|currency code|deal currency|货币|währung",
        "expected_close_date": "expected close date|expected close|estimated close date"
        "|预计成交日期",
        "probability": "probability|win probability|概率",
        "source": "lead source|source|original source|来源",
        "account": _COMPANY,
    },
    "products": {
        **_OF_ALL,
        "display_name": "name|product|product name|产品|产品名称|produkt",
        "sku": "sku|product code|article number|item number|产品编号|artikelnummer",
        "category": "category|series|product family|family|类别",
        "unit_price": "price|unit price|sales price|list price|product price|单价|价格|preis",
        "unit_price.currency_code": "currency|currency code|product currency|货币|währung",
    },
    "tickets": {
        **_OF_ALL,
        "subject": "subject|title|short description|summary|主题|betreff",
        "description": "description|details|body|描述|beschreibung",
        "priority": "priority|优先级|priorität",
        "category": "category|类别|kategorie",
        "account": _COMPANY,
    },
    "campaigns": {**_OF_ALL, "display_name": "name|campaign|campaign name|活动名称"},
    "users": {
        **_OF_ALL,
        "email": _REACH["emails.address"],
        "display_name": "name|full name|user|user name|姓名",
    },
    "teams": {**_OF_ALL, "display_name": "name|team|team name|团队"},
}
PERHAPS: Mapping[str, Mapping[str, str]] = {
    "accounts": {**_OF_ALL_PERHAPS, **_ADDRESS_PERHAPS, **_REACH_PERHAPS},
    "contacts": {
        **_OF_ALL_PERHAPS,
        **_ADDRESS_PERHAPS,
        **_REACH_PERHAPS,
        "account": "organization id|account id|company id|associated company ids",
    },
    "opportunities": {
        **_OF_ALL_PERHAPS,
        "external_id": "id|record id|opportunity id|deal id",
        "close_time": "close date|closed at|closed date|won time",
        "open_time": "open date|engage date|created at|create date",
        "stage": "deal stage|sales stage|pipeline stage|lead pipeline stage id",
        "account": "organization id|account id|company id|person id",
    },
    "products": {**_OF_ALL_PERHAPS, "external_id": "id|product id|stock code"},
    "tickets": {**_OF_ALL_PERHAPS, "external_id": "id|number|ticket id|case number"},
}


def plain(name: str) -> str:
    """A name as it is compared."""
    return _NO_LETTERS.sub("", name.casefold())


@lru_cache(maxsize=32)
def sure(resource: str) -> dict[str, str]:
    """Plain name → path, for names that say it."""
    return _turned(SURE.get(resource, {}))


@lru_cache(maxsize=32)
def perhaps(resource: str) -> dict[str, str]:
    """Plain name → path, for names that may mean it."""
    return _turned(PERHAPS.get(resource, {}))


def _turned(names: Mapping[str, str]) -> dict[str, str]:
    return {plain(name): path for path, text in names.items() for name in text.split("|")}


def purpose(name: str) -> str:
    """What an address or number is for, by its column's name; empty if that says nothing."""
    words = f" {_NO_LETTERS.sub(' ', name.casefold())} "
    found = (
        label
        for label, text in _PURPOSES.items()
        if any(f" {word} " in words or word == words.strip() for word in text.split("|"))
    )
    return next(found, "")


def place(name: str) -> str | None:
    """Which of a record's addresses a column is a part of; empty for the one without a name."""
    return _places().get(plain(name))


@lru_cache(maxsize=1)
def _places() -> dict[str, str]:
    parts = "|".join([*_PARTS.values(), *_PARTS_OF_A_PLACE.values()]).split("|")
    return {
        plain(f"{before} {part}"): label
        for label, text in _PLACES.items()
        for before in text.split("|")
        for part in parts
    }
