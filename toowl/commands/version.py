"""``toowl version``: which toowl this is."""

from __future__ import annotations

from toowl.commands._options import Parser, command_parser
from toowld import __version__

SUMMARY = "print the version"


def parser() -> Parser:
    return command_parser(
        "version",
        SUMMARY,
        usage="toowl version | toowl --version",
        description="Print the version of this toowl. `toowld doctor` tells those of everything that runs.",
    )


def run(argv: list[str]) -> int:
    parser().parse_args(argv)
    print(f"toowl {__version__}")
    return 0
