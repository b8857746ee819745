"""Grants: what covers what, and that nobody gives what they lack."""

from collections.abc import Iterable
from itertools import product

import pytest
from hypothesis import given
from hypothesis import strategies as st

from crmkit import contract
from crmkit.access import Grants, RecordScope
from crmkit.errors import InvalidArgument, PermissionDenied
from identity.domain.built_in_roles import built_in_roles
from identity.domain.role import RECORD_SCOPES, Grant, check_grants, refuse_escalation

PERMISSIONS = contract.permissions()
PATTERNS = ("*", "sales.*", "sales.opportunities.*", "sales.opportunities.win", "customer.*")


@pytest.mark.parametrize(("held", "given_scope"), list(product(RECORD_SCOPES, RECORD_SCOPES)))
def test_a_scope_covers_itself_and_the_narrower_ones(held: str, given_scope: str) -> None:
    wide_enough = RECORD_SCOPES.index(held) >= RECORD_SCOPES.index(given_scope)
    assert Grant("sales.*", held).covers(Grant("sales.products.get", given_scope)) is wide_enough


def as_rights(some: Iterable[Grant]) -> Grants:
    return Grants([(g.permission, RecordScope[g.record_scope]) for g in some])


grants = st.builds(Grant, st.sampled_from(PATTERNS), st.sampled_from(RECORD_SCOPES))


@given(st.lists(grants, max_size=4), st.lists(grants, max_size=3))
def test_giving_never_creates_a_right_that_the_giver_lacks(
    held: list[Grant], gifts: list[Grant]
) -> None:
    """INVARIANT: for every permission, what is given is no wider than what the giver has."""
    try:
        refuse_escalation(held, gifts, "role.grants")
    except PermissionDenied:
        return
    own, given_away = as_rights(held), as_rights(gifts)
    for permission in PERMISSIONS:
        assert given_away.scope(permission) <= own.scope(permission)


def test_every_permission_and_every_prefix_of_one_can_be_granted() -> None:
    prefixes = {p.rsplit(".", 1)[0] + ".*" for p in PERMISSIONS}
    check_grants([Grant(p, "OWN") for p in ("*", *PERMISSIONS, *prefixes)], PERMISSIONS)


@pytest.mark.parametrize("permission", ["", "sales", "sale*", "sales*", "x.*", "sales.**"])
def test_what_is_no_permission_is_refused(permission: str) -> None:
    with pytest.raises(InvalidArgument) as refused:
        check_grants([Grant("*", "ALL"), Grant(permission, "ALL")], PERMISSIONS)
    assert refused.value.violations[0].field == "role.grants[1].permission"


def test_the_built_in_roles_grant_only_what_exists_and_one_of_them_everything() -> None:
    """A renamed permission does not silently leave a role."""
    roles = built_in_roles(PERMISSIONS)
    for role in roles:
        check_grants(role.grants, PERMISSIONS)
    assert [r.display_name for r in roles if Grant("*", "ALL") in r.grants] == ["Administrator"]
    assert len({r.id for r in roles}) == len(roles)


def test_the_reading_role_changes_nothing() -> None:
    read_only = next(r for r in built_in_roles(PERMISSIONS) if r.display_name == "Read-only")
    held = as_rights(read_only.grants)
    allowed = {p for p in PERMISSIONS if held.scope(p)}
    assert "customer.accounts.list" in allowed
    assert {p.rsplit(".", 1)[1] for p in allowed} == {"get", "list", "search"}
