"""Single sign-on over gRPC with a real OpenID Connect provider on this machine."""

import base64
import hashlib
import io
from collections.abc import Iterator
from dataclasses import dataclass, field
from datetime import timedelta
from typing import TYPE_CHECKING, Any
from urllib.parse import parse_qs, quote, urlsplit
from uuid import UUID, uuid4

import grpc
import httpx
import oidc_provider_mock
import pytest
import sqlalchemy as sa
from google.protobuf.field_mask_pb2 import FieldMask
from oidc_provider_mock._server import _threaded_server
from werkzeug.wrappers import Request

from crm.identity.v1 import (
    audit_entry_pb2,
    identity_provider_pb2_grpc,
    single_sign_on_pb2_grpc,
    user_pb2,
)
from crm.identity.v1 import identity_provider_pb2 as provider_pb
from crm.identity.v1 import single_sign_on_pb2 as pb
from crm.identity.v1.audit_entry_pb2_grpc import AuditEntryServiceStub
from crmkit.clock import clock
from crmkit.statements import compile_statement
from crmkit.testing.harness import ISSUER, details_of

if TYPE_CHECKING:
    from conftest import Identity

Provider = provider_pb.IdentityProvider
SECRET = "the provider's secret: 100% /ours"


@dataclass
class Elsewhere:
    """The provider, its people, and what it was asked for at the token endpoint."""

    url: str = ""
    asked: list[dict[str, str]] = field(default_factory=list)

    def knows(self, subject: str, **claims: object) -> None:
        """Somebody who can sign in there."""
        answer = httpx.put(f"{self.url}/users/{quote(subject)}", json=claims)
        assert answer.is_success, answer.text

    def signs_in(self, authorization_url: str, subject: str) -> dict[str, str]:
        """What the browser comes back with once the person has signed in."""
        answer = httpx.post(authorization_url, data={"sub": subject})
        assert answer.status_code == 302, answer.text
        address = urlsplit(answer.headers["location"])
        assert f"{address.scheme}://{address.netloc}{address.path}" == f"{ISSUER}/sso/callback"
        return {name: values[0] for name, values in parse_qs(address.query).items()}


@pytest.fixture(scope="module")
def running_provider() -> Iterator[Elsewhere]:
    """A provider that insists on a nonce; what it is asked is looked at on its way."""
    elsewhere = Elsewhere()
    app = oidc_provider_mock.app(require_nonce=True)

    def watched(environ: Any, start_response: Any) -> Any:
        size = int(environ.get("CONTENT_LENGTH") or 0)
        environ["wsgi.input"] = io.BytesIO(environ["wsgi.input"].read(size))
        if environ["PATH_INFO"] == "/oauth2/token":
            request = Request(environ)
            elsewhere.asked.append({**request.form.to_dict(), "auth": str(request.authorization)})
            environ["wsgi.input"].seek(0)
        return app(environ, start_response)

    with _threaded_server(app=watched) as server:
        elsewhere.url = f"http://localhost:{server.server_port}"
        yield elsewhere


@pytest.fixture
def elsewhere(running_provider: Elsewhere) -> Elsewhere:
    running_provider.asked.clear()
    return running_provider


def stub(identity: "Identity") -> Any:
    channel: Any = identity.under_test.channel
    return single_sign_on_pb2_grpc.SingleSignOnServiceStub(channel)


def providers(identity: "Identity") -> Any:
    channel: Any = identity.under_test.channel
    return identity_provider_pb2_grpc.IdentityProviderServiceStub(channel)


async def refused(call: grpc.aio.UnaryUnaryCall) -> tuple[str, list[str]]:
    with pytest.raises(grpc.aio.AioRpcError) as error:
        await call
    details = details_of(error.value)
    return details["reason"], details["fields"]


async def configure(identity: "Identity", elsewhere: Elsewhere, **fields: Any) -> Provider:
    admin = await identity.administrator()
    values = {
        "display_name": f"Work {uuid4()}", "issuer": elsewhere.url, "client_id": "crm",
        "client_secret": SECRET, **fields,
    }  # fmt: skip
    request = provider_pb.CreateIdentityProviderRequest(identity_provider=Provider(**values))
    made: Provider = await providers(identity).CreateIdentityProvider(
        request, metadata=admin.metadata
    )
    return made


