"""Amounts of money, exact and within what the database stores."""

from dataclasses import dataclass
from decimal import ROUND_HALF_UP, Decimal
from typing import ClassVar, Self

from crmkit.errors import InvalidArgument

_TOTAL_DIGITS = 19
_NANOS_PER_UNIT = 1_000_000_000

# ISO 4217, active codes that have a minor unit (no metals, no testing codes).
CURRENCIES = frozenset(
    [
        "AED",
        "AFN",
        "ALL",
        "AMD",
        "AOA",
        "ARS",
        "AUD",
        "AWG",
        "AZN",
        "BAM",
        "BBD",
        "BDT",
        "BGN",
        "BHD",
        "BIF",
        "BMD",
        "BND",
        "BOB",
        "BOV",
        "BRL",
        "BSD",
        "BTN",
        "BWP",
        "BYN",
        "BZD",
        "CAD",
        "CDF",
        "CHE",
        "CHF",
        "CHW",
        "CLF",
        "CLP",
        "CNY",
        "COP",
        "COU",
        "CRC",
        "CUP",
        "CVE",
        "CZK",
        "DJF",
        "DKK",
        "DOP",
        "DZD",
        "EGP",
        "ERN",
        "ETB",
        "EUR",
        "FJD",
        "FKP",
        "GBP",
        "GEL",
        "GHS",
        "GIP",
        "GMD",
        "GNF",
        "GTQ",
        "GYD",
        "HKD",
        "HNL",
        "HTG",
        "HUF",
        "IDR",
        "ILS",
        "INR",
        "IQD",
        "IRR",
        "ISK",
        "JMD",
        "JOD",
        "JPY",
        "KES",
        "KGS",
        "KHR",
        "KMF",
        "KPW",
        "KRW",
        "KWD",
        "KYD",
        "KZT",
        "LAK",
        "LBP",
        "LKR",
        "LRD",
        "LSL",
        "LYD",
        "MAD",
        "MDL",
        "MGA",
        "MKD",
        "MMK",
        "MNT",
        "MOP",
        "MRU",
        "MUR",
        "MVR",
        "MWK",
        "MXN",
        "MXV",
        "MYR",
        "MZN",
        "NAD",
        "NGN",
        "NIO",
        "NOK",
        "NPR",
        "NZD",
        "OMR",
        "PAB",
        "PEN",
        "PGK",
        "PHP",
        "PKR",
        "PLN",
        "PYG",
        "QAR",
        "RON",
        "RSD",
        "RUB",
        "RWF",
        "SAR",
        "SBD",
        "SCR",
        "SDG",
        "SEK",
        "SGD",
        "SHP",
        "SLE",
        "SOS",
        "SRD",
        "SSP",
        "STN",
        "SVC",
        "SYP",
        "SZL",
        "THB",
        "TJS",
        "TMT",
        "TND",
        "TOP",
        "TRY",
        "TTD",
        "TWD",
        "TZS",
        "UAH",
        "UGX",
        "USD",
        "USN",
        "UYI",
        "UYU",
        "UYW",
        "UZS",
        "VED",
        "VES",
        "VND",
        "VUV",
        "WST",
        "XAF",
        "XCD",
        "XCG",
        "XOF",
        "XPF",
        "YER",
        "ZAR",
        "ZMW",
        "ZWG",
    ]
)
_MINOR_DIGITS = {
    **dict.fromkeys(
        [
            "BIF",
            "CLP",
            "DJF",
            "GNF",
            "ISK",
            "JPY",
            "KMF",
            "KRW",
            "PYG",
            "RWF",
            "UGX",
            "UYI",
            "VND",
            "VUV",
            "XAF",
            "XOF",
            "XPF",
        ],
        0,
    ),
    **dict.fromkeys(["BHD", "IQD", "JOD", "KWD", "LYD", "OMR", "TND"], 3),
    **dict.fromkeys(("CLF", "UYW"), 4),
}


@dataclass(frozen=True, slots=True)
class Money:
    """An amount in one currency, stored as numeric(19,4).

    Attributes:
        amount: finite, at most 15 digits before the point and 4 after it.
        currency_code: three letters of ISO 4217.
    """

    amount: Decimal
    currency_code: str

    SCALE: ClassVar[int] = 4

    def __post_init__(self) -> None:
        """Refuses what the database could not store exactly."""
        check_amount(self.amount, scale=self.SCALE)
        check_currency(self.currency_code)

    @classmethod
    def from_units_nanos(cls, units: int, nanos: int, code: str, field: str) -> Self:
        """Returns the money of a google.type.Money.

        Args:
            units: whole units.
            nanos: billionths, with the same sign as `units`.
            code: the currency code.
            field: the request field that a failure names.

        Raises:
            InvalidArgument: `INVALID_FIELD`: signs disagree, nanos beyond a whole unit, more
                decimals or digits than stored, or no such currency.
        """
        if abs(nanos) >= _NANOS_PER_UNIT:
            msg = f"{field}.nanos must lie between -999999999 and 999999999"
            raise InvalidArgument(msg, field=f"{field}.nanos")
        if units * nanos < 0:
            msg = f"{field}.units and {field}.nanos must have the same sign"
            raise InvalidArgument(msg, field=f"{field}.nanos")
        check_currency(code, field=f"{field}.currency_code")
        amount = units + Decimal(nanos).scaleb(-9)
        check_amount(amount, scale=cls.SCALE, field=field)
        return cls(amount, code)

    def units_nanos(self) -> tuple[int, int]:
        """Returns (units, nanos) as in google.type.Money; both carry the sign."""
        units = int(self.amount)
        return units, int((self.amount - units) * _NANOS_PER_UNIT)

    def rounded(self) -> "Money":
        """Returns the amount rounded half up (away from zero) to the currency's minor unit."""
        step = Decimal(1).scaleb(-minor_digits(self.currency_code))
        return Money(self.amount.quantize(step, rounding=ROUND_HALF_UP), self.currency_code)


@dataclass(frozen=True, slots=True)
class UnitPrice(Money):
    """The price of one unit, stored as numeric(19,6): at most 13 digits before the point."""

    SCALE: ClassVar[int] = 6


def minor_digits(currency_code: str) -> int:
    """Returns how many decimals the currency's smallest coin or booking unit has."""
    return _MINOR_DIGITS.get(currency_code, 2)


def check_currency(code: str, field: str | None = None) -> None:
    """Raises InvalidArgument unless `code` is an active ISO 4217 currency."""
    if code not in CURRENCIES:
        msg = "The currency code must be three upper-case letters of ISO 4217, such as EUR"
        raise InvalidArgument(
            msg,
            field=field,
        )


def check_amount(amount: Decimal, *, scale: int = Money.SCALE, field: str | None = None) -> None:
    """Raises InvalidArgument unless numeric(19, scale) stores the amount exactly."""
    if not amount.is_finite() or abs(amount) >= Decimal(10) ** (_TOTAL_DIGITS - scale):
        msg = f"The amount must have at most {_TOTAL_DIGITS - scale} digits before the point"
        raise InvalidArgument(
            msg,
            field=field,
        )
    # Compared as digits, not by quantize: the decimal context would round a long amount first.
    digits = f"{amount:f}".partition(".")[2].rstrip("0")
    if len(digits) > scale:
        msg = f"The amount must have at most {scale} decimals"
        raise InvalidArgument(msg, field=field)
