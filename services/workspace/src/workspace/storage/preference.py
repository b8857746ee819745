"""Where it is kept what people want to be told, and how mails come to them."""

from dataclasses import asdict
from typing import Any
from uuid import UUID

import sqlalchemy as sa
from sqlalchemy.dialects.postgresql import insert

from crmkit.call import Call
from crmkit.statements import TEXT, compile_statement
from workspace.domain.notification import KINDS
from workspace.domain.preference import MailSettings, Wish
from workspace.storage.schema import WORKSPACE

notification_preferences = sa.Table(
    "notification_preferences",
    WORKSPACE,
    sa.Column("user", sa.Uuid, primary_key=True),
    sa.Column("kind", TEXT, primary_key=True),
    sa.Column("in_app", sa.Boolean, nullable=False),
    sa.Column("email", TEXT),
)
mail_settings = sa.Table(
    "mail_settings",
    WORKSPACE,
    sa.Column("user", sa.Uuid, primary_key=True),
    sa.Column("digest_hour", sa.Integer),
    sa.Column("time_zone", TEXT),
    sa.Column("language_code", TEXT),
)

_P, _M = notification_preferences.c, mail_settings.c
_USER = sa.bindparam("user", type_=sa.Uuid)
_WISHES = compile_statement(sa.select(_P.kind, _P.in_app, _P.email).where(_P.user == _USER))
_put = insert(notification_preferences).values(
    user=_USER,
    kind=sa.bindparam("kind", type_=TEXT),
    in_app=sa.bindparam("in_app"),
    email=sa.bindparam("email", type_=TEXT),
)
_PUT = compile_statement(
    _put.on_conflict_do_update(
        index_elements=["user", "kind"],
        set_={"in_app": _put.excluded.in_app, "email": _put.excluded.email},
    )
)
_SETTINGS = compile_statement(
    sa.select(_M.digest_hour, _M.time_zone, _M.language_code).where(_M.user == _USER)
)
_chosen = ("digest_hour", "time_zone", "language_code")
_put_settings = insert(mail_settings).values(
    {"user": _USER, **{name: sa.bindparam(name, type_=_M[name].type) for name in _chosen}}
)
_PUT_SETTINGS = compile_statement(
    _put_settings.on_conflict_do_update(
        index_elements=["user"], set_={name: _put_settings.excluded[name] for name in _chosen}
    )
)


async def wishes_of(call: Call, user: UUID | None) -> dict[str, Wish]:
    """Kind → what a person wants of it."""
    rows = await call.reader.fetch_all(_WISHES, {"user": user})
    said = {kind: Wish(in_app, email or Wish.email) for kind, in_app, email in rows}
    return {**dict.fromkeys(KINDS, Wish()), **said}


async def put_wish(call: Call, kind: str, wish: Wish) -> None:
    """Keeps what the caller wants of a kind."""
    row: dict[str, Any] = {"user": call.principal.user, "kind": kind, **asdict(wish)}
    await call.tx.execute(_PUT, row)


async def mail_settings_of(call: Call, user: UUID | None) -> MailSettings:
    """When and how mails come to a person."""
    row = await call.reader.fetch_one(_SETTINGS, {"user": user})
    return MailSettings(*row) if row is not None else MailSettings()


async def put_mail_settings(call: Call, settings: MailSettings) -> None:
    """Keeps when and how mails come to the caller."""
    await call.tx.execute(_PUT_SETTINGS, {"user": call.principal.user, **asdict(settings)})