async def start(
    identity: "Identity", provider: Provider, return_to: str = ""
) -> pb.StartSingleSignOnResponse:
    request = pb.StartSingleSignOnRequest(provider=provider.name, return_to=return_to)
    begun: pb.StartSingleSignOnResponse = await stub(identity).StartSingleSignOn(request)
    return begun


def finish(identity: "Identity", transaction: str, **came: str) -> grpc.aio.UnaryUnaryCall:
    request = pb.FinishSingleSignOnRequest(
        transaction=transaction, state=came["state"], code=came["code"]
    )
    call: grpc.aio.UnaryUnaryCall = stub(identity).FinishSingleSignOn(request)
    return call


async def sign_in(
    identity: "Identity", elsewhere: Elsewhere, provider: Provider, subject: str
) -> grpc.aio.UnaryUnaryCall:
    begun = await start(identity, provider)
    return finish(
        identity, begun.transaction, **elsewhere.signs_in(begun.authorization_url, subject)
    )


async def test_an_existing_user_signs_in_by_their_verified_address(
    identity: "Identity", elsewhere: Elsewhere
) -> None:
    """INVARIANT: by PKCE, state and nonce; the session is one like any other."""
    provider, ada = await configure(identity, elsewhere), await identity.user()
    elsewhere.knows("ada-1", email=ada.email.upper(), email_verified=True, name="Ada")
    begun = await start(identity, provider, "/opportunities?view=mine")
    asked = parse_qs(urlsplit(begun.authorization_url).query)
    assert asked["code_challenge_method"] == ["S256"]
    assert len(asked["nonce"][0]) >= 40
    came = elsewhere.signs_in(begun.authorization_url, "ada-1")
    finished = await finish(identity, begun.transaction, **came)
    assert (finished.session.user, finished.return_to) == (ada.name, "/opportunities?view=mine")
    (exchange,) = elsewhere.asked
    digest = hashlib.sha256(exchange["code_verifier"].encode()).digest()
    assert asked["code_challenge"] == [base64.urlsafe_b64encode(digest).decode().rstrip("=")]
    basic = base64.b64decode(exchange["auth"].removeprefix("Basic ")).decode()
    assert basic == f"crm:{quote(SECRET, safe='')}"
    assert "client_secret" not in exchange
    entries: Any = AuditEntryServiceStub(identity.under_test.channel)  # type: ignore[no-untyped-call]
    listing = audit_entry_pb2.ListAuditEntriesRequest(filter=f'actor = "{ada.name}"')
    admin = await identity.administrator()
    recorded = (await entries.ListAuditEntries(listing, metadata=admin.metadata)).audit_entries
    assert [e.action for e in recorded] == ["identity.SingleSignOnService.FinishSingleSignOn"]
    assert recorded[0].subject.startswith("sessions/")
    metadata = (("authorization", f"Bearer {finished.session.access_token}"),)
    me = await identity.users.GetCurrentUser(user_pb2.GetCurrentUserRequest(), metadata=metadata)
    assert me.name == ada.name


async def test_somebody_is_known_by_their_subject_afterwards(
    identity: "Identity", elsewhere: Elsewhere
) -> None:
    """INVARIANT: who gets the address of somebody who has left does not get their account."""
    provider, ada = await configure(identity, elsewhere), await identity.user()
    elsewhere.knows("ada-2", email=ada.email, email_verified=True)
    await (await sign_in(identity, elsewhere, provider, "ada-2"))
    elsewhere.knows("ada-2", email="married@example.com", email_verified=True)
    finished = await (await sign_in(identity, elsewhere, provider, "ada-2"))
    assert finished.session.user == ada.name


