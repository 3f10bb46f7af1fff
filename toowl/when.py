"""Points in time as people give them on a command line. PURE: what "now" is, and where, are arguments."""

from __future__ import annotations

import re
from datetime import UTC, date, datetime, time, timedelta, tzinfo

from toowld.errors import UsageError

#: For help texts and for the message about a mistake.
FORMS = "10m, 2h, 3d, 14:30, 2026-11-20, 2026-11-20T10:00 or @ and unix seconds"

_SECONDS = {"s": 1, "m": 60, "h": 3600, "d": 86400, "w": 7 * 86400}
_AGO = re.compile(r"(?:[0-9]{1,9}[smhdw])+")
_PART = re.compile(r"([0-9]+)([smhdw])")
_CLOCK = re.compile(r"([0-9]{1,2}):([0-9]{2})(?::([0-9]{2}))?")
_DATE = re.compile(
    r"(?P<date>[0-9]{4}-[0-9]{2}-[0-9]{2})"
    r"(?:[T ](?P<clock>[0-9]{1,2}:[0-9]{2}(?::[0-9]{2}(?:\.[0-9]{1,6})?)?)(?P<zone>Z|[+-][0-9]{2}:?[0-9]{2})?)?"
)
_UNIX = re.compile(r"@([0-9]{1,12}(?:\.[0-9]{1,9})?)")


def parse_when(text: str, now: float, zone: tzinfo | None = None) -> float:
    """The unix time that ``text`` means.

    ``10m`` (also ``90s``, ``2h``, ``3d``, ``1w``, ``1h30m``) is so long ago. ``14:30`` is the last time that a clock
    showed it: yesterday's, before half past two. A date without a time is its midnight. ``@`` goes before unix
    seconds. ``now``, ``today`` and ``yesterday`` are understood too.

    Args:
        now: unix seconds.
        zone: what a time without a zone is in; None: where this machine is.

    Raises:
        UsageError: ``text`` is no time.
    """
    words = text.strip()
    try:
        found = _parse(words, now, zone)
    except (ValueError, OverflowError, OSError):  # the 30th of February; a year that no clock can show
        found = None
    if found is None or found < 0:
        raise UsageError(f"{text!r} is no time: give {FORMS}")
    return found


def _parse(text: str, now: float, zone: tzinfo | None) -> float | None:
    here = datetime.fromtimestamp(now, zone)
    if text in ("now", "today", "yesterday"):
        midnight = datetime.combine(here.date() - timedelta(text == "yesterday"), time(), zone)
        return now if text == "now" else midnight.timestamp()
    if _AGO.fullmatch(text):
        return now - sum(int(count) * _SECONDS[unit] for count, unit in _PART.findall(text))
    if found := _UNIX.fullmatch(text):
        return float(found[1])
    if found := _CLOCK.fullmatch(text):
        clock = time(int(found[1]), int(found[2]), int(found[3] or 0))
        today = datetime.combine(here.date(), clock, zone).timestamp()
        return today if today <= now else _yesterday(here.date(), clock, zone)
    if found := _DATE.fullmatch(text):
        return _at(found["date"], found["clock"], found["zone"], zone)
    return None


def _yesterday(today: date, clock: time, zone: tzinfo | None) -> float:
    # Not 24 hours less: the day may have 23 or 25.
    return datetime.combine(today - timedelta(1), clock, zone).timestamp()


def _at(day: str, clock: str | None, offset: str | None, zone: tzinfo | None) -> float:
    hours, _, rest = (clock or "00:00").partition(":")
    if offset is not None:
        zone = UTC if offset == "Z" else datetime.strptime(offset, "%z").tzinfo
    return datetime.combine(
        date.fromisoformat(day), time.fromisoformat(f"{hours:0>2}:{rest}"), zone
    ).timestamp()
