"""What must hold of an action before a rule with it is saved: one check for each kind."""

from collections.abc import Awaitable, Callable
from typing import Any

from crmkit.call import Call
from workspace.domain.merge_tags import check_merge_tags, texts_of
from workspace.domain.rule import (
    Action,
    AddComment,
    Assign,
    CallWebhook,
    CreateRecord,
    CreateTask,
    Notify,
    Rule,
    SetFields,
)
from workspace.queries.action_fields import (
    check_comment,
    check_create,
    check_update,
    known_tags,
    refuse,
)
from workspace.storage.webhook import webhook_by_id


async def check_action(call: Call, rule: Rule, action: Action, path: str) -> None:
    """Raises InvalidArgument `INVALID_ACTION` or `UNKNOWN_MERGE_TAG` for what could never be done."""
    await _CHECKS[action.kind](call, rule, action.what, f"{path}.{action.kind}")


def _check_texts(rule: Rule, value: Any, path: str) -> None:
    known = known_tags(rule.event_types)
    for where, text in texts_of(value, path):
        check_merge_tags(text, where, known)


async def _set_fields(_call: Call, rule: Rule, what: SetFields, path: str) -> None:
    if not what.values:
        refuse(f"{path}.values", "there is nothing to set")
    _check_texts(rule, what.values, f"{path}.values")
    check_update(rule.event_types, what.values, f"{path}.values")


async def _assign(call: Call, rule: Rule, what: Assign, path: str) -> None:
    rights = call.home.rights
    if what.user is not None and what.user not in rights.users:
        refuse(f"{path}.user", "there is no such user")
    if what.team is not None and what.team not in rights.parents:
        refuse(f"{path}.team", "there is no such team")
    if what.user is None and what.team is None:
        refuse(path, "it does not say to whom")
    check_update(rule.event_types, {"owner": ""}, path)


async def _create_record(_call: Call, rule: Rule, what: CreateRecord, path: str) -> None:
    _check_texts(rule, what.values, f"{path}.values")
    check_create(what.resource, what.values, path)


async def _notify(call: Call, rule: Rule, what: Notify, path: str) -> None:
    _check_texts(rule, what.text, f"{path}.text")
    if (what.recipient == "USER") != (what.user is not None):
        refuse(f"{path}.user", "the recipient USER and a user go together")
    if what.user is not None and what.user not in call.home.rights.users:
        refuse(f"{path}.user", "there is no such user")


async def _call_webhook(call: Call, rule: Rule, what: CallWebhook, path: str) -> None:
    webhook = await webhook_by_id(call.reader, what.webhook)
    if webhook is None or webhook.owner != rule.owner or webhook.delete_time is not None:
        refuse(f"{path}.webhook", "you have no such webhook")


async def _add_comment(_call: Call, rule: Rule, what: AddComment, path: str) -> None:
    _check_texts(rule, what.text, f"{path}.text")
    check_comment(rule.event_types, path)


async def _create_task(call: Call, rule: Rule, what: CreateTask, path: str) -> None:
    _check_texts(rule, what.title, f"{path}.title")
    _check_texts(rule, what.description, f"{path}.description")
    if (what.assignee == "USER") != (what.user is not None):
        refuse(f"{path}.user", "the assignee USER and a user go together")
    if what.user is not None and what.user not in call.home.rights.users:
        refuse(f"{path}.user", "there is no such user")
    if what.remind_hours_before is not None and what.due_in_hours is None:
        refuse(f"{path}.remind_hours_before", "nobody is reminded of what is never due")


_CHECKS: dict[str, Callable[[Call, Rule, Any, str], Awaitable[None]]] = {
    "set_fields": _set_fields,
    "assign": _assign,
    "create_record": _create_record,
    "notify": _notify,
    "call_webhook": _call_webhook,
    "add_comment": _add_comment,
    "create_task": _create_task,
}
