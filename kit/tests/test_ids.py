"""Identifiers grow with time; a saga's step always has the same one."""

from datetime import UTC, datetime, timedelta
from uuid import uuid5

from crmkit.clock import clock as wall_clock
from crmkit.clock import now
from crmkit.ids import uuid5_of, uuid7


def test_ids_made_in_one_process_are_strictly_increasing() -> None:
    """The default order (id) is the order of creation, within a millisecond too."""
    ids = [uuid7() for _ in range(20_000)]
    assert ids == sorted(set(ids))


def test_an_id_is_an_rfc_9562_version_7_of_this_moment() -> None:
    """Other systems read the time from the first 48 bits."""
    id_ = uuid7()
    assert (id_.version, id_.variant) == (7, "specified in RFC 4122")
    made = datetime.fromtimestamp((id_.int >> 80) / 1000, UTC)
    assert abs(made - now()) < timedelta(seconds=5)


def test_a_step_of_a_saga_has_one_id_per_parent() -> None:
    """A repeat of a saga finds the record of the first attempt."""
    parent, other = uuid7(), uuid7()
    assert uuid5_of(parent, "contact") == uuid5(parent, "contact")
    assert len({uuid5_of(p, s) for p in (parent, other) for s in ("contact", "account")}) == 4


def test_the_clock_is_aware_and_shifts_only_inside_the_block() -> None:
    """A test may look into the future without leaving it behind."""
    assert now().utcoffset() == timedelta(0)
    with wall_clock.shifted(timedelta(days=30)), wall_clock.shifted(timedelta(days=1)):
        assert now() - datetime.now(UTC) > timedelta(days=30, hours=23)
    assert abs(now() - datetime.now(UTC)) < timedelta(seconds=5)
