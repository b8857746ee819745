"""Which passwords are good enough: long, and none that everybody tries first (NIST SP 800-63B)."""

from crmkit.errors import InvalidArgument

MIN_LENGTH = 8
_MIN_LOCAL_PART = 3  # a shorter one is contained in too much by chance

# Common in published leaks; compared without the digits and signs that people put at the end.
_COMMON = frozenset(
    {
        "1q2w3e4r5t", "1q2w3e4r5t6y", "1qaz2wsx3edc", "abc", "abcabcabc", "abcdefghij",
        "abcdefghijk", "adminadmin", "administrator", "adminpassword", "asdfghjkl",
        "asdfghjkl;", "baseball", "basketball", "batman", "changeit", "changeme", "computer",
        "correcthorsebatterystaple", "default", "dragon", "football", "iloveyou",
        "iloveyouforever", "internet", "letmein", "letmeinplease", "monkey", "mypassword",
        "newpassword", "p@ssw0rd", "p@ssword", "passw0rd", "password", "passwordpassword",
        "pokemon", "princess", "qazwsxedc", "qazwsxedcrfv", "qwerty", "qwertyqwerty",
        "qwertyuiop", "qwertyuiop[]", "qwertzuiop", "rootroot", "secretsecret", "starwars",
        "sunshine", "superman", "testpassword", "testtest", "topsecret", "trustno1", "welcome",
        "welcomeback", "whatever", "zaq12wsxcde",
    }
)  # fmt: skip


def check_password(password: str, email: str = "") -> None:
    """Refuses a weak password; the message never repeats it.

    Args:
        password: What the user wants.
        email: The user's address; a password must not contain what stands before the `@`.

    Raises:
        InvalidArgument: `WEAK_PASSWORD`, on `user.password`.
    """
    local_part = email.partition("@")[0].lower()
    folded = password.lower()
    if len(password) < MIN_LENGTH:
        _refuse(f"The password must have at least {MIN_LENGTH} characters.")
    if _is_common(folded):
        _refuse("The password is one of those that everybody tries first.")
    if len(local_part) >= _MIN_LOCAL_PART and local_part in folded:
        _refuse("The password must not contain the name in the e-mail address.")


def _is_common(folded: str) -> bool:
    stem = folded.rstrip("0123456789!.?")
    return len(set(folded)) <= 2 or not stem or stem in _COMMON or folded in _COMMON  # noqa: PLR2004


def _refuse(message: str) -> None:
    raise InvalidArgument(message, reason="WEAK_PASSWORD", field="user.password")
