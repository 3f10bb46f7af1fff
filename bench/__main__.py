"""``python -m bench``: see `bench`, and ``--help``."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Callable, Iterable
from pathlib import Path

from bench import results
from bench.contenders import ALL, Contender
from bench.measures import echo, throughput
from bench.run import Effort, Run
from bench.stats import summary
from bench.supervise import supervised

MEASURES: dict[str, Callable[[Run], None]] = {
    "text": throughput.text,
    "colour": throughput.colour,
    "redraw": throughput.redraw,
    "echo": echo.idle,
    "echo-flood": echo.flooded,
}


def main() -> int:
    args = _parser().parse_args()
    measures = args.only or list(MEASURES)
    chosen = [kind for kind in ALL if not args.contender or kind.name in args.contender]
    return supervised(lambda root: _measure(root, measures, chosen, args.effort, args.json))


def _measure(
    root: Path, measures: list[str], kinds: list[type[Contender]], effort: Effort, file: Path | None
) -> int:
    versions = {kind.name: kind.version() for kind in kinds}
    there = [kind for kind in kinds if versions[kind.name] is not None]
    run = Run(root, there, effort)
    for name in measures:
        run.say(name)
        MEASURES[name](run)
    found = results.results_of(
        run.series.values(), {name: version for name, version in versions.items() if version}, root
    )
    if file:
        results.save(found, file)
    print(f"\n{'measure':20} {'contender':10} {'median':>10}  quartiles")
    for series in found.series:
        middle = summary(series.values)
        print(
            f"{series.measure:20} {series.contender:10} {middle.median:10.4g}  "
            f"{middle.low:.4g} to {middle.high:.4g} {series.unit}"
        )
    return 0


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="python -m bench",
        description="Measure toowl beside what else is installed, in private namespaces, and leave nothing behind.",
    )
    parser.add_argument(
        "--only", metavar="MEASURE,…", type=_some(MEASURES), help=f"of {', '.join(MEASURES)} (default: all)"
    )
    names = [kind.name for kind in ALL]
    parser.add_argument(
        "--contender", metavar="NAME,…", type=_some(names), help=f"of {', '.join(names)} (default: all)"
    )
    parser.add_argument(
        "--effort",
        type=Effort,
        default=Effort.FULL,
        choices=Effort,
        help="how much of everything (default: full)",
    )
    parser.add_argument("--json", metavar="FILE", type=Path, help="write every figure of the run there")
    return parser


def _some(known: Iterable[str]) -> Callable[[str], list[str]]:
    def parse(text: str) -> list[str]:
        chosen = text.split(",")
        if unknown := [name for name in chosen if name not in known]:
            raise argparse.ArgumentTypeError(f"no {', '.join(unknown)}: there are {', '.join(known)}")
        return chosen

    return parse


if __name__ == "__main__":
    sys.exit(main())
