"""The first start: a signing key, the organisation, what is built in, the first administrator."""

import structlog

from crmkit import contract
from crmkit.call import Call
from crmkit.errors import InvalidArgument
from identity.domain.built_in_pick_lists import BUILT_IN_PICK_LISTS, BuiltInPickList
from identity.domain.built_in_roles import ADMINISTRATOR, BuiltInRole, built_in_roles
from identity.domain.organization import ORGANIZATION_ID
from identity.domain.password import check_password
from identity.domain.role import Role
from identity.settings import IdentitySettings
from identity.storage.organization import ORGANIZATION, has_organization
from identity.storage.pick_list import PICK_LISTS
from identity.storage.role import ROLES
from identity.storage.user import USERS, has_users
from identity.usecases.passwords import hash_password
from identity.usecases.signing_keys import prepare_keys

_log = structlog.get_logger("crm.identity")


async def prepare(call: Call) -> None:
    """Makes what is missing; renews the built-in roles where a new version has changed them."""
    await prepare_keys(call)
    if not await has_organization(call.tx):
        await ORGANIZATION.insert(call, ORGANIZATION.new(call, {}, record_id=ORGANIZATION_ID))
    for pick_list in BUILT_IN_PICK_LISTS:
        await _put_pick_list(call, pick_list)
    for role in built_in_roles(contract.permissions()):
        await _put_role(call, role)
    if not await has_users(call.tx):
        await _add_administrator(call, call.home.settings)


async def _put_pick_list(call: Call, made: BuiltInPickList) -> None:
    """Makes a list that is not there; what people have made of it stays."""
    if not await PICK_LISTS.get_many(call, [made.id]):
        names = ("key", "display_name", "open")
        values = {name: getattr(made, name) for name in names}
        values |= {"entries": made.entries(), "built_in": True}
        await PICK_LISTS.insert(call, PICK_LISTS.new(call, values, record_id=made.id))


async def _put_role(call: Call, role: BuiltInRole) -> None:
    values: dict[str, object] = {"description": role.description, "grants": list(role.grants)}
    found = await ROLES.get_many(call, [role.id])
    if not found:
        values |= {"display_name": role.display_name, "built_in": True}
        await ROLES.insert(call, ROLES.new(call, values, record_id=role.id))
    elif any(getattr(found[0], name) != value for name, value in values.items()):
        stored: Role = await ROLES.for_change(call, role.id)
        stored.description, stored.grants = role.description, list(role.grants)
        await ROLES.save(call, stored)


async def _add_administrator(call: Call, settings: IdentitySettings) -> None:
    if settings.admin_password is None:
        _log.warning(
            "nobody can sign in: set CRM_ADMIN_PASSWORD (and CRM_ADMIN_EMAIL) and start again"
        )
        return
    password = settings.admin_password.get_secret_value()
    try:
        check_password(password, settings.admin_email)
    except InvalidArgument as weakness:
        _log.warning("the administrator's password is weak", reason=weakness.message)
    values = {
        "email": settings.admin_email,
        "display_name": "Administrator",
        "roles": [ADMINISTRATOR.id],
        "password_hash": await hash_password(password),
    }
    await USERS.insert(call, USERS.new(call, values))
    _log.info("the first administrator is there")
