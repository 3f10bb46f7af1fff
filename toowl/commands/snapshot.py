"""``toowl snapshot``: a picture of what a session shows, in a file."""

from __future__ import annotations

import sys

from toowl.commands._history import history_of
from toowl.commands._options import FILE, Parser, add_session, command_parser, session_or_current
from toowl.commands._target import atomic, check_target
from toowld.errors import UsageError

SUMMARY = "draw what a session shows"


def parser() -> Parser:
    made = command_parser(
        "snapshot",
        SUMMARY,
        usage="toowl snapshot [SESSION] -o FILE [--format svg|html|ansi|text|json] [--scrollback] [--force]",
        description="""Draw what a session shows now, worth putting into a bug report. The name of FILE tells the
        format (.svg, .html, .ans, .txt, .json). Everything that is on the screen is in it, secrets too. The file
        is readable for you alone. Works on ended sessions, without attaching, and without a daemon too.""",
        examples=(
            ("toowl snapshot work -o shot.svg", ""),
            ("toowl snapshot build -o build.html --scrollback", "with what scrolled out of the screen"),
        ),
    )
    add_session(made, optional=True)
    made.add_argument(
        "-o", "--output", metavar=FILE, required=True, help="file to write; - for the standard output"
    )
    made.add_argument(
        "--format", choices=("svg", "html", "ansi", "text", "json"), help="if FILE does not tell"
    )
    made.add_argument("--scrollback", action="store_true", help="with the lines above the screen")
    made.add_argument("--force", action="store_true", help="replace FILE if it exists")
    return made


def run(argv: list[str]) -> int:
    args = parser().parse_args(argv)
    session = session_or_current(args.session)
    from toowl.commands._shot import shot

    form = args.format or _format_of(args.output)
    if args.output != "-":
        check_target(args.output, force=args.force)
    with history_of(session) as history:
        drawn = shot(history, form, scrollback=args.scrollback)
    if args.output == "-":
        sys.stdout.buffer.write(drawn)
        sys.stdout.buffer.flush()
    else:
        with atomic(args.output, force=args.force) as out:
            out.write(drawn)
    return 0


def _format_of(path: str) -> str:
    from toowl.commands._shot import FORMATS

    if path == "-":
        return "svg"
    ending = path.rpartition(".")[2].lower()
    for form, usual in FORMATS.items():
        if ending in (form, usual):
            return form
    raise UsageError(
        f"the name of the file does not tell the format: give --format, one of {', '.join(FORMATS)}"
    )
