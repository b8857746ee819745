"""Which passwords are good enough: long, and none that everybody tries first (NIST SP 800-63B)."""

from zxcvbn.frequency_lists import FREQUENCY_LISTS

from crmkit.errors import InvalidArgument

MIN_LENGTH = 8
_MIN_LOCAL_PART = 3  # a shorter one is contained in too much by chance

# The 30,000 most common of published leaks, and a few that only we could think of; compared also
# without the digits and signs that people put at the end.
_COMMON = frozenset(FREQUENCY_LISTS["passwords"]) | {
    "abcabcabc", "abcdefghijk", "adminadmin", "administrator", "adminpassword", "asdfghjkl;",
    "changeit", "correcthorsebatterystaple", "iloveyouforever", "letmeinplease", "mypassword",
    "newpassword", "p@ssword", "qazwsxedcrfv", "qwertyuiop[]", "qwertzuiop", "testpassword",
    "topsecret", "welcomeback", "zaq12wsxcde",
}  # fmt: skip


def check_password(password: str, email: str = "", *, field: str = "user.password") -> None:
    """Refuses a weak password; the message never repeats it.

    Args:
        password: What the user wants.
        email: The user's address; a password must not contain what stands before the `@`.
        field: The field that it came in.

    Raises:
        InvalidArgument: `WEAK_PASSWORD`, naming the field.
    """
    local_part = email.partition("@")[0].lower()
    folded = password.lower()
    if len(password) < MIN_LENGTH:
        _refuse(f"The password must have at least {MIN_LENGTH} characters.", field)
    if _is_common(folded):
        _refuse("The password is one of those that everybody tries first.", field)
    if len(local_part) >= _MIN_LOCAL_PART and local_part in folded:
        _refuse("The password must not contain the name in the e-mail address.", field)


def _is_common(folded: str) -> bool:
    stem = folded.rstrip("0123456789!.?")
    return len(set(folded)) <= 2 or not stem or stem in _COMMON or folded in _COMMON  # noqa: PLR2004


def _refuse(message: str, field: str) -> None:
    raise InvalidArgument(message, reason="WEAK_PASSWORD", field=field)
