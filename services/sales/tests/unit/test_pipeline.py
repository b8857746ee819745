"""Pipelines: which stages they must have, and how stages keep their names."""

from dataclasses import replace
from datetime import UTC, datetime

import pytest

from crmkit.errors import FailedPrecondition, InvalidArgument
from crmkit.ids import uuid7
from sales.domain.pipeline import Pipeline, Stage, default_pipeline

NOW = datetime(2026, 11, 24, 9, tzinfo=UTC)


def stage(display_name: str, category: str = "OPEN", **values: object) -> Stage:
    return Stage(display_name=display_name, category=category, **values)  # type: ignore[arg-type]


def pipeline(*stages: Stage) -> Pipeline:
    found = stages or (stage("First"), stage("Second"), stage("Won", "WON"), stage("Lost", "LOST"))
    return Pipeline(
        id=uuid7(), create_time=NOW, update_time=NOW, display_name="P", stages=list(found)
    )


WON, LOST = stage("Won", "WON"), stage("Lost", "LOST")


@pytest.mark.parametrize(
    ("stages", "field"),
    [
        ([WON, LOST], "pipeline.stages"),
        ([stage("A"), WON], "pipeline.stages"),
        ([stage("A"), LOST], "pipeline.stages"),
        ([stage("A"), WON, stage("Won too", "WON"), LOST], "pipeline.stages"),
        ([stage("A"), WON, LOST, stage("Lost too", "LOST")], "pipeline.stages"),
        ([stage("A"), stage("a"), WON, LOST], "pipeline.stages[1].display_name"),
        ([stage("  "), WON, LOST], "pipeline.stages[0].display_name"),
        ([stage("A", "MAYBE"), WON, LOST], "pipeline.stages[0].category"),
        (
            [stage("A", default_probability=1.1), WON, LOST],
            "pipeline.stages[0].default_probability",
        ),
        (
            [stage("A", default_probability=float("nan")), WON, LOST],
            "pipeline.stages[0].default_probability",
        ),
        ([stage("A", expected_days=-1), WON, LOST], "pipeline.stages[0].expected_days"),
    ],
)
def test_a_pipeline_that_cannot_work_is_refused(stages: list[Stage], field: str) -> None:
    """INVARIANT: at least one OPEN, exactly one WON and one LOST, unique names."""
    with pytest.raises(InvalidArgument) as refused:
        pipeline(*[replace(s) for s in stages]).check()
    assert refused.value.violations[0].field == field


def test_the_pipeline_of_a_new_system_is_sound() -> None:
    """Sales: four open stages of growing probability, then won and lost."""
    found = Pipeline(id=uuid7(), create_time=NOW, update_time=NOW, **default_pipeline())  # type: ignore[arg-type]
    found.check()
    assert [(s.display_name, s.category, s.default_probability) for s in found.stages] == [
        ("Prospecting", "OPEN", 0.1),
        ("Engaging", "OPEN", 0.3),
        ("Proposal", "OPEN", 0.5),
        ("Negotiation", "OPEN", 0.75),
        ("Won", "WON", 1.0),
        ("Lost", "LOST", 0.0),
    ]
    assert found.is_default


def test_closed_stages_have_the_probability_of_their_meaning() -> None:
    """Whatever was sent."""
    found = pipeline(
        stage("A"),
        stage("Won", "WON", default_probability=0.2),
        stage("Lost", "LOST", default_probability=0.9),
    )
    found.check()
    assert [s.default_probability for s in found.stages] == [0.0, 1.0, 0.0]


def test_new_stages_get_names_of_their_own() -> None:
    """INVARIANT: every stage has a name under its pipeline's."""
    found = pipeline()
    found.name_stages([])
    names = [s.name for s in found.stages]
    assert len(set(names)) == 4
    assert all(name.startswith(f"pipelines/{found.id}/stages/") for name in names)


def test_stages_keep_their_names_when_they_are_renamed_or_reordered() -> None:
    """INVARIANT: opportunities refer to stages by name; a change must not cut that."""
    found = pipeline()
    found.name_stages([])
    before = [replace(s) for s in found.stages]
    first, second, won, lost = (replace(s) for s in before)
    second.display_name = "Renamed"
    won.name = ""  # sent without a name: known by its display name
    found.stages = [second, first, stage("Third"), won, lost]
    found.name_stages(before)
    assert [s.name for s in found.stages if s.display_name != "Third"] == [
        before[1].name,
        before[0].name,
        before[2].name,
        before[3].name,
    ]
    assert not found.removed_stages(before)


def test_a_stage_name_that_was_not_given_out_is_refused() -> None:
    """A client cannot make names up, nor use one twice."""
    found = pipeline(stage("A", name="pipelines/x/stages/y"), WON, LOST)
    with pytest.raises(InvalidArgument) as refused:
        found.name_stages([])
    assert refused.value.violations[0].field == "pipeline.stages[0].name"
    twice = pipeline()
    twice.name_stages([])
    before = list(twice.stages)
    twice.stages = [before[0], replace(before[0], display_name="Again"), *before[2:]]
    with pytest.raises(InvalidArgument) as refused:
        twice.name_stages(before)
    assert refused.value.violations[0].field == "pipeline.stages[1].name"


def test_a_stage_is_removed_when_it_goes_or_changes_what_it_means() -> None:
    """An open stage that becomes the lost one is no longer what its opportunities are in."""
    found = pipeline()
    found.name_stages([])
    before = [replace(s) for s in found.stages]
    found.stages = [replace(before[1]), replace(before[2], category="LOST"), replace(before[3])]
    assert found.removed_stages(before) == [before[0].name, before[2].name]


def test_the_default_pipeline_stays_the_default_until_another_is() -> None:
    """INVARIANT: there is exactly one."""
    before = pipeline()
    before.is_default = True
    for change in ({"is_default": False}, {"delete_time": NOW}):
        with pytest.raises(FailedPrecondition) as refused:
            replace(before, **change).refuse_losing_default(before)
        assert refused.value.reason == "DEFAULT_PIPELINE_REQUIRED"
