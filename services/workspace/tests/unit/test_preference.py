"""When a mail is due: at once, or at somebody's hour in their time zone."""

from datetime import UTC, datetime, timedelta
from zoneinfo import ZoneInfo

import pytest

from crmkit.errors import InvalidArgument
from workspace.domain.preference import MailSettings, check_time_zone, due_time

ORGANISATION = ZoneInfo("Europe/Zurich")


@pytest.mark.parametrize(
    ("now", "settings", "due"),
    [
        ("2026-11-25T06:59", MailSettings(), "2026-11-25T07:00"),  # 8 in Zurich
        ("2026-11-25T07:00", MailSettings(), "2026-11-26T07:00"),
        ("2026-11-25T07:00", MailSettings(digest_hour=0), "2026-11-25T23:00"),
        ("2026-11-25T07:00", MailSettings(time_zone="Asia/Shanghai"), "2026-11-26T00:00"),
        ("2026-11-25T23:30", MailSettings(time_zone="America/New_York"), "2026-11-26T13:00"),
        # The night in which the clocks change: 2 o'clock is there twice, or not at all.
        ("2026-10-24T22:00", MailSettings(digest_hour=2), "2026-10-25T00:00"),
        ("2026-10-25T00:00", MailSettings(digest_hour=2), "2026-10-26T01:00"),
        ("2026-03-28T23:30", MailSettings(digest_hour=2), "2026-03-29T01:00"),
        ("2026-03-29T01:00", MailSettings(digest_hour=2), "2026-03-30T00:00"),
        ("2026-03-28T12:00", MailSettings(digest_hour=8), "2026-03-29T06:00"),
    ],
)
def test_the_daily_mail_comes_at_its_hour(now: str, settings: MailSettings, due: str) -> None:
    """INVARIANT: later than now, once a day, at the hour that the clock on the wall shows."""
    moment = datetime.fromisoformat(now).replace(tzinfo=UTC)
    expected = datetime.fromisoformat(due).replace(tzinfo=UTC)
    assert due_time("DAILY", settings, ORGANISATION, moment) == expected


def test_what_happens_within_a_minute_comes_in_one_mail() -> None:
    moment = datetime(2026, 11, 25, 7, 0, 0, 1, tzinfo=UTC)
    later = moment + timedelta(seconds=59)
    settings = MailSettings()
    assert due_time("AT_ONCE", settings, ORGANISATION, moment) == datetime(
        2026, 11, 25, 7, 1, tzinfo=UTC
    )
    assert due_time("AT_ONCE", settings, ORGANISATION, later) == datetime(
        2026, 11, 25, 7, 1, tzinfo=UTC
    )


@pytest.mark.parametrize("name", ["Mars/Olympus", "localtime", "../etc/passwd", "UTC+25"])
def test_an_unknown_time_zone_is_refused(name: str) -> None:
    check_time_zone("", "x")
    check_time_zone("Asia/Shanghai", "x")
    with pytest.raises(InvalidArgument) as refused:
        check_time_zone(name, "preferences.time_zone")
    assert refused.value.violations[0].field == "preferences.time_zone"