async def test_a_newcomer_is_made_a_user_where_that_is_wanted(
    identity: "Identity", elsewhere: Elsewhere
) -> None:
    """INVARIANT: with the roles of the settings, only from the domains of the settings."""
    role = await identity.role(("sales.*", "OWN"))
    fields = {"allowed_email_domains": ["Partner.Example"], "default_roles": [role.name]}
    provider = await configure(identity, elsewhere, create_users=True, **fields)
    elsewhere.knows("new-1", email="nina@partner.example", email_verified=True, name="Nina\n N")
    finished = await (await sign_in(identity, elsewhere, provider, "new-1"))
    admin = await identity.administrator()
    user = await identity.users.GetUser(
        user_pb2.GetUserRequest(name=finished.session.user), metadata=admin.metadata
    )
    assert (user.email, user.display_name) == ("nina@partner.example", "Nina N")
    assert list(user.roles) == [role.name]
    again = await (await sign_in(identity, elsewhere, provider, "new-1"))
    assert again.session.user == user.name
    for email in ("eve@evil.example", "eve@sub.partner.example", "eve@partner.example.evil.org"):
        elsewhere.knows("eve", email=email, email_verified=True)
        call = await sign_in(identity, elsewhere, provider, "eve")
        assert (await refused(call))[0] == "EMAIL_NOT_ALLOWED"


@pytest.mark.parametrize("verified", [False, None, "true", 1])
async def test_an_address_that_is_not_verified_is_nobodys(
    identity: "Identity", elsewhere: Elsewhere, *, verified: object
) -> None:
    """INVARIANT: whoever types somebody else's address at the provider does not become them."""
    provider, ada = await configure(identity, elsewhere), await identity.user()
    claims = {"email": ada.email} | ({} if verified is None else {"email_verified": verified})
    elsewhere.knows(f"eve-{verified}", **claims)
    call = await sign_in(identity, elsewhere, provider, f"eve-{verified}")
    assert (await refused(call))[0] == "EMAIL_NOT_VERIFIED"


async def test_unknown_inactive_and_service_users_stay_out(
    identity: "Identity", elsewhere: Elsewhere
) -> None:
    provider, admin = await configure(identity, elsewhere), await identity.administrator()
    elsewhere.knows("who", email="who@example.com", email_verified=True)
    call = await sign_in(identity, elsewhere, provider, "who")
    assert (await refused(call))[0] == "USER_UNKNOWN"
    ada = await identity.user()
    elsewhere.knows("ada-3", email=ada.email, email_verified=True)
    await (await sign_in(identity, elsewhere, provider, "ada-3"))
    await identity.users.DeactivateUser(
        user_pb2.DeactivateUserRequest(name=ada.name), metadata=admin.metadata
    )
    call = await sign_in(identity, elsewhere, provider, "ada-3")
    assert (await refused(call))[0] == "USER_NOT_ACTIVE"
    bot = user_pb2.User(email="bot@example.com", display_name="B", kind=user_pb2.User.SERVICE)
    await identity.users.CreateUser(user_pb2.CreateUserRequest(user=bot), metadata=admin.metadata)
    elsewhere.knows("bot", email="bot@example.com", email_verified=True)
    call = await sign_in(identity, elsewhere, provider, "bot")
    assert (await refused(call))[0] == "USER_NOT_ACTIVE"


async def test_only_the_browser_that_began_finishes(
    identity: "Identity", elsewhere: Elsewhere
) -> None:
    """INVARIANT: an attacker's sign-in is not completed in somebody else's browser, nor too late."""
    provider, ada = await configure(identity, elsewhere), await identity.user()
    elsewhere.knows("ada-4", email=ada.email, email_verified=True)
    mine, theirs = await start(identity, provider), await start(identity, provider)
    came = elsewhere.signs_in(theirs.authorization_url, "ada-4")
    flipped = theirs.transaction[:-9] + ("A" if theirs.transaction[-9] != "A" else "B") + "=" * 8
    for transaction in (mine.transaction, flipped, "rubbish", "é"):
        call = finish(identity, transaction, **came)
        assert (await refused(call))[0] == "INVALID_TRANSACTION"
    wrong_state = {**came, "state": came["state"] + "x"}
    call = finish(identity, theirs.transaction, **wrong_state)
    assert (await refused(call))[0] == "INVALID_TRANSACTION"
    with clock.shifted(timedelta(minutes=11)):
        call = finish(identity, theirs.transaction, **came)
        assert (await refused(call))[0] == "INVALID_TRANSACTION"
    assert not elsewhere.asked
    await finish(identity, theirs.transaction, **came)
    call = finish(identity, theirs.transaction, **came)
    assert (await refused(call))[0] == "PROVIDER_REFUSED"


