"""A rule that pauses by itself, and tells."""

from uuid import UUID

from crmkit.call import Call
from crmkit.errors import Failure
from workspace.domain.rule import Rule
from workspace.storage.rule import RULES
from workspace.usecases.notify import notify

_MOST_TOLD = 20


async def pause_rule(call: Call, rule_id: UUID, reason: str) -> None:
    """Pauses a rule if it runs; tells its owner, or whoever may resume it where the owner has left."""
    rule = await RULES.for_change(call, rule_id, deleted=True)
    if rule.state != "ACTIVE" or rule.delete_time is not None:
        return
    rule.pause(reason)
    await RULES.save(call, rule)
    name = RULES.codec.name_of(rule.id)
    told = _others(call, rule) if reason == "OWNER_LEFT" else [rule.owner]
    for user in told:
        parameters = {"rule": name, "reason": reason}
        await notify(call, user, "RULE_PAUSED", subject=name, parameters=parameters)


def _others(call: Call, rule: Rule) -> list[UUID]:
    """Some of those who may resume the rule."""
    rights, found = call.home.rights, []
    for user in sorted(rights.users):
        try:
            principal = rights.principal(user)
        except Failure:  # may not sign in
            continue
        scope = principal.grants.scope("workspace.rules.resume")
        if user != rule.owner and scope and principal.covers(scope, rule.owner, rule.team):
            found.append(user)
    return found[:_MOST_TOLD]
