"""Authentication: whose token it is. Services verify tokens themselves and ignore identity headers."""

import time
from collections import OrderedDict
from dataclasses import dataclass, replace
from typing import Any
from uuid import UUID

from joserfc import jwt
from joserfc.errors import JoseError
from joserfc.jwk import KeySet

from crmkit.access import ANONYMOUS, Principal, service_principal
from crmkit.call import Call
from crmkit.clients import LIMITED_TO, ON_BEHALF_OF
from crmkit.errors import Unauthenticated
from crmkit.rights import Rights
from crmkit.service_tokens import SERVICE_ISSUER, ServiceKeys

AUDIENCE = "crm"
_LEEWAY_SECONDS = 60
_CACHE_SIZE = 10_000


@dataclass(frozen=True, slots=True)
class _Verified:
    expires: float
    user: UUID | None
    session: UUID | None
    service: str | None
    limits: tuple[str, ...] | None = None


class Authenticator:
    """Turns a bearer token into a principal with today's rights."""

    def __init__(self, rights: Rights, service_keys: ServiceKeys, issuer: str) -> None:
        self._rights = rights
        self._service_keys = service_keys
        self._issuer = issuer
        self._cache: OrderedDict[str, _Verified] = OrderedDict()
        self._keys: KeySet | None = None
        rights.on_change.append(self._forget_keys)

    def _forget_keys(self) -> None:
        self._keys = None
        self._cache.clear()

    async def authenticate(self, call: Call) -> Principal:
        """The caller: a user, a service (perhaps on behalf of a user), or nobody.

        Raises:
            Unauthenticated: There is a token but it is not valid, or its session or user has ended.
        """
        header = call.metadata.get("authorization", "")
        if not header:
            return ANONYMOUS
        scheme, _, token = header.partition(" ")
        if scheme.lower() != "bearer" or not token:
            msg = "The authorization must be a bearer token."
            raise Unauthenticated(msg, reason="INVALID_TOKEN")
        verified = self._cache.get(token)
        if verified is None:
            verified = self._verify(token)
            self._remember(token, verified)
        if verified.expires < time.time():
            msg = "The access token has expired."
            raise Unauthenticated(msg, reason="TOKEN_EXPIRED")
        return await self._principal(verified, call)

    async def _principal(self, verified: _Verified, call: Call) -> Principal:
        if verified.service is None:
            assert verified.user is not None
            if verified.user not in self._rights.users:
                await self._rights.until_known(verified.user)
            principal = self._rights.principal(verified.user, verified.session)
            return replace(principal, session=verified.session).limited_to(verified.limits)
        on_behalf_of = call.metadata.get(ON_BEHALF_OF, "")
        if not on_behalf_of:
            return service_principal(verified.service)
        user = self._rights.principal(_uuid(on_behalf_of.removeprefix("users/")))
        limits = call.metadata.get(LIMITED_TO)
        limited = user.limited_to(limits.split() if limits is not None else None)
        return replace(limited, service=verified.service)

    def _remember(self, token: str, verified: _Verified) -> None:
        self._cache[token] = verified
        while len(self._cache) > _CACHE_SIZE:
            self._cache.popitem(last=False)

    def _verify(self, token: str) -> _Verified:
        try:
            claims = self._claims(token)
        except (JoseError, ValueError, TypeError, KeyError, RecursionError) as error:
            msg = "The access token is not valid."
            raise Unauthenticated(msg, reason="INVALID_TOKEN") from error
        expires = float(claims["exp"])
        subject: str = claims["sub"]
        if claims["iss"] == SERVICE_ISSUER:
            return _Verified(expires, None, None, subject.removeprefix("services/"))
        session = _uuid(claims["sid"]) if claims.get("sid") else None
        # RFC 9068: what the token is limited to; without the claim it has all rights of its user.
        limits = tuple(str(claims["scope"]).split()) if "scope" in claims else None
        return _Verified(expires, _uuid(subject.removeprefix("users/")), session, None, limits)

    def _claims(self, token: str) -> dict[str, Any]:
        if self._keys is None:
            own = [key for key in self._rights.keys.values() if key]
            self._keys = KeySet.import_key_set({"keys": [*own, *self._service_keys.public]})
        decoded = jwt.decode(token, self._keys, algorithms=["ES256"])
        claims: dict[str, Any] = decoded.claims
        registry = jwt.JWTClaimsRegistry(
            leeway=_LEEWAY_SECONDS,
            aud={"essential": True, "value": AUDIENCE},
            exp={"essential": True},
            sub={"essential": True},
            iss={"essential": True, "values": [self._issuer, SERVICE_ISSUER]},
        )
        registry.validate(claims)
        signed_by_service = str(decoded.header.get("kid", "")).startswith("service-")
        if signed_by_service != (claims["iss"] == SERVICE_ISSUER):
            msg = "the key does not belong to the issuer"
            raise ValueError(msg)
        return claims


def _uuid(text: Any) -> UUID:
    try:
        return UUID(str(text))
    except ValueError as error:
        msg = "The access token is not valid."
        raise Unauthenticated(msg, reason="INVALID_TOKEN") from error
