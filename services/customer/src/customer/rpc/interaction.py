"""What happens to interactions besides being recorded and read."""

from collections.abc import Sequence

from crm.customer.v1 import interaction_pb2
from crmkit.call import Call
from crmkit.errors import AlreadyExists, Failure, InvalidArgument, Violation
from crmkit.resources import change, draft
from customer.domain.interaction import Interaction
from customer.storage.interaction import INTERACTIONS, recorded_messages

# A client takes messages of 4 MiB: a larger answer would look like a failure of what is committed.
_LARGEST_ANSWER = 3 * 1024 * 1024


class InteractionService:
    """Recording many, and correcting; the standard methods come from the kit."""

    async def BatchCreateInteractions(
        self, request: interaction_pb2.BatchCreateInteractionsRequest, call: Call
    ) -> interaction_pb2.BatchCreateInteractionsResponse:
        """Records all of them or none."""
        made = [await _drafted(call, i, one) for i, one in enumerate(request.requests)]
        _refuse_first(await INTERACTIONS.prepare_many(call, made))
        _refuse_first(await _repeated(call, made))
        await INTERACTIONS.insert_many(call, made)
        messages = [INTERACTIONS.message(interaction) for interaction in made]
        answer = interaction_pb2.BatchCreateInteractionsResponse(interactions=messages)
        if answer.ByteSize() > _LARGEST_ANSWER:
            msg = "The answer would be larger than 3 MiB: send fewer at once."
            raise InvalidArgument(msg, reason="ANSWER_TOO_LARGE", field="requests")
        return answer

    async def CorrectInteraction(
        self, request: interaction_pb2.CorrectInteractionRequest, call: Call
    ) -> interaction_pb2.Interaction:
        """What was written before stays in the history."""
        interaction, names = await change(INTERACTIONS, call, request)
        before, _ = call.state[interaction.id]
        interaction.check()
        wrong = [n for n in names if getattr(before, n) != getattr(interaction, n)]
        if wrong:
            interaction.correct(sorted(wrong))
        await INTERACTIONS.save(call, interaction)
        message: interaction_pb2.Interaction = INTERACTIONS.message(interaction)
        return message


async def _drafted(
    call: Call, index: int, request: interaction_pb2.CreateInteractionRequest
) -> Interaction:
    try:
        made: Interaction = await draft(INTERACTIONS, call, request.interaction)
    except Failure as failure:
        raise _at(index, failure) from None
    return made


async def _repeated(call: Call, made: Sequence[Interaction]) -> list[Failure | None]:
    """A failure for each message that is recorded already, here or before."""
    seen = await recorded_messages(call, [i.message_id for i in made if i.message_id])
    outcomes: list[Failure | None] = []
    for interaction in made:
        outcomes.append(_taken() if interaction.message_id in seen else None)
        if interaction.message_id:
            seen.add(interaction.message_id)
    return outcomes


def _taken() -> Failure:
    field = "interaction.message_id"
    return AlreadyExists(f"{field} is taken by another record.", field=field)


def _refuse_first(outcomes: Sequence[Failure | None]) -> None:
    for index, failure in enumerate(outcomes):
        if failure is not None:
            raise _at(index, failure)


def _at(index: int, failure: Failure) -> Failure:
    """The failure, naming which of the requests it is about."""
    place = f"requests[{index}]"
    failure.violations = tuple(
        Violation(f"{place}.{v.field}", v.description) for v in failure.violations
    )
    return failure