async def test_a_code_of_another_sign_in_is_not_taken(
    identity: "Identity", elsewhere: Elsewhere
) -> None:
    """INVARIANT: the nonce binds what the provider says to this sign-in (code injection)."""
    provider, ada = await configure(identity, elsewhere), await identity.user()
    elsewhere.knows("ada-5", email=ada.email, email_verified=True)
    mine, theirs = await start(identity, provider), await start(identity, provider)
    stolen = elsewhere.signs_in(theirs.authorization_url, "ada-5")["code"]
    own = parse_qs(urlsplit(mine.authorization_url).query)["state"][0]
    call = finish(identity, mine.transaction, state=own, code=stolen)
    assert (await refused(call))[0] == "INVALID_ID_TOKEN"


@pytest.mark.parametrize(
    "page", ["//evil.example", "/\\evil.example", "https://evil.example", "javascript:x", "/a\r\nb"]
)
async def test_nobody_is_sent_to_another_site_afterwards(
    identity: "Identity", elsewhere: Elsewhere, page: str
) -> None:
    provider, ada = await configure(identity, elsewhere), await identity.user()
    elsewhere.knows("ada-6", email=ada.email, email_verified=True)
    begun = await start(identity, provider, page)
    came = elsewhere.signs_in(begun.authorization_url, "ada-6")
    assert (await finish(identity, begun.transaction, **came)).return_to == "/"


async def test_a_provider_that_is_away_or_is_another_says_so(
    identity: "Identity", elsewhere: Elsewhere
) -> None:
    away = await configure(identity, elsewhere, issuer="http://localhost:9")
    request = pb.StartSingleSignOnRequest(provider=away.name)
    assert (await refused(stub(identity).StartSingleSignOn(request)))[0] == "PROVIDER_UNREACHABLE"
    other = await configure(identity, elsewhere, issuer=elsewhere.url + "/")
    request = pb.StartSingleSignOnRequest(provider=other.name)
    assert (await refused(stub(identity).StartSingleSignOn(request)))[0] == "PROVIDER_NOT_USABLE"
    unknown = pb.StartSingleSignOnRequest(provider=f"identityProviders/{uuid4()}")
    assert (await refused(stub(identity).StartSingleSignOn(unknown)))[0] == "RECORD_NOT_FOUND"


async def test_only_who_may_do_everything_sets_a_provider_up(
    identity: "Identity", elsewhere: Elsewhere
) -> None:
    """INVARIANT: a provider of one's own would be a way to become the administrator."""
    clerk = await identity.person(("identity.*", "ALL"))
    given = Provider(display_name="Mine", issuer=elsewhere.url, client_id="crm")
    request = provider_pb.CreateIdentityProviderRequest(identity_provider=given)
    call = providers(identity).CreateIdentityProvider(request, metadata=clerk.metadata)
    assert await refused(call) == ("GRANT_NOT_HELD", ["identity_provider"])
    provider = await configure(identity, elsewhere)
    given = Provider(name=provider.name, issuer="https://evil.example")
    change = provider_pb.UpdateIdentityProviderRequest(identity_provider=given)
    call = providers(identity).UpdateIdentityProvider(change, metadata=clerk.metadata)
    assert (await refused(call))[0] == "GRANT_NOT_HELD"


@pytest.mark.parametrize(
    ("fields", "reason", "path"),
    [
        ({"issuer": "http://login.example"}, "INVALID_FIELD", "issuer"),
        ({"issuer": "https://u:p@login.example"}, "INVALID_FIELD", "issuer"),
        ({"issuer": "https://login.example/?a=b"}, "INVALID_FIELD", "issuer"),
        ({"allowed_email_domains": ["ok.org", "no domain"]}, "INVALID_FIELD", "allowed_email_domains[1]"),
        ({"create_users": True}, "ALLOWED_DOMAINS_REQUIRED", "allowed_email_domains"),
        ({"default_roles": [f"roles/{uuid4()}"]}, "REFERENCE_NOT_FOUND", "default_roles"),
    ],
)  # fmt: skip
async def test_settings_that_are_not_safe_are_refused(
    identity: "Identity", elsewhere: Elsewhere, fields: dict[str, Any], reason: str, path: str
) -> None:
    with pytest.raises(grpc.aio.AioRpcError) as error:
        await configure(identity, elsewhere, **fields)
    details = details_of(error.value)
    assert (details["reason"], details["fields"]) == (reason, [f"identity_provider.{path}"])


