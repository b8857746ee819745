"""Where identity providers are kept, and which of their people are which of our users."""

from uuid import UUID

import sqlalchemy as sa

from crm.identity.v1 import identity_provider_pb2
from crmkit.call import Call
from crmkit.collection import Collection
from crmkit.db import Executor, Transaction
from crmkit.statements import TEXT, TIMESTAMP, compile_statement, record_table
from identity.domain.identity_provider import IdentityProvider
from identity.domain.role import EVERYTHING, refuse_escalation
from identity.storage.role import held_grants
from identity.storage.schema import IDENTITY, sealer

identity_providers = record_table(
    "identity_providers",
    IDENTITY,
    sa.Column("display_name", TEXT, nullable=False),
    sa.Column("issuer", TEXT, nullable=False),
    sa.Column("client_id", TEXT, nullable=False),
    sa.Column("allowed_email_domains", sa.ARRAY(TEXT), nullable=False),
    sa.Column("default_roles", sa.ARRAY(sa.Uuid), nullable=False),
    sa.Column("create_users", sa.Boolean, nullable=False),
    sa.Column("sealed_client_secret", sa.LargeBinary),
    sa.Index("uq_identity_providers_display_name", "display_name", unique=True),
)
external_identities = sa.Table(
    "external_identities",
    IDENTITY,
    sa.Column("provider", sa.Uuid, primary_key=True),
    sa.Column("subject", TEXT, primary_key=True),
    sa.Column("user", sa.Uuid, nullable=False, index=True),
    sa.Column("create_time", TIMESTAMP, nullable=False),
)


async def _everything_is_needed(
    call: Call, _after: IdentityProvider, _before: IdentityProvider | None
) -> None:
    """Whoever controls a provider can sign in as an administrator."""
    refuse_escalation(held_grants(call), {EVERYTHING}, "identity_provider")


IDENTITY_PROVIDERS = Collection(
    identity_provider_pb2.IdentityProvider,
    IdentityProvider,
    identity_providers,
    rule=_everything_is_needed,
    private=frozenset({"sealed_client_secret"}),
    purged_by_age=False,
)

_BY_ID = compile_statement(
    sa.select(*IDENTITY_PROVIDERS.codec.columns).where(
        identity_providers.c.id == sa.bindparam("id", type_=sa.Uuid),
        identity_providers.c.delete_time.is_(None),
    )
)
_OFFERED = compile_statement(
    sa.select(identity_providers.c.id, identity_providers.c.display_name)
    .where(identity_providers.c.delete_time.is_(None))
    .order_by(identity_providers.c.display_name)
    .limit(100)
)
_same_person = sa.and_(
    external_identities.c.provider == sa.bindparam("by", type_=sa.Uuid),
    external_identities.c.subject == sa.bindparam("named", type_=TEXT),
)
_LINKED = compile_statement(sa.select(external_identities.c.user).where(_same_person))
_LINK = compile_statement(
    external_identities.insert().values(
        {c.name: sa.bindparam(c.name, type_=c.type) for c in external_identities.columns}
    )
)


def seal_client_secret(call: Call, provider: IdentityProvider, secret: str) -> None:
    """Gives a provider its secret; an empty one removes it."""
    purpose = f"identityProviders/{provider.id}"
    box = sealer(call).seal(secret.encode(), purpose) if secret else None
    provider.sealed_client_secret = box


def client_secret_of(call: Call, provider: IdentityProvider) -> str:
    """A provider's secret; empty if it has none."""
    if provider.sealed_client_secret is None:
        return ""
    box = bytes(provider.sealed_client_secret)
    return sealer(call).unseal(box, f"identityProviders/{provider.id}").decode()


async def provider_by_id(executor: Executor, provider: UUID) -> IdentityProvider | None:
    """A provider that is in use, whoever asks: for signing in."""
    row = await executor.fetch_one(_BY_ID, {"id": provider})
    return IDENTITY_PROVIDERS.codec.from_row(row) if row is not None else None


async def offered_providers(executor: Executor) -> list[tuple[UUID, str]]:
    """Id and display name of every provider in use, by name."""
    return [(row[0], row[1]) for row in await executor.fetch_all(_OFFERED)]


async def linked_user(executor: Executor, provider: UUID, subject: str) -> UUID | None:
    """Which user somebody is whom a provider has named before."""
    row = await executor.fetch_one(_LINKED, {"by": provider, "named": subject})
    return row[0] if row is not None else None


async def link(call: Call, tx: Transaction, provider: UUID, subject: str, user: UUID) -> None:
    """Remembers which user somebody is; two at once get ALREADY_EXISTS and try again."""
    row = {"provider": provider, "subject": subject, "user": user, "create_time": call.now}
    await tx.execute(_LINK, row)
