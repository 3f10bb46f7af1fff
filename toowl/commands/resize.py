"""``toowl resize``: give a detached session another size."""

from __future__ import annotations

import re

from toowl.commands._connect import connect
from toowl.commands._options import Parser, add_session, command_parser
from toowld.errors import UsageError
from toowld.wire import Size

SUMMARY = "give a detached session another size"


def parser() -> Parser:
    made = command_parser(
        "resize",
        SUMMARY,
        usage="toowl resize SESSION COLSxROWS",
        description="""Give the terminal of a session another size, as a script may want. While
        terminals are attached, they decide.""",
        examples=(("toowl resize build 200x50", "200 columns, 50 rows"),),
    )
    add_session(made)
    made.add_argument("size", metavar="COLSxROWS", help="columns and rows, such as 120x40")
    return made


def run(argv: list[str]) -> int:
    args = parser().parse_args(argv)
    size = _size(args.size)
    with connect() as client:
        client.request("resize", session=args.session, rows=size.rows, cols=size.cols)
    return 0


def _size(text: str) -> Size:
    found = re.fullmatch(r"([0-9]{1,5})[xX]([0-9]{1,5})", text)
    try:
        if found is None:
            raise ValueError("no COLSxROWS")
        return Size(rows=int(found[2]), cols=int(found[1]))
    except ValueError as error:
        raise UsageError(f"{text!r} is no terminal size: give columns and rows, such as 120x40") from error
