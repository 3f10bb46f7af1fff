"""``python -m bench [run|quick|report]``: see `bench`, and ``--help``."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Callable, Collection, Iterable, Sequence
from pathlib import Path

from bench import results
from bench.compare import compared
from bench.contender import REPOSITORY, Contender
from bench.contenders import ALL
from bench.figures import Results, merge
from bench.measures import MEASURES, QUICK, measure
from bench.report import PICTURES, filled
from bench.run import Effort, Run
from bench.stats import summary
from bench.supervise import supervised

DOCUMENT = REPOSITORY / "docs/performance.md"


def main() -> int:
    """Returns the exit status."""
    args = _parser().parse_args()
    status: int = args.command(args)
    return status


def _run(args: argparse.Namespace) -> int:
    """Measure; what was measured with all contenders becomes part of the document."""

    def work(root: Path) -> int:
        found, complete = _measured(root, args.only, args.contender, args.effort)
        print(_listed(found))
        if args.json:
            results.save(found, args.json)
        elif args.effort is Effort.FULL and not args.contender:
            if results.FILE.exists():
                found = merge(results.load(results.FILE), found)
            results.save(found, results.FILE)
            _report(args)  # from the file: it has fewer digits, and must give the same again
        return 0 if complete else 1

    return supervised(work)


def _quick(args: argparse.Namespace) -> int:
    """Ratios now and those of the committed figures."""
    committed = results.load(results.FILE) if results.FILE.exists() else None

    def work(root: Path) -> int:
        names = ["tmux", "toowl", "toowl-std"]
        found, complete = _measured(root, args.only, names, args.effort)
        print(compared(found, committed))
        return 0 if complete else 1

    return supervised(work)


def _report(_args: argparse.Namespace) -> int:
    """Write the document's tables and pictures anew from the committed figures."""
    _write_report(results.load(results.FILE))
    return 0


def _measured(
    root: Path, measures: list[str], names: Sequence[str] | None, effort: Effort
) -> tuple[Results, bool]:
    """The figures, and whether none is missing."""
    versions = {kind.name: kind.version() for kind in ALL if names is None or kind.name in names}
    kinds: list[type[Contender]] = [kind for kind in ALL if versions.get(kind.name)]
    run = Run(root, kinds, effort)
    described = results.machine(root)
    run.say(", ".join(f"{what}: {value}" for what, value in described.items()))
    if missing := [name for name, version in versions.items() if version is None]:
        run.say(f"not installed: {', '.join(missing)}")
    complete = measure(run, measures)
    there = {name: version for name, version in versions.items() if version}
    return results.results_of(run.series.values(), there, described), complete


def _listed(found: Results) -> str:
    lines = [f"\n{'measure':24} {'contender':10} {'median':>10}  quartiles"]
    for series in found.series:
        middle = summary(series.values)
        label = series.measure if series.x is None else f"{series.measure} ({series.x})"
        spread = f"{middle.low:.4g} to {middle.high:.4g} {series.unit}"
        lines.append(f"{label:24} {series.contender:10} {middle.median:10.4g}  {spread}")
    return "\n".join(lines)


def _write_report(found: Results) -> None:
    DOCUMENT.write_text(filled(DOCUMENT.read_text(), found))
    folder = DOCUMENT.with_suffix("")
    folder.mkdir(exist_ok=True)
    for name, draw in PICTURES.items():
        if picture := draw(found):
            (folder / f"{name}.svg").write_text(picture)
    print(f"wrote {DOCUMENT.relative_to(REPOSITORY)} and its pictures")


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="python -m bench",
        description="Measure toowl beside what else is installed, in private namespaces, and leave nothing behind.",
    )
    commands = parser.add_subparsers(metavar="COMMAND", required=True)
    run = commands.add_parser("run", help="measure, and bring the document up to date (minutes)")
    run.set_defaults(command=_run)
    _add_only(run, MEASURES)
    names = [kind.name for kind in ALL]
    run.add_argument(
        "--contender",
        metavar="NAME,…",
        type=_some(names),
        help=f"of {', '.join(names)}; then the document stays as it is (default: all)",
    )
    _add_effort(run, Effort.FULL, "; only full goes into the document")
    run.add_argument("--json", metavar="FILE", type=Path, help="write the figures there, and nowhere else")
    quick = commands.add_parser("quick", help="ratios to tmux, now and as committed (two minutes)")
    quick.set_defaults(command=_quick)
    _add_only(quick, QUICK)
    _add_effort(quick, Effort.QUICK)
    report = commands.add_parser(
        "report", help="make the document's tables and pictures from the committed figures"
    )
    report.set_defaults(command=_report)
    return parser


def _add_only(parser: argparse.ArgumentParser, default: Collection[str]) -> None:
    usual = "all" if len(default) == len(MEASURES) else ", ".join(default)
    parser.add_argument(
        "--only",
        metavar="MEASURE,…",
        type=_some(MEASURES),
        default=list(default),
        help=f"of {', '.join(MEASURES)} (default: {usual})",
    )


def _add_effort(parser: argparse.ArgumentParser, default: Effort, more: str = "") -> None:
    parser.add_argument(
        "--effort",
        type=Effort,
        default=default,
        choices=Effort,
        help=f"how much of everything{more} (default: {default})",
    )


def _some(known: Iterable[str]) -> Callable[[str], list[str]]:
    def parse(text: str) -> list[str]:
        chosen = text.split(",")
        if unknown := [name for name in chosen if name not in known]:
            raise argparse.ArgumentTypeError(f"no {', '.join(unknown)}: there are {', '.join(known)}")
        return chosen

    return parse


if __name__ == "__main__":
    sys.exit(main())
