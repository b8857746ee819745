"""The identity service's table of contents."""

from pathlib import Path

from crmkit.service import Service
from crmtransfer.part import imports_and_exports
from identity.messaging.consumed import HANDLERS
from identity.rpc.api_key import ApiKeyService
from identity.rpc.identity_provider import IdentityProviderService
from identity.rpc.organization import OrganizationService
from identity.rpc.second_factor import SecondFactorService
from identity.rpc.session import SessionService
from identity.rpc.signing_key import SigningKeyService
from identity.rpc.single_sign_on import SingleSignOnService
from identity.rpc.user import UserService
from identity.settings import IdentitySettings
from identity.storage.api_key import API_KEYS
from identity.storage.audit_entry import AUDIT_ENTRIES, keep
from identity.storage.handover import HANDOVERS, note_own_part
from identity.storage.identity_provider import IDENTITY_PROVIDERS
from identity.storage.personal import PERSONAL
from identity.storage.pick_list import PICK_LISTS
from identity.storage.role import ROLES
from identity.storage.team import TEAMS
from identity.storage.user import USERS
from identity.usecases.access_tokens import AccessTokens
from identity.usecases.first_start import prepare
from identity.usecases.password_links import JOB, send_link
from identity.usecases.signing_keys import RETIRE, ROTATE, retire, rotate_by_age

_TOKENS = AccessTokens()

SERVICE = Service(
    name="identity",
    migrations=Path(__file__).parent / "migrations",
    collections=[
        USERS,
        TEAMS,
        ROLES,
        API_KEYS,
        PICK_LISTS,
        AUDIT_ENTRIES,
        IDENTITY_PROVIDERS,
        HANDOVERS,
    ],
    parts=[imports_and_exports],
    servicers={
        "crm.identity.v1.UserService": UserService(),
        "crm.identity.v1.SessionService": SessionService(_TOKENS),
        "crm.identity.v1.SecondFactorService": SecondFactorService(),
        "crm.identity.v1.SigningKeyService": SigningKeyService(),
        "crm.identity.v1.IdentityProviderService": IdentityProviderService(),
        "crm.identity.v1.SingleSignOnService": SingleSignOnService(_TOKENS),
        "crm.identity.v1.ApiKeyService": ApiKeyService(_TOKENS),
        "crm.identity.v1.OrganizationService": OrganizationService(),
    },
    consumes=HANDLERS,
    audit=keep,
    handover=note_own_part,
    jobs={JOB: send_link, ROTATE: rotate_by_age, RETIRE: retire},
    settings=IdentitySettings,
    on_first_start=prepare,
    personal=PERSONAL,
)
