"""Where saved views are kept, and who sees which.

The owner sees a view; the team sees a team's view, as does whoever's record scope reaches it; everyone
sees a public one. Whoever is not the owner may change one that is not private, if their scope reaches it.
"""

from collections.abc import Mapping, Sequence
from dataclasses import replace
from uuid import UUID

import sqlalchemy as sa
from sqlalchemy.dialects.postgresql import insert

from crm.workspace.v1 import saved_view_pb2
from crmkit.access import EVERYTHING, Principal, RecordScope
from crmkit.call import Call
from crmkit.collection import Collection
from crmkit.errors import PermissionDenied
from crmkit.etags import check_etag
from crmkit.listing import Listing
from crmkit.statements import TEXT, compile_statement, record_table
from workspace.domain.saved_view import SavedView
from workspace.queries.contract_fields import (
    check_columns,
    check_filter,
    check_order_by,
    check_resource,
)
from workspace.storage.schema import WORKSPACE

saved_views = record_table(
    "saved_views",
    WORKSPACE,
    sa.Column("resource", TEXT, nullable=False),
    sa.Column("display_name", TEXT, nullable=False),
    sa.Column("filter", TEXT),
    sa.Column("order_by", TEXT),
    sa.Column("columns", sa.ARRAY(TEXT), nullable=False),
    sa.Column("layout", TEXT, nullable=False),
    sa.Column("density", TEXT, nullable=False),
    sa.Column("visibility", TEXT, nullable=False),
    sa.Column("position", sa.Integer),
    sa.Index("ix_saved_views_resource", "resource", "id"),
)

# Which view somebody has chosen for a resource: theirs, not the view's.
default_views = sa.Table(
    "default_views",
    WORKSPACE,
    sa.Column("user", sa.Uuid, primary_key=True),
    sa.Column("resource", TEXT, primary_key=True),
    sa.Column("saved_view", sa.Uuid, nullable=False),
)


def _condition(table: sa.FromClause, scope: RecordScope) -> sa.ColumnElement[bool]:
    """The views that a caller may see within a scope; its values come from `_parameters`."""
    team = table.c.team == sa.bindparam("scope_team", type_=sa.Uuid)
    if scope is RecordScope.SUBTREE:
        team = sa.or_(
            team, table.c.team == sa.any_(sa.bindparam("scope_teams", type_=sa.ARRAY(sa.Uuid)))
        )
    of_team = table.c.visibility == "TEAM"
    return sa.or_(
        table.c.owner == sa.bindparam("scope_user", type_=sa.Uuid),
        table.c.visibility == "PUBLIC",
        of_team if scope is RecordScope.ALL else sa.and_(of_team, team),
    )


def _parameters(principal: Principal, scope: RecordScope) -> Mapping[str, object]:
    teams = {"scope_teams": list(principal.subtree)} if scope is RecordScope.SUBTREE else {}
    return {"scope_user": principal.user, "scope_team": principal.team, **teams}


def _sees(principal: Principal, scope: RecordScope, view: SavedView) -> bool:
    if view.owner is not None and view.owner == principal.user:
        return True
    if view.visibility == "TEAM":
        in_team = view.team is not None and view.team == principal.team
        return in_team or principal.covers(scope, view.owner, view.team)
    return view.visibility == "PUBLIC"


def _unlimited(call: Call) -> Call:
    """The same work where the record scope is decided here, not in the kit."""
    return replace(call, principal=replace(call.principal, grants=EVERYTHING))