async def test_the_secret_is_never_shown(identity: "Identity", elsewhere: Elsewhere) -> None:
    """INVARIANT: sealed in the table, in no answer, no event, no history; it can be replaced."""
    provider, admin = await configure(identity, elsewhere), await identity.administrator()
    assert not provider.HasField("client_secret")
    given = Provider(name=provider.name, client_secret="another", display_name="ignored")
    changed = await providers(identity).UpdateIdentityProvider(
        provider_pb.UpdateIdentityProviderRequest(
            identity_provider=given, update_mask=FieldMask(paths=["client_secret"])
        ),
        metadata=admin.metadata,
    )
    assert (changed.display_name, changed.client_secret) == (provider.display_name, "")
    ada = await identity.user()
    elsewhere.knows("ada-7", email=ada.email, email_verified=True)
    await (await sign_in(identity, elsewhere, provider, "ada-7"))
    basic = base64.b64decode(elsewhere.asked[0]["auth"].removeprefix("Basic "))
    assert basic == b"crm:another"
    for table in ("identity_providers", "event_log", "revision", "idempotency"):
        rows = await identity.under_test.database.fetch_all(
            compile_statement(sa.text(f'SELECT t::text FROM "{table}" t'))
        )
        for (row,) in rows:
            assert SECRET not in row
            assert SECRET.encode().hex() not in row


async def test_the_sign_in_page_sees_names_and_nothing_else(
    identity: "Identity", elsewhere: Elsewhere
) -> None:
    provider, admin = await configure(identity, elsewhere), await identity.administrator()
    offered = await stub(identity).ListSignInProviders(pb.ListSignInProvidersRequest())
    assert provider.name in [p.name for p in offered.providers]
    await providers(identity).DeleteIdentityProvider(
        provider_pb.DeleteIdentityProviderRequest(name=provider.name), metadata=admin.metadata
    )
    offered = await stub(identity).ListSignInProviders(pb.ListSignInProvidersRequest())
    assert provider.name not in [p.name for p in offered.providers]
    request = pb.StartSingleSignOnRequest(provider=provider.name)
    assert (await refused(stub(identity).StartSingleSignOn(request)))[0] == "RECORD_NOT_FOUND"


async def test_a_purged_user_leaves_no_sign_in_data(
    identity: "Identity", elsewhere: Elsewhere
) -> None:
    """INVARIANT: neither the provider's name of them, nor a session, nor a link."""
    provider, admin = await configure(identity, elsewhere), await identity.administrator()
    ada = await identity.user()
    elsewhere.knows(f"subject-{ada.uid}", email=ada.email, email_verified=True)
    await (await sign_in(identity, elsewhere, provider, f"subject-{ada.uid}"))
    await identity.users.RequestPasswordReset(user_pb2.RequestPasswordResetRequest(email=ada.email))
    await identity.mailbox.to(ada.email)

    async def traces() -> int:
        tables = ("external_identities", "sessions", "one_time_tokens")
        counts = [f'(SELECT count(*) FROM {t} WHERE "user" = :id)' for t in tables]
        query = sa.text(f"SELECT {' + '.join(counts)}").bindparams(
            sa.bindparam("id", type_=sa.Uuid)
        )
        row = await identity.under_test.database.fetch_one(
            compile_statement(query), {"id": UUID(ada.uid)}
        )
        assert row is not None
        return int(row[0])

    assert await traces() == 3
    request: Any = user_pb2.DeleteUserRequest(name=ada.name)
    await identity.users.DeleteUser(request, metadata=admin.metadata)
    request = user_pb2.PurgeUserRequest(name=ada.name)
    await identity.users.PurgeUser(request, metadata=admin.metadata)
    assert await traces() == 0
