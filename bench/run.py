"""One run: which contenders take part, rounds in which they take turns, and the figures that come out."""

from __future__ import annotations

import contextlib
import enum
import shutil
import sys
import time
from collections.abc import Collection, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TypeVar

from bench import child, payload
from bench.contender import Contender
from bench.figures import Series

T = TypeVar("T")


class Effort(enum.Enum):
    """How much of everything is done: for the record, for an idea, or to see that it works."""

    FULL = "full"
    QUICK = "quick"
    SMOKE = "smoke"

    def __str__(self) -> str:
        return self.value


@dataclass
class Run:
    """What a measure is given.

    Attributes:
        root: an empty folder.
        contenders: who takes part.
    """

    root: Path
    contenders: Sequence[type[Contender]]
    effort: Effort = Effort.FULL
    series: dict[tuple[str, str, int | None], Series] = field(default_factory=dict)
    _worlds: int = 0

    def record(self, measure: str, contender: str, unit: str, value: float, x: int | None = None) -> None:
        """One figure of one round."""
        key = (measure, contender, x)
        if key not in self.series:
            self.series[key] = Series(measure, contender, unit, x, [])
        self.series[key].values.append(value)

    def forget(self, measures: Collection[str]) -> None:
        """What was recorded of them: half of it shows nothing."""
        self.series = {
            key: series for key, series in self.series.items() if key[0].partition(".")[0] not in measures
        }

    def amount(self, full: int, quick: int, smoke: int) -> int:
        """How much of something is done."""
        return {Effort.FULL: full, Effort.QUICK: quick, Effort.SMOKE: smoke}[self.effort]

    def say(self, text: str) -> None:
        """What is going on, for whoever waits."""
        print(f"bench: {time.strftime('%H:%M:%S')} {text}", flush=True)

    @contextlib.contextmanager
    def opened(self, *without: str) -> Iterator[list[Contender]]:
        """All contenders but those, each running in a new namespace."""
        self._worlds += 1
        folder = self.root / str(self._worlds)
        folder.mkdir()
        try:
            with contextlib.ExitStack() as stack:
                kinds = [kind for kind in self.contenders if kind.name not in without]
                yield [stack.enter_context(kind(folder)) for kind in kinds]
        finally:
            shutil.rmtree(folder, ignore_errors=True)  # gigabytes of logs that no disk needs to take

    def payload_file(self, kind: str, size: int) -> Path:
        """A file of what is to be printed."""
        path = self.root / f"{kind}-{size}"
        if not path.exists():
            make = {"text": payload.text, "colour": payload.colour, "redraw": payload.redraw}[kind]
            path.write_bytes(make(size))
        return path


def child_command(mode: str, *arguments: object) -> list[str]:
    """The program in a session."""
    return [sys.executable, "-I", "-S", str(Path(child.__file__)), mode, *map(str, arguments)]


def rounds(count: int, parties: Sequence[T]) -> Iterator[T]:
    """Everybody in turn, again and again, so that what the machine does besides hits all alike."""
    for _ in range(count):
        yield from parties
