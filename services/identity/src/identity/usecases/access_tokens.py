"""Access tokens: what every service verifies by itself."""

from collections.abc import Sequence
from datetime import datetime
from uuid import UUID

from joserfc import jwt
from joserfc.jwk import ECKey

from crmkit.call import Call
from identity.domain.session import ACCESS_LIFETIME
from identity.domain.signing_key import SigningKey, signing_now
from identity.domain.user import User
from identity.storage.signing_key import all_keys


class AccessTokens:
    """Signs access tokens with the key whose turn it is."""

    def __init__(self) -> None:
        self._keys: list[SigningKey] = []

    async def issue(
        self,
        call: Call,
        user: User,
        session: UUID,
        *,
        until: datetime | None = None,
        limits: Sequence[str] = (),
    ) -> tuple[str, datetime]:
        """A token and when it expires: in ten minutes, or at `until` if that is sooner.

        Args:
            call: The work in which it is asked for.
            user: Who acts with it.
            session: What can be revoked: the session, or the API key that was exchanged.
            until: When whatever it stands for ends.
            limits: The permissions that it is limited to, as patterns; none: all that the user has.
        """
        key = await self._current(call)
        issued = call.now.replace(microsecond=0)
        expires = issued + ACCESS_LIFETIME
        if until is not None:
            expires = min(expires, until.replace(microsecond=0))
        claims = {
            "iss": call.home.settings.public_url,
            "aud": "crm",
            "sub": f"users/{user.id}",
            "sid": str(session),
            "roles": [f"roles/{role}" for role in user.roles],
            "iat": int(issued.timestamp()),
            "exp": int(expires.timestamp()),
        }
        if limits:
            claims["scope"] = " ".join(limits)
        header = {"alg": "ES256", "kid": key.kid}
        return jwt.encode(header, claims, key, algorithms=["ES256"]), expires

    async def _current(self, call: Call) -> ECKey:
        """The key whose turn it is; all are read again where others are valid than those known."""
        if {key.kid for key in self._keys} != set(call.home.rights.keys):
            self._keys = await all_keys(call.reader, call)
        pair: ECKey = signing_now(self._keys, call.now).pair
        return pair
