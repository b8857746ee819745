"""What a person wants to be told, and when it comes by e-mail."""

from dataclasses import dataclass
from datetime import datetime, timedelta
from zoneinfo import ZoneInfo

from crmkit.errors import InvalidArgument
from crmkit.organization import time_zones

DIGEST_HOUR = 8
_A_MINUTE, _A_DAY = timedelta(minutes=1), timedelta(days=1)


@dataclass(frozen=True)
class Wish:
    """What is wanted of one kind of notification: in the console, by e-mail (OFF, AT_ONCE, DAILY)."""

    in_app: bool = True
    email: str = "DAILY"


@dataclass(frozen=True)
class MailSettings:
    """When and how mails come; None where it was never said."""

    digest_hour: int | None = None
    time_zone: str | None = None
    language_code: str | None = None

    def zone(self, default: ZoneInfo) -> ZoneInfo:
        """The person's time zone, or the organisation's."""
        return ZoneInfo(self.time_zone) if self.time_zone else default


def check_time_zone(name: str, field: str) -> None:
    """Raises InvalidArgument for what the IANA database does not have; none at all is fine."""
    if name and name not in time_zones():
        msg = f"{field} must be a time zone of the IANA database, such as Asia/Shanghai."
        raise InvalidArgument(msg, field=field)


def due_time(email: str, settings: MailSettings, default: ZoneInfo, now: datetime) -> datetime:
    """When a mail with something that happens now is sent."""
    if email == "AT_ONCE":
        return (now + _A_MINUTE).replace(second=0, microsecond=0)
    zone = settings.zone(default)
    hour = DIGEST_HOUR if settings.digest_hour is None else settings.digest_hour
    local = now.astimezone(zone)
    due = local.replace(hour=hour, minute=0, second=0, microsecond=0, fold=0)
    while due.astimezone(now.tzinfo) <= now:  # in UTC: within a zone its changes are not seen
        due = (due.replace(tzinfo=None) + _A_DAY).replace(tzinfo=zone)
    return due.astimezone(now.tzinfo)
