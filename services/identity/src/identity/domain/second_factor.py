"""The second factor: codes of an authenticator app (TOTP, RFC 6238), and recovery codes.

A code is valid for its half minute and the ones beside it, because clocks differ, and works once.
"""

import base64
import hashlib
import hmac
import secrets
from dataclasses import dataclass, field
from datetime import datetime
from uuid import UUID

import pyotp

from crmkit.errors import FailedPrecondition, InvalidArgument, Unauthenticated

_STEP_SECONDS = 30
_STEPS_BESIDE = 1
_RECOVERY_CODES = 10
_RECOVERY_BYTES = 10  # 80 bits: random enough for a fast hash
_GROUP = 4


@dataclass(kw_only=True)
class SecondFactor:
    """A user's secret, shared with their authenticator app.

    Attributes:
        secret: In base32.
        confirm_time: When a first code showed that the app works; None before.
        last_step: The half minute of the last code that was used; none before it works again.
    """

    user: UUID
    secret: str = field(repr=False)
    confirm_time: datetime | None = None
    last_step: int = 0

    def step_of(self, code: str, now: datetime) -> int | None:
        """The half minute whose code this is; None for a wrong code and for one that was used."""
        app, current = pyotp.TOTP(self.secret), int(now.timestamp()) // _STEP_SECONDS
        for step in range(current - _STEPS_BESIDE, current + _STEPS_BESIDE + 1):
            matches = hmac.compare_digest(app.generate_otp(step).encode(), code.encode())
            if matches and step > self.last_step:
                return step
        return None

    def provisioning_uri(self, account: str, issuer: str) -> str:
        """What an app reads from a QR code."""
        return pyotp.TOTP(self.secret).provisioning_uri(name=account, issuer_name=issuer)


def new_totp_secret() -> str:
    """160 random bits in base32."""
    return pyotp.random_base32()


def new_recovery_codes() -> list[str]:
    """Fresh codes: four groups of four letters and digits each."""
    codes = []
    for _ in range(_RECOVERY_CODES):
        text = base64.b32encode(secrets.token_bytes(_RECOVERY_BYTES)).decode().lower()
        codes.append("-".join(text[i : i + _GROUP] for i in range(0, len(text), _GROUP)))
    return codes


def normalise_code(code: str) -> str:
    """A code as people type it, without what they put between the groups."""
    return "".join(sign for sign in code.lower() if sign.isalnum())


def recovery_hash(code: str) -> bytes:
    """What is stored of a recovery code."""
    return hashlib.sha256(f"recovery:{normalise_code(code)}".encode()).digest()


def refuse_if_on(*, second_factor: bool) -> None:
    """Raises FailedPrecondition `SECOND_FACTOR_ON`."""
    if second_factor:
        msg = "The second factor is on already; turn it off first."
        raise FailedPrecondition(msg, reason="SECOND_FACTOR_ON")


def refuse_if_off(*, second_factor: bool) -> None:
    """Raises FailedPrecondition `SECOND_FACTOR_OFF`."""
    if not second_factor:
        msg = "The second factor is off."
        raise FailedPrecondition(msg, reason="SECOND_FACTOR_OFF")


def not_enrolled() -> FailedPrecondition:
    """There is no secret that a code could belong to."""
    msg = "Begin with EnrollSecondFactor."
    return FailedPrecondition(msg, reason="NOT_ENROLLED")


def wrong_first_code() -> InvalidArgument:
    """The code that should prove that the app works does not."""
    msg = "The code is wrong; is the clock of the device right?"
    return InvalidArgument(msg, reason="WRONG_CODE", field="code")


def wrong_code() -> Unauthenticated:
    """The same answer for a wrong code and for one that was used."""
    return Unauthenticated("The code is wrong or was used.", reason="WRONG_CODE")


def code_required(challenge: str) -> Unauthenticated:
    """The password was right; the challenge and a code complete the sign-in."""
    return Unauthenticated(
        "A code of the authenticator app is needed too.",
        reason="SECOND_FACTOR_REQUIRED",
        metadata={"challenge": challenge},
    )


def invalid_challenge() -> Unauthenticated:
    """The same answer for an unknown, used or expired challenge."""
    msg = "The sign-in took too long; begin again."
    return Unauthenticated(msg, reason="INVALID_CHALLENGE")
