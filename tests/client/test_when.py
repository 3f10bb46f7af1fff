"""Points in time as people type them."""

from __future__ import annotations

from datetime import datetime, timedelta
from zoneinfo import ZoneInfo

import pytest
from hypothesis import given
from hypothesis import strategies as st

from toowl.when import parse_when
from toowld.errors import UsageError

BERLIN = ZoneInfo("Europe/Berlin")
NOW = datetime(2026, 11, 21, 9, 30, tzinfo=BERLIN)


def at(*fields: int, zone: str = "Europe/Berlin") -> float:
    return datetime(*fields, tzinfo=ZoneInfo(zone)).timestamp()  # type: ignore[arg-type,misc]


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("now", NOW.timestamp()),
        ("90s", NOW.timestamp() - 90),
        ("10m", NOW.timestamp() - 600),
        ("1h30m", NOW.timestamp() - 5400),
        ("3d", NOW.timestamp() - 3 * 86400),
        ("1w", NOW.timestamp() - 7 * 86400),
        ("9:15", at(2026, 11, 21, 9, 15)),
        ("09:30:00", at(2026, 11, 21, 9, 30)),
        ("14:30", at(2026, 11, 20, 14, 30)),
        ("today", at(2026, 11, 21)),
        ("yesterday", at(2026, 11, 20)),
        ("2026-11-20", at(2026, 11, 20)),
        ("2026-11-20T10:00", at(2026, 11, 20, 10)),
        ("2026-11-20 9:00:01.5", at(2026, 11, 20, 9, 0, 1) + 0.5),
        ("2026-07-20T10:00", at(2026, 7, 20, 8, zone="UTC")),  # summer time there, not here
        ("2026-11-20T10:00Z", at(2026, 11, 20, 10, zone="UTC")),
        ("2026-11-20T10:00-0500", at(2026, 11, 20, 15, zone="UTC")),
        ("2026-11-20T10:00+01:30", at(2026, 11, 20, 8, 30, zone="UTC")),
        ("@0", 0.0),
        ("@1763600000.25", 1763600000.25),
        (" 10m ", NOW.timestamp() - 600),
    ],
)
def test_times(text: str, expected: float) -> None:
    assert parse_when(text, NOW.timestamp(), BERLIN) == expected


@pytest.mark.parametrize(
    "text",
    ["", "10", "m", "10x", "-5m", "25:00", "12:60", "2026-02-30", "2026-11-20T", "2026-11-20T24:01", "@", "@x", "٣d",
     "@1e9", "99999999w", "tomorrow", "2026-11-20T10:00+99:00", "999999999w"],
)  # fmt: skip
def test_mistakes(text: str) -> None:
    with pytest.raises(UsageError) as caught:
        parse_when(text, NOW.timestamp(), BERLIN)
    assert "14:30" in str(caught.value) and "\n" not in str(caught.value)


def test_over_a_change_of_the_clocks() -> None:
    now = datetime(2026, 10, 25, 1, 0, tzinfo=BERLIN)  # two hours before they go back
    assert parse_when("4:00", now.timestamp(), BERLIN) == at(2026, 10, 24, 4)


MOMENTS = st.datetimes(datetime(1980, 1, 1), datetime(2100, 1, 1))


@given(MOMENTS, st.integers(0, 10**6), st.sampled_from("smh"))
def test_so_long_ago(now: datetime, count: int, unit: str) -> None:
    seconds = {"s": 1, "m": 60, "h": 3600}[unit]
    moment = now.replace(tzinfo=BERLIN).timestamp() + 4e9
    assert parse_when(f"{count}{unit}", moment, BERLIN) == moment - count * seconds


@given(MOMENTS, MOMENTS)
def test_a_written_time_is_that_time(now: datetime, then: datetime) -> None:
    expected = then.replace(tzinfo=BERLIN).timestamp()
    assert parse_when(then.isoformat(), now.replace(tzinfo=BERLIN).timestamp(), BERLIN) == expected


@given(MOMENTS, st.times())
def test_a_clock_shows_the_past_day(now: datetime, clock: object) -> None:
    moment = now.replace(tzinfo=BERLIN)
    found = parse_when(str(clock)[:5], moment.timestamp(), BERLIN)
    # An hour more or less, where the clocks were changed.
    assert timedelta(0) <= moment - datetime.fromtimestamp(found, BERLIN) <= timedelta(days=1, hours=1)


@given(st.text(max_size=12))
def test_anything_else_is_one_line(text: str) -> None:
    try:
        assert parse_when(text, NOW.timestamp(), BERLIN) >= 0
    except UsageError as error:
        assert "\n" not in str(error)
