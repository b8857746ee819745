"""The audit log: what identity itself records, and who may see it."""

from typing import TYPE_CHECKING, Any

import grpc
import psycopg
import pytest

from crm.common.v1.audit_pb2 import AuditRecord
from crm.identity.v1 import api_key_pb2, role_pb2, session_pb2, user_pb2
from crm.identity.v1 import audit_entry_pb2 as pb
from crm.identity.v1.audit_entry_pb2_grpc import AuditEntryServiceStub
from crm.options.v1 import options_pb2
from crmkit.ids import uuid7

if TYPE_CHECKING:
    from conftest import Identity

Outcome = AuditRecord.Outcome
FROM = ("x-crm-client-address", "192.0.2.7")


async def entries(identity: "Identity", filter_: str, metadata: Any = None) -> list[pb.AuditEntry]:
    stub: Any = AuditEntryServiceStub(identity.under_test.channel)  # type: ignore[no-untyped-call]
    metadata = metadata or (await identity.administrator()).metadata
    request = pb.ListAuditEntriesRequest(filter=filter_)
    return list((await stub.ListAuditEntries(request, metadata=metadata)).audit_entries)


async def test_signing_in_and_failing_to_is_recorded_with_the_address(identity: "Identity") -> None:
    """INVARIANT: both outcomes, each once: who, from where, why; never what was typed."""
    person = await identity.person()
    request = session_pb2.CreateSessionRequest(email=person.email, password="wrong")
    with pytest.raises(grpc.aio.AioRpcError):
        await identity.sessions.CreateSession(request, metadata=(FROM,))
    request.password = "a long enough secret"
    await identity.sessions.CreateSession(request, metadata=(FROM,))
    refused = await entries(identity, f'subject = "{person.name}" AND outcome = REFUSED')
    assert [(e.actor, e.reason, e.client_address) for e in refused] == [
        ("anonymous", "INVALID_CREDENTIALS", "192.0.2.7")
    ]
    done = await entries(identity, f'actor = "{person.name}" AND client_address = "192.0.2.7"')
    assert [(e.action, e.subject.split("/")[0], e.creator) for e in done] == [
        ("identity.SessionService.CreateSession", "sessions", person.name)
    ]
    assert all(e.category == options_pb2.SIGN_IN for e in refused + done)
    strangers = session_pb2.CreateSessionRequest(email="who@example.com", password="x")
    with pytest.raises(grpc.aio.AioRpcError):
        await identity.sessions.CreateSession(strangers, metadata=(("x-request-id", "stranger-1"),))
    (stranger,) = await entries(identity, 'correlation_id = "stranger-1"')
    assert "example.com" not in str(stranger)


async def test_a_change_of_rights_is_recorded_once_also_where_it_is_repeated(
    identity: "Identity",
) -> None:
    """INVARIANT: the entry and the change are there together: not twice, and not for a failed one."""
    admin = await identity.administrator()
    role = role_pb2.Role(display_name=f"Audited {uuid7()}")
    request = role_pb2.CreateRoleRequest(role=role, request_id=str(uuid7()))
    made = [await identity.roles.CreateRole(request, metadata=admin.metadata) for _ in range(2)]
    assert made[0] == made[1]
    (entry,) = await entries(identity, f'subject = "{made[0].name}"')
    assert (entry.action, entry.actor) == ("identity.RoleService.CreateRole", admin.name)
    assert entry.category == options_pb2.RIGHTS
    with pytest.raises(grpc.aio.AioRpcError):  # the name is taken
        await identity.roles.CreateRole(
            role_pb2.CreateRoleRequest(role=role),
            metadata=(*admin.metadata, ("x-request-id", "taken-1")),
        )
    assert not await entries(identity, 'correlation_id = "taken-1"')


async def test_what_somebody_may_not_do_is_recorded_as_refused(identity: "Identity") -> None:
    clerk = await identity.person(("identity.users.get", "ALL"))
    victim = await identity.user()
    with pytest.raises(grpc.aio.AioRpcError):
        await identity.users.DeactivateUser(
            user_pb2.DeactivateUserRequest(name=victim.name), metadata=clerk.metadata
        )
    (entry,) = await entries(identity, f'actor = "{clerk.name}" AND category = RIGHTS')
    assert (entry.outcome, entry.reason) == (2, "PERMISSION_DENIED")


async def test_the_log_is_the_administrators(identity: "Identity") -> None:
    """INVARIANT: no built-in role but the administrator's reads it."""
    admin = await identity.administrator()
    page = await identity.roles.ListRoles(
        role_pb2.ListRolesRequest(filter="built_in = true"), metadata=admin.metadata
    )
    for role in page.roles:
        if role.display_name == "Administrator":
            continue
        user = await identity.user(role.name)
        session = await identity.sign_in(user.email)
        metadata = (("authorization", f"Bearer {session.access_token}"),)
        with pytest.raises(grpc.aio.AioRpcError) as refused:
            await entries(identity, "", metadata)
        assert refused.value.code() == grpc.StatusCode.PERMISSION_DENIED


@pytest.mark.parametrize(
    "statement",
    ["UPDATE audit_entries SET actor = 'x'", "DELETE FROM audit_entries", "TRUNCATE audit_entries"],
)
async def test_the_database_itself_refuses_to_change_the_log(
    identity: "Identity", statement: str
) -> None:
    """INVARIANT: append-only also for whoever has the service's own connection."""
    async with identity.under_test.database.connection() as connection:
        with pytest.raises(psycopg.errors.RaiseException, match="append-only"):
            await connection.execute(statement)


async def test_each_exchange_of_a_key_is_recorded_and_guesses_are_not(identity: "Identity") -> None:
    """INVARIANT: who used which key, and who tried one that has ended; random text fills no log."""
    person = await identity.person(("identity.apiKeys.*", "OWN"))
    request = api_key_pb2.CreateApiKeyRequest(api_key={"display_name": "k"})
    key = await identity.api_keys.CreateApiKey(request, metadata=person.metadata)
    exchange = api_key_pb2.ExchangeApiKeyRequest(key=key.key)
    for _ in range(2):
        await identity.api_keys.ExchangeApiKey(exchange, metadata=(FROM,))
    delete = api_key_pb2.DeleteApiKeyRequest(name=key.name)
    await identity.api_keys.DeleteApiKey(delete, metadata=person.metadata)
    with pytest.raises(grpc.aio.AioRpcError):
        await identity.api_keys.ExchangeApiKey(exchange, metadata=(FROM,))
    guess = api_key_pb2.ExchangeApiKeyRequest(key="crm_aaaaaaaaaaaa_" + "x" * 43)
    with pytest.raises(grpc.aio.AioRpcError):
        await identity.api_keys.ExchangeApiKey(guess, metadata=(("x-request-id", "guess-1"),))
    action = 'action = "identity.ApiKeyService.ExchangeApiKey"'
    found = await entries(identity, f'{action} AND subject = "{key.name}"')
    refused, *done = found  # the newest first
    assert [(e.actor, e.outcome) for e in done] == [(person.name, Outcome.SUCCEEDED)] * 2
    assert (refused.outcome, refused.reason) == (Outcome.REFUSED, "INVALID_API_KEY")
    assert {e.client_address for e in found} == {"192.0.2.7"}
    assert await entries(identity, 'correlation_id = "guess-1"') == []
    assert key.key not in str(found)
