"""Where identity keeps personal data of the people that the organisation deals with: nowhere.

It knows those who work here. Somebody may be both: erasing the customer does not take away the account
to sign in with.
"""

from crmkit.personal.declaration import Personal
from identity.storage.user import USERS

PERSONAL = Personal(
    persons=frozenset({USERS.name, "auditEntries", "apiKeys", "identityProviders"}),
    nothing=frozenset(
        {
            "organization",
            "second_factors", "recovery_codes", "external_identities", "logo", "signing_keys", "sessions",
            "refresh_tokens", "sign_in_attempts", "one_time_tokens",
        }
    ),
)  # fmt: skip
