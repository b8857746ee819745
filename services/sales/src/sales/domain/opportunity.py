"""Opportunities: chances to sell, moving through a pipeline until won or lost."""

from dataclasses import dataclass, field
from datetime import date, datetime
from uuid import UUID

from crmkit.aggregate import Record
from crmkit.errors import FailedPrecondition, InvalidArgument
from crmkit.money import Money
from crmkit.states import StateMachine
from sales.domain.line import Line, check_lines, total
from sales.domain.pipeline import Pipeline, Stage

OPPORTUNITY = StateMachine(
    "state",
    {
        "move": ({"OPEN"}, "OPEN"),
        "win": ({"OPEN"}, "WON"),
        "lose": ({"OPEN"}, "LOST"),
        "reopen": ({"WON", "LOST"}, "OPEN"),
    },
)

_CLOSING_METHODS = {"WON": "WinOpportunity", "LOST": "LoseOpportunity"}


@dataclass(kw_only=True)
class Opportunity(Record):
    """A chance to sell.

    Attributes:
        stage: `pipelines/{uuid}/stages/{uuid}`; an import may say its display name instead.
        state: OPEN, WON or LOST, as the stage's category; None until the opportunity has begun.
        amount: What it is worth; the sum of the lines unless set by hand.
        last_open_stage: Where it stood when it was closed; kept for reopening.
        last_open_probability: The manual probability it had then; None if it had the stage's.
    """

    display_name: str
    account: UUID | None = None
    pipeline: UUID | None = None
    stage: str | None = None
    state: str | None = None
    amount: Money | None = None
    amount_source: str | None = None
    probability: float | None = None
    probability_source: str | None = None
    expected_close_date: date | None = None
    open_time: datetime | None = None
    close_time: datetime | None = None
    lost_reason: str | None = None
    kind: str = "NEW"
    lines: list[Line] = field(default_factory=list)
    next_step: str | None = None
    last_open_stage: str | None = None
    last_open_probability: float | None = None

    def check(self) -> None:
        """Raises InvalidArgument where lines, amount or probability are wrong in themselves."""
        check_lines(self.lines)
        if self.amount is not None and self.amount.amount < 0:
            msg = "The amount cannot be negative."
            raise InvalidArgument(msg, field="opportunity.amount")
        if self.probability is not None and not 0 <= self.probability <= 1:
            msg = "The probability must lie between 0 and 1."
            raise InvalidArgument(msg, field="opportunity.probability")

    # -- beginning

    def begin(self, pipeline: Pipeline) -> None:
        """Enters a pipeline at its first open stage."""
        self.state = "OPEN"
        self.stage = pipeline.open_stages()[0].name
        self.open_time = self.create_time

    def begin_with_history(self, pipeline: Pipeline) -> None:
        """Enters a pipeline as an import tells: at a stage, perhaps closed, at times long past.

        Stage and state follow from each other where only one is said. A time of opening that is not
        said stays absent.

        Raises:
            InvalidArgument: Stage, state, times or reason contradict one another.
        """
        stage = self._imported_stage(pipeline)
        self.stage, self.state = stage.name, stage.category
        if self.state == "OPEN":
            self._refuse_closing_fields()
        else:
            self.close_time = self.close_time or self.create_time
        if self.lost_reason and self.state != "LOST":
            msg = "Only a lost opportunity has a reason for being lost."
            raise InvalidArgument(msg, field="opportunity.lost_reason")
        if self.open_time and self.close_time and self.close_time < self.open_time:
            msg = "An opportunity is not closed before it is opened."
            raise InvalidArgument(msg, field="opportunity.close_time")
        began = min((t for t in (self.open_time, self.close_time) if t), default=None)
        self.record("created", effective_time=began)
        if self.state != "OPEN":
            self.record(self.state.lower(), effective_time=self.close_time)

    def _imported_stage(self, pipeline: Pipeline) -> Stage:
        if self.stage:
            stage = pipeline.stage_called(self.stage)
            if stage is None:
                known = ", ".join(s.display_name for s in pipeline.stages)
                msg = f"{pipeline.display_name} has no stage {self.stage}; it has {known}."
                raise InvalidArgument(msg, field="opportunity.stage")
            if self.state is not None and self.state != stage.category:
                msg = f"The state {self.state} contradicts the stage {stage.display_name}."
                raise InvalidArgument(msg, field="opportunity.state")
            return stage
        if self.state in {"WON", "LOST"}:
            return pipeline.closing_stage(self.state)
        return pipeline.open_stages()[0]

    def _refuse_closing_fields(self) -> None:
        if self.close_time is not None:
            msg = "An open opportunity has no time of closing."
            raise InvalidArgument(msg, field="opportunity.close_time")

    # -- moving

    def move(self, pipeline: Pipeline, stage_name: str) -> None:
        """Goes to another open stage of the pipeline.

        Raises:
            InvalidArgument: The stage is not one of this pipeline's.
            FailedPrecondition: `ILLEGAL_TRANSITION`, `ALREADY_IN_STAGE`, or `USE_WIN_OR_LOSE` with
                the method to use in its metadata.
        """
        stage = pipeline.stage(stage_name)
        if stage is None:
            msg = "The stage belongs to another pipeline, or to none."
            raise InvalidArgument(msg, field="stage")
        OPPORTUNITY.check(self, "move")
        if stage.category != "OPEN":
            method = _CLOSING_METHODS[stage.category]
            msg = f"{stage.display_name} is reached with {method}."
            raise FailedPrecondition(msg, reason="USE_WIN_OR_LOSE", metadata={"method": method})
        if stage.name == self.stage:
            msg = f"The opportunity is in {stage.display_name} already."
            raise FailedPrecondition(msg, reason="ALREADY_IN_STAGE")
        self._enter(stage)

    def win(self, pipeline: Pipeline, time: datetime) -> None:
        """Closes the opportunity as won; raises FailedPrecondition `ILLEGAL_TRANSITION`."""
        OPPORTUNITY.move(self, "win")
        self._close(pipeline.closing_stage("WON"), time, "won")

    def lose(self, pipeline: Pipeline, time: datetime, reason: str) -> None:
        """Closes the opportunity as lost; raises FailedPrecondition `ILLEGAL_TRANSITION`."""
        OPPORTUNITY.move(self, "lose")
        self.lost_reason = reason or None
        self._close(pipeline.closing_stage("LOST"), time, "lost")

    def reopen(self, pipeline: Pipeline) -> None:
        """Opens the opportunity again where it stood.

        Where that is not known, or no longer an open stage, it is the pipeline's last open stage.

        Raises:
            FailedPrecondition: `ILLEGAL_TRANSITION`: it is open.
        """
        OPPORTUNITY.move(self, "reopen")
        self.close_time = self.lost_reason = None
        if self.last_open_probability is not None:
            self.probability, self.probability_source = self.last_open_probability, "MANUAL"
        stage = pipeline.stage(self.last_open_stage)
        if stage is None or stage.category != "OPEN":
            stage = pipeline.open_stages()[-1]
        self.last_open_stage = self.last_open_probability = None
        self.record("reopened")
        self._enter(stage)

    def _close(self, stage: Stage, time: datetime, kind: str) -> None:
        self.close_time = time
        self.last_open_stage = self.stage
        if self.probability_source == "MANUAL":
            self.last_open_probability = self.probability
        self.record(kind, effective_time=time)
        self._enter(stage)

    def _enter(self, stage: Stage) -> None:
        self.record("stage_changed", from_stage=self.stage)
        self.stage = stage.name

    # -- values that follow from others unless set by hand

    def settle_amount(self, before: "Opportunity | None") -> None:
        """Tells an amount set by hand from the sum of the lines, and keeps the latter up to date.

        An amount that is sent back as it was read is not set by hand.
        """
        if before is not None and self.amount != before.amount:
            by_hand = self.amount is not None
        else:
            by_hand = self.amount is not None and self.amount_source != "LINES"
        if not by_hand:
            self.amount = total(self.lines)
        self.amount_source = None if self.amount is None else "MANUAL" if by_hand else "LINES"

    def settle_probability(self, before: "Opportunity | None", stage: Stage) -> None:
        """Tells a probability set by hand from the stage's default.

        The one place where a probability follows a stage. Closed is certain, whatever somebody
        thought before.

        Raises:
            FailedPrecondition: `OPPORTUNITY_CLOSED`: somebody would set it on a closed opportunity.
        """
        set_by_hand = (
            self.probability is not None and self.probability_source is None
            if before is None
            else self.probability != before.probability and self.stage == before.stage
        )
        if set_by_hand and before is not None and self.state != "OPEN":
            msg = "The probability of a closed opportunity is certain; reopen it first."
            raise FailedPrecondition(msg, reason="OPPORTUNITY_CLOSED")
        if set_by_hand:
            self.probability_source = "MANUAL" if self.probability is not None else "STAGE"
        if self.state != "OPEN" or self.probability_source != "MANUAL":
            self.probability, self.probability_source = stage.default_probability, "STAGE"
