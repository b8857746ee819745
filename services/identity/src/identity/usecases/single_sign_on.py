"""Signing in with an account elsewhere.

What must be remembered between the two steps lies sealed in the browser: nothing is stored until somebody
has really signed in, and nobody else's browser can complete a sign-in.
"""

import base64
import binascii
import hmac
import json
from dataclasses import replace
from typing import Any
from uuid import UUID

from crmkit import audit
from crmkit.access import service_principal
from crmkit.call import Call
from crmkit.db import Transaction
from crmkit.errors import NotFound, Unauthenticated
from crmkit.names import parse_name
from crmkit.sealing import UnsealError
from identity.domain.identity_provider import IdentityProvider, Person, local_page
from identity.domain.session import Session, new_secret
from identity.domain.user import User
from identity.storage.identity_provider import (
    client_secret_of,
    link,
    linked_user,
    provider_by_id,
)
from identity.storage.schema import sealer
from identity.storage.user import USERS, user_by_email, user_held_still
from identity.usecases.openid_provider import OpenIdProviders
from identity.usecases.sign_in import begin_session

_PURPOSE = "single sign-on"
_SECONDS_TO_FINISH = 600


def _redirect_uri(call: Call) -> str:
    return f"{call.home.settings.public_url.rstrip('/')}/sso/callback"


async def start(
    call: Call, providers: OpenIdProviders, name: str, return_to: str
) -> tuple[str, str]:
    """Where to send the browser, and the transaction that it must bring back."""
    provider_id = parse_name(name, collection="identityProviders", field="provider")
    provider = await provider_by_id(call.home.database, provider_id)
    if provider is None:
        msg = f"There is no {name}."
        raise NotFound(msg, metadata={"resource": name})
    state, nonce, verifier = new_secret(), new_secret(), new_secret()
    url = await providers.authorization_url(
        provider, redirect_uri=_redirect_uri(call), state=state, nonce=nonce, verifier=verifier
    )
    kept = {
        "provider": str(provider.id),
        "state": state,
        "nonce": nonce,
        "verifier": verifier,
        "return_to": local_page(return_to),
        "until": call.now.timestamp() + _SECONDS_TO_FINISH,
    }
    sealed = sealer(call).seal(json.dumps(kept).encode(), _PURPOSE)
    return url, base64.urlsafe_b64encode(sealed).decode()


async def finish(
    call: Call, providers: OpenIdProviders, transaction: str, state: str, code: str
) -> tuple[Session, str, str]:
    """The session with its refresh token, and the page to show.

    Raises:
        Unauthenticated: Names why by its reason; see FinishSingleSignOn.
    """
    audit.keep_quiet(call)  # until it is known that it was begun here
    kept = _opened(call, transaction, state)
    audit.keep_quiet(call, quiet=False)
    provider = await provider_by_id(call.home.database, UUID(kept["provider"]))
    if provider is None:
        raise _invalid_transaction()
    claims = await providers.claims(
        provider,
        client_secret_of(call, provider),
        code=code,
        redirect_uri=_redirect_uri(call),
        nonce=kept["nonce"],
        verifier=kept["verifier"],
    )
    async with call.home.database.transaction() as tx:
        user = await _user_of(call, tx, provider, Person.of(claims))
        session, token = await begin_session(replace(call, tx=tx), user)
        audit.about(call, actor=f"users/{user.id}")
        await audit.record(replace(call, tx=tx), f"sessions/{session.id}")
    return session, token, kept["return_to"]


def _opened(call: Call, transaction: str, state: str) -> dict[str, Any]:
    try:
        sealed = base64.urlsafe_b64decode(transaction.encode())
        kept: dict[str, Any] = json.loads(sealer(call).unseal(sealed, _PURPOSE))
    except (UnsealError, binascii.Error, ValueError):
        raise _invalid_transaction() from None
    same = hmac.compare_digest(kept["state"].encode(), state.encode())
    if not same or call.now.timestamp() > kept["until"]:
        raise _invalid_transaction()
    return kept


def _invalid_transaction() -> Unauthenticated:
    msg = "This sign-in was not begun in this browser, or took too long; begin again."
    return Unauthenticated(msg, reason="INVALID_TRANSACTION")


async def _user_of(call: Call, tx: Transaction, provider: IdentityProvider, person: Person) -> User:
    """Our user for somebody: linked before, of the same verified address, or made now."""
    if person.email:
        provider.refuse_address(person.email)
    user_id = await linked_user(tx, provider.id, person.subject)
    if user_id is None:
        user_id = await _link(call, tx, provider, person)
    # Whoever deactivates the user meanwhile waits, then ends the session.
    user = await user_held_still(tx, user_id)
    if user is None or not user.may_sign_in or user.is_service:
        msg = "The user may not sign in."
        raise Unauthenticated(msg, reason="USER_NOT_ACTIVE")
    return user


async def _link(call: Call, tx: Transaction, provider: IdentityProvider, person: Person) -> UUID:
    if not person.email:
        msg = "The identity provider does not vouch for the e-mail address."
        raise Unauthenticated(msg, reason="EMAIL_NOT_VERIFIED")
    user = await user_by_email(tx, person.email)
    if user is None:
        if not provider.create_users:
            msg = "There is no user with this address."
            raise Unauthenticated(msg, reason="USER_UNKNOWN")
        user = await _create(call, tx, provider, person)
    await link(call, tx, provider.id, person.subject, user.id)
    return user.id


async def _create(call: Call, tx: Transaction, provider: IdentityProvider, person: Person) -> User:
    """Makes the user; it is the provider's settings that give the roles, not the person."""
    ours = replace(call, tx=tx, principal=service_principal(call.home.name))
    values = {
        "email": person.email,
        "display_name": person.display_name,
        "roles": list(provider.default_roles),
    }
    return await USERS.insert(ours, USERS.new(ours, values))
