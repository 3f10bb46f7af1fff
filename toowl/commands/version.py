"""``toowl version``: which toowl this is."""

from __future__ import annotations

import json

from toowl.commands._options import Parser, command_parser
from toowld import __version__

SUMMARY = "print the version"


def parser() -> Parser:
    made = command_parser(
        "version",
        SUMMARY,
        usage="toowl version [--json] | toowl --version",
        description="Print the version of this toowl. `toowld doctor` tells those of everything that runs.",
    )
    made.add_argument("--json", action="store_true", help="print an object")
    return made


def run(argv: list[str]) -> int:
    args = parser().parse_args(argv)
    print(json.dumps({"version": __version__}) if args.json else f"toowl {__version__}")
    return 0
