"""PURE: the numbers that toowl has to reach, most of them as ratios, and how far it is from each."""

from __future__ import annotations

from dataclasses import dataclass

from bench.figures import Results
from bench.stats import quantile

#: Measure, contender, x.
Place = tuple[str, str, int | None]


@dataclass(frozen=True, slots=True)
class Target:
    """One of them.

    Attributes:
        of: what is measured.
        by: what it is divided by; None for a plain number.
        limit: the ratio or the number to reach.
        least: it has to be that much or more; else that much or less.
    """

    what: str
    of: Place
    by: Place | None
    limit: float
    least: bool = False


@dataclass(frozen=True, slots=True)
class Outcome:
    """How it stands with one of them."""

    target: Target
    measured: float
    by: float | None
    unit: str

    @property
    def value(self) -> float:
        """What is compared with the limit."""
        return self.measured if self.by is None else self.measured / self.by

    @property
    def reached(self) -> bool:
        """Whether it is good enough."""
        return self.value >= self.target.limit if self.target.least else self.value <= self.target.limit

    @property
    def lacking(self) -> float:
        """The factor that is missing; at most 1 when the target is reached, infinite where nothing may be left."""
        if self.target.least:
            return self.target.limit / self.value if self.value else float("inf")
        if self.target.limit:
            return self.value / self.target.limit
        return float("inf") if self.value else 0.0


def _toowl(measure: str, x: int | None = None, contender: str = "toowl") -> Place:
    return measure, contender, x


TARGETS = (
    Target("text, beside tmux", _toowl("text"), ("text", "tmux", None), 2.5, least=True),
    Target("text, beside dtach", _toowl("text"), ("text", "dtach", None), 1, least=True),
    Target("echo p50, beside tmux", _toowl("echo.p50"), ("echo.p50", "tmux", None), 1),
    Target("PSS of an idle session, of 50", _toowl("memory.pss", 50), None, 2.5),
    Target("PSS of an idle session, of 500", _toowl("memory.pss", 500), None, 2.5),
    Target("daemon ready with 500 custodians", _toowl("start", 500), None, 1000),
    Target("wake-ups of an idle custodian", _toowl("idle.keeper", 500), None, 0),
    Target("wake-ups of the idle daemon, 500 sessions", _toowl("idle.shared", 500), None, 1),
    Target("CPU of 500 idle sessions", _toowl("idle.cpu", 500), None, 0.1),
    Target("`toowl ls`, 1 session, beside a bare interpreter", _toowl("ls", 1), ("ls", "python", 1), 2.5),
    Target("`toowl ls`, 50 sessions, beside the same", _toowl("ls", 50), ("ls", "python", 50), 2.5),
    Target("`toowl ls`, 500 sessions, beside the same", _toowl("ls", 500), ("ls", "python", 500), 2.5),
    Target("a session made, in the daemon", _toowl("create.daemon", 50), None, 10),
    Target(
        "attached, 1 MiB of log, beside a bare interpreter",
        _toowl("attach", 1),
        ("attach", "python", None),
        3,
    ),
    Target("attached, 64 MiB of log, beside the same", _toowl("attach", 64), ("attach", "python", None), 3),
    Target("attached, 64 MiB of log, beside 1 MiB", _toowl("attach", 64), ("attach", "toowl", 1), 1.2),
    Target("daemon ready with 500, beside 50: linear", _toowl("start", 500), ("start", "toowl", 50), 10),
    Target(
        "a session made, beside 500 or 1", _toowl("create.daemon", 500), ("create.daemon", "toowl", 1), 1.2
    ),
    Target("echo p50, beside 500 or 1", _toowl("echo-crowd.p50", 500), ("echo-crowd.p50", "toowl", 1), 1.2),
)


def outcomes(results: Results) -> list[Outcome]:
    """Of all that was measured."""
    found = []
    for target in TARGETS:
        series = results.find(*target.of)
        by = results.find(*target.by) if target.by else None
        if series is None or (target.by and by is None):
            continue
        divisor = None if by is None else quantile(by.values, 0.5)
        found.append(Outcome(target, quantile(series.values, 0.5), divisor, series.unit))
    return found