class SavedViews(Collection[SavedView]):
    """The collection, with its own rule of who sees what."""

    # A private view's events would otherwise reach everyone with a wide scope.
    event_scope = RecordScope.OWN

    async def get(
        self, call: Call, name: str | UUID, *, permission: str = "", field: str = "name"
    ) -> SavedView:
        """One view that the caller sees; raises NotFound."""
        scope = self.scope(call, permission or self.permission("get"))
        view = await super().get(_unlimited(call), name, permission=permission, field=field)
        if not _sees(call.principal, scope, view):
            raise self.not_found(self.codec.name_of(view.id))
        return view

    async def get_many(
        self, call: Call, ids: Sequence[UUID], *, permission: str = ""
    ) -> list[SavedView]:
        """The views of these ids that the caller sees."""
        scope = self.scope(call, permission or self.permission("get"))
        views = await super().get_many(_unlimited(call), ids, permission=permission)
        return [view for view in views if _sees(call.principal, scope, view)]

    async def for_change(
        self,
        call: Call,
        name: str | UUID,
        etag: str = "",
        *,
        deleted: bool = False,
        field: str = "name",
    ) -> SavedView:
        """A view locked for a change; raises PermissionDenied for one that is seen but not theirs."""
        scope = call.principal.require(call.method.permission if call.method else "")
        view = await super().for_change(_unlimited(call), name, deleted=deleted, field=field)
        if not _sees(call.principal, scope, view):
            raise self.not_found(self.codec.name_of(view.id))
        if not call.principal.covers(scope, view.owner, view.team):
            msg = "The view belongs to somebody else; save a copy of your own."
            raise PermissionDenied(msg, reason="NOT_YOUR_VIEW")
        check_etag(self.codec.name_of(view.id), etag, view.version)
        return view


async def _fits_its_resource(call: Call, after: SavedView, before: SavedView | None) -> None:
    check_resource(after.resource, "saved_view.resource")
    # What stays as it is need not be what whoever changes the rest may see.
    if before is None or after.filter != before.filter:
        check_filter(call.principal, after.resource, after.filter or "", "saved_view.filter")
    if before is None or after.order_by != before.order_by:
        check_order_by(call.principal, after.resource, after.order_by or "", "saved_view.order_by")
    check_columns(after.resource, after.columns, "saved_view.columns")


SAVED_VIEWS = SavedViews(
    saved_view_pb2.SavedView,
    SavedView,
    saved_views,
    rule=_fits_its_resource,
    unstored=frozenset({"default_for_caller"}),
)
SAVED_VIEWS.handed_over = saved_views.c.visibility != "PRIVATE"
SAVED_VIEWS.listing = Listing(SAVED_VIEWS.codec, scoped=_condition, parameters=_parameters)


_USER = sa.bindparam("user", type_=sa.Uuid)
_VIEW = sa.bindparam("saved_view", type_=sa.Uuid)
_DEFAULTS = compile_statement(
    sa.select(default_views.c.saved_view).where(default_views.c.user == _USER)
)
_inserted = insert(default_views).values(
    user=_USER, resource=sa.bindparam("resource", type_=TEXT), saved_view=_VIEW
)
_CHOOSE = compile_statement(
    _inserted.on_conflict_do_update(
        index_elements=["user", "resource"],
        set_={"saved_view": _inserted.excluded.saved_view},
    )
)
_UNCHOOSE = compile_statement(
    sa.delete(default_views).where(
        default_views.c.user == sa.bindparam("by", type_=sa.Uuid),
        default_views.c.saved_view == sa.bindparam("view", type_=sa.Uuid),
    )
)


async def default_view_ids(call: Call) -> set[UUID]:
    """The views that the caller has chosen as defaults."""
    if call.principal.user is None:
        return set()
    rows = await call.reader.fetch_all(_DEFAULTS, {"user": call.principal.user})
    return {row[0] for row in rows}


async def choose(call: Call, view: SavedView) -> None:
    """Makes a view the caller's default for its resource."""
    row = {"user": call.principal.user, "resource": view.resource, "saved_view": view.id}
    await call.tx.execute(_CHOOSE, row)


async def unchoose(call: Call, view: SavedView) -> None:
    """Ends that a view is the caller's default."""
    await call.tx.execute(_UNCHOOSE, {"by": call.principal.user, "view": view.id})
