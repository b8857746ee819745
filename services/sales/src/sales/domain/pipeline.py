"""Pipelines: the stages an opportunity moves through."""

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass

from crmkit.aggregate import Record
from crmkit.errors import FailedPrecondition, InvalidArgument
from crmkit.ids import uuid7

# A won stage counts in full, a lost one not at all.
_CLOSED_PROBABILITY = {"WON": 1.0, "LOST": 0.0}


@dataclass(kw_only=True)
class Stage:
    """One step of a pipeline.

    Attributes:
        name: `pipelines/{uuid}/stages/{uuid}`; empty until the pipeline gives it out.
        category: OPEN, WON or LOST.
        default_probability: Chance of winning from here, 0 to 1.
        expected_days: Days an opportunity usually stays; 0 if not known.
    """

    name: str = ""
    display_name: str
    category: str
    default_probability: float = 0.0
    expected_days: int = 0


@dataclass(kw_only=True)
class Pipeline(Record):
    """A way of selling, in stages; opportunities that name no pipeline enter the default one."""

    display_name: str
    stages: list[Stage]
    is_default: bool = False

    def check(self) -> None:
        """Gives closed stages the probability that they have by meaning.

        Raises:
            InvalidArgument: A stage is wrong in itself, two share a name, or there is not at least
                one OPEN, exactly one WON and exactly one LOST stage.
        """
        for index, stage in enumerate(self.stages):
            _check_stage(stage, f"pipeline.stages[{index}]")
        _refuse_equal_names(self.stages)
        count = Counter(stage.category for stage in self.stages)
        if not count["OPEN"] or count["WON"] != 1 or count["LOST"] != 1:
            msg = "A pipeline needs at least one OPEN stage, exactly one WON and exactly one LOST."
            raise InvalidArgument(msg, field="pipeline.stages")

    def name_stages(self, before: Sequence[Stage]) -> None:
        """Gives out names to new stages; a stage that was there before keeps its own.

        A stage sent without a name is the one that had its display name before, if there was one.

        Raises:
            InvalidArgument: A stage has a name that this pipeline did not give out, or that another
                stage has.
        """
        known = {stage.name for stage in before}
        sent = {stage.name for stage in self.stages if stage.name}
        by_display_name = {s.display_name.casefold(): s.name for s in before if s.name not in sent}
        for index, stage in enumerate(self.stages):
            path = f"pipeline.stages[{index}].name"
            if not stage.name:
                kept = by_display_name.get(stage.display_name.casefold())
                stage.name = kept or f"pipelines/{self.id}/stages/{uuid7()}"
            elif stage.name not in known:
                msg = f"{path} is no stage of this pipeline; leave it empty for a new stage."
                raise InvalidArgument(msg, field=path)
            elif stage.name not in sent:
                msg = f"{path} is given twice."
                raise InvalidArgument(msg, field=path)
            sent.discard(stage.name)

    def removed_stages(self, before: Sequence[Stage]) -> list[str]:
        """Names of the stages that were there before, as what they were, and are not now.

        A stage whose category changes counts: its opportunities would no longer be what they are.
        """
        now = {(stage.name, stage.category) for stage in self.stages}
        return [stage.name for stage in before if (stage.name, stage.category) not in now]

    def stage(self, name: str | None) -> Stage | None:
        """The stage of this name, if it is one of this pipeline's."""
        return next((stage for stage in self.stages if stage.name == name), None)

    def stage_called(self, text: str) -> Stage | None:
        """The stage of this name or, in any case of letters, of this display name."""
        folded = text.strip().casefold()
        called = (s for s in self.stages if s.display_name.casefold() == folded)
        return self.stage(text) or next(called, None)

    def closing_stage(self, category: str) -> Stage:
        """The one WON or LOST stage."""
        return next(stage for stage in self.stages if stage.category == category)

    def open_stages(self) -> list[Stage]:
        """The OPEN stages, in order; never empty."""
        return [stage for stage in self.stages if stage.category == "OPEN"]

    def refuse_losing_default(self, before: "Pipeline") -> None:
        """Raises FailedPrecondition if this was the default pipeline and would not be any more."""
        if before.is_default and not (self.is_default and self.delete_time is None):
            msg = "There is exactly one default pipeline: make another one the default instead."
            raise FailedPrecondition(msg, reason="DEFAULT_PIPELINE_REQUIRED")


def default_pipeline() -> dict[str, object]:
    """The fields of the pipeline that a new system starts with."""
    steps = (
        ("Prospecting", "OPEN", 0.10),
        ("Engaging", "OPEN", 0.30),
        ("Proposal", "OPEN", 0.50),
        ("Negotiation", "OPEN", 0.75),
        ("Won", "WON", 1.0),
        ("Lost", "LOST", 0.0),
    )
    stages = [
        Stage(
            display_name=display_name,
            category=category,
            default_probability=probability,
        )
        for display_name, category, probability in steps
    ]
    return {"display_name": "Sales", "stages": stages, "is_default": True}


def _check_stage(stage: Stage, path: str) -> None:
    """Raises InvalidArgument where a stage is wrong in itself; imports come this way too."""
    stage.default_probability = _CLOSED_PROBABILITY.get(
        stage.category, stage.default_probability or 0.0
    )
    stage.expected_days = stage.expected_days or 0
    if not stage.display_name or not stage.display_name.strip():
        msg = f"{path}.display_name is required."
        raise InvalidArgument(msg, reason="REQUIRED_FIELD", field=f"{path}.display_name")
    if stage.category not in {"OPEN", "WON", "LOST"}:
        msg = f"{path}.category must be OPEN, WON or LOST."
        raise InvalidArgument(msg, field=f"{path}.category")
    if not 0 <= stage.default_probability <= 1:
        msg = f"{path}.default_probability must lie between 0 and 1."
        raise InvalidArgument(msg, field=f"{path}.default_probability")
    if stage.expected_days < 0:
        msg = f"{path}.expected_days cannot be negative."
        raise InvalidArgument(msg, field=f"{path}.expected_days")


def _refuse_equal_names(stages: Sequence[Stage]) -> None:
    seen: set[str] = set()
    for index, stage in enumerate(stages):
        folded = stage.display_name.strip().casefold()
        if folded in seen:
            path = f"pipeline.stages[{index}].display_name"
            msg = f"{path}: two stages are called {stage.display_name}."
            raise InvalidArgument(msg, field=path)
        seen.add(folded)
