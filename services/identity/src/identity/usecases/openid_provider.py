"""Talking to an OpenID Connect provider: discovery, authorization code, ID token.

Sources: OpenID Connect Core 1.0 and Discovery 1.0; RFC 7636 (PKCE), RFC 9700 (OAuth security).
"""

import base64
import hashlib
import time
from collections import OrderedDict
from dataclasses import dataclass
from typing import Any
from urllib.parse import quote, urlencode

import httpx
import structlog
from joserfc import jwt
from joserfc.errors import JoseError
from joserfc.jwk import KeySet

from crmkit.errors import FailedPrecondition, Unauthenticated, Unavailable
from identity.domain.identity_provider import IdentityProvider, is_safe_url

_SECONDS = 5.0
_LARGEST_ANSWER = 1 << 20
_KEPT_SECONDS = 600.0
_MOST_KEPT = 20
_LEEWAY_SECONDS = 60
_ALGORITHMS = ["RS256", "ES256", "PS256", "RS384", "ES384", "PS384", "RS512", "ES512", "PS512"]
_log = structlog.get_logger("crm.identity")


@dataclass(frozen=True)
class _Discovered:
    """What a provider says of itself."""

    authorization_endpoint: str
    token_endpoint: str
    jwks_uri: str
    in_header: bool  # how it wants our secret
    until: float


class OpenIdProviders:
    """Knows the providers' endpoints for ten minutes."""

    def __init__(self) -> None:
        self._known: OrderedDict[str, _Discovered] = OrderedDict()

    async def authorization_url(
        self,
        provider: IdentityProvider,
        *,
        redirect_uri: str,
        state: str,
        nonce: str,
        verifier: str,
    ) -> str:
        """Where to send the browser.

        Raises:
            Unavailable: `PROVIDER_UNREACHABLE`.
            FailedPrecondition: `PROVIDER_NOT_USABLE`: discovery does not say what it must.
        """
        found = await self._discovered(provider.issuer)
        query = urlencode(
            {
                "response_type": "code",
                "client_id": provider.client_id,
                "redirect_uri": redirect_uri,
                "scope": "openid email profile",
                "state": state,
                "nonce": nonce,
                "code_challenge": _challenge(verifier),
                "code_challenge_method": "S256",
            }
        )
        joint = "&" if "?" in found.authorization_endpoint else "?"
        return f"{found.authorization_endpoint}{joint}{query}"

    async def claims(
        self, provider: IdentityProvider, secret: str, *, code: str, redirect_uri: str, nonce: str,
        verifier: str,
    ) -> dict[str, Any]:  # fmt: skip
        """What the provider says of the person whom it sent back with this code; verified.

        Raises:
            Unauthenticated: `PROVIDER_REFUSED` the code; or `INVALID_ID_TOKEN`.
            Unavailable: `PROVIDER_UNREACHABLE`.
        """
        found = await self._discovered(provider.issuer)
        form = {
            "grant_type": "authorization_code",
            "code": code,
            "redirect_uri": redirect_uri,
            "code_verifier": verifier,
        }
        auth = None
        if secret and found.in_header:
            auth = httpx.BasicAuth(quote(provider.client_id, safe=""), quote(secret, safe=""))
        else:
            form["client_id"] = provider.client_id
            if secret:
                form["client_secret"] = secret
        answer = await _ask("POST", found.token_endpoint, data=form, auth=auth)
        token = answer.get("id_token")
        if not isinstance(token, str):
            # Its `error` is one of a short list (RFC 6749); the description may name people.
            _log.warning("sign-in refused by the provider", error=str(answer.get("error"))[:50])
            msg = "The identity provider refused the sign-in."
            raise Unauthenticated(msg, reason="PROVIDER_REFUSED")
        return await self._verified(provider, found, token, nonce)

    async def _verified(
        self, provider: IdentityProvider, found: _Discovered, token: str, nonce: str
    ) -> dict[str, Any]:
        registry = jwt.JWTClaimsRegistry(
            leeway=_LEEWAY_SECONDS,
            iss={"essential": True, "value": provider.issuer},
            aud={"essential": True, "value": provider.client_id},
            sub={"essential": True},
            exp={"essential": True},
            iat={"essential": True},
            nonce={"essential": True, "value": nonce},
        )
        try:
            keys = KeySet.import_key_set(await _ask("GET", found.jwks_uri))  # type: ignore[arg-type]
            claims: dict[str, Any] = jwt.decode(token, keys, algorithms=_ALGORITHMS).claims
            registry.validate(claims)
        except (JoseError, ValueError, TypeError, KeyError) as error:
            raise _invalid(type(error).__name__) from None
        several = isinstance(claims["aud"], list) and len(claims["aud"]) > 1
        if claims.get("azp", "" if several else provider.client_id) != provider.client_id:
            why = "made for another client"
            raise _invalid(why)
        return claims

    async def _discovered(self, issuer: str) -> _Discovered:
        known = self._known.get(issuer)
        if known is None or known.until < time.monotonic():
            known = await _discover(issuer)
            self._known[issuer] = known
            while len(self._known) > _MOST_KEPT:
                self._known.popitem(last=False)
        return known


def _invalid(why: str) -> Unauthenticated:
    _log.warning("ID token not valid", why=why)
    msg = "What the identity provider says cannot be verified."
    return Unauthenticated(msg, reason="INVALID_ID_TOKEN")


async def _discover(issuer: str) -> _Discovered:
    said = await _ask("GET", issuer.rstrip("/") + "/.well-known/openid-configuration")
    names = ("authorization_endpoint", "token_endpoint", "jwks_uri")
    authorization, token, keys = (str(said.get(name)) for name in names)
    usable = all(is_safe_url(url) for url in (authorization, token, keys))
    # Another issuer than asked for could speak for somebody else's people.
    if said.get("issuer") != issuer or not usable:
        msg = "The identity provider's configuration is not that of this issuer, or not secure."
        raise FailedPrecondition(msg, reason="PROVIDER_NOT_USABLE")
    methods = said.get("token_endpoint_auth_methods_supported", ["client_secret_basic"])
    until = time.monotonic() + _KEPT_SECONDS
    return _Discovered(authorization, token, keys, "client_secret_basic" in methods, until)


async def _ask(method: str, url: str, **content: Any) -> dict[str, Any]:
    """The JSON object that a provider answers, also with an error."""
    try:
        async with (
            httpx.AsyncClient(timeout=_SECONDS, follow_redirects=False, trust_env=False) as client,
            client.stream(method, url, **content) as response,
        ):
            body = b""
            async for chunk in response.aiter_bytes():
                body += chunk
                if len(body) > _LARGEST_ANSWER:
                    break
        answer = httpx.Response(response.status_code, content=body).json()
    except (httpx.HTTPError, ValueError) as error:
        _log.warning("identity provider not reachable", error=type(error).__name__)
        msg = "The identity provider cannot be reached."
        raise Unavailable(msg, reason="PROVIDER_UNREACHABLE", retry_after=5) from None
    if response.status_code >= httpx.codes.INTERNAL_SERVER_ERROR or not isinstance(answer, dict):
        msg = "The identity provider has trouble of its own."
        raise Unavailable(msg, reason="PROVIDER_UNREACHABLE", retry_after=5)
    return answer


def _challenge(verifier: str) -> str:
    digest = hashlib.sha256(verifier.encode()).digest()
    return base64.urlsafe_b64encode(digest).decode().rstrip("=")
