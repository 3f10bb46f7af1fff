"""``toowl exec``: have the shell of a session run a command, and bring back its output and exit status."""

from __future__ import annotations

import argparse
import json
import re
import sys
import uuid

from toowl.api.executing import Execution
from toowl.api.values import Lost
from toowl.commands._connect import note
from toowl.commands._current import current_session
from toowl.commands._following import driver
from toowl.commands._options import Parser, add_session, command_parser
from toowl.commands._text import size
from toowl.execution import Text
from toowld.errors import UsageError

SUMMARY = "have a session's shell run a command, and bring back its output and exit status"


def parser() -> Parser:
    made = command_parser(
        "exec",
        SUMMARY,
        usage="toowl exec [--timeout SECONDS] [--raw] [--force] [--json] SESSION CMD [ARG...]",
        description="""Type CMD into the shell of a session, which is at its prompt, wait until it is done, and print
        what it printed, as text. Exits with its status. CMD and ARGs are joined by blanks, as ssh does, for the shell
        to read: it runs there, in that shell, with its folder and variables, and can change them. That may be bash,
        zsh, fish or a plain sh, and any shell that marks its prompts, as toowl shell-integration does. What somebody
        has begun to type there is taken away. Several at the same time run one after the other.""",
        examples=(
            ("toowl exec work git status --short", ""),
            (
                "toowl exec work 'cd /srv && make 2>&1 | tail -3'",
                "one word: the whole of it is for the shell there",
            ),
            ("toowl exec --timeout 60 build make test || echo failed", ""),
        ),
    )
    made.add_argument(
        "--timeout",
        metavar="SECONDS",
        type=_seconds,
        help="give up waiting after so long, with status 124; the command goes on",
    )
    made.add_argument("--raw", action="store_true", help="print the bytes as they are, with colours")
    made.add_argument(
        "--force", action="store_true", help="type it, even if the shell does not seem to be at its prompt"
    )
    made.add_argument(
        "--json", action="store_true", help="print an object at the end: output, exit_status, timed_out"
    )
    add_session(made)
    made.add_argument("command", metavar="CMD", nargs="*", help="the command, and its arguments")
    return made


def _seconds(text: str) -> float:
    if not re.fullmatch(r"\d{1,9}(\.\d{1,9})?", text):
        raise argparse.ArgumentTypeError(f"{text!r} is no number of seconds")
    return float(text)


def run(argv: list[str]) -> int:
    ours, command = split(argv)
    args = parser().parse_args(ours)
    if not command.strip():
        raise UsageError("which command? such as: toowl exec work git status")
    execution = Execution(
        args.session, command, uuid.uuid4().hex, timeout=args.timeout, force=args.force, own=current_session()
    )
    printed = _Printed(execution, raw=args.raw, collected=bytearray() if args.json else None)
    try:
        with driver() as carried_out:
            for item in carried_out.stream(execution.plan()):
                printed.take(item)
    except KeyboardInterrupt:
        if execution.typed:
            note(f'session "{execution.label}": the command goes on there')
        raise
    printed.finish()
    if execution.timed_out:
        what = "the command still runs" if execution.begun else "the command has not begun"
        note(f'session "{execution.label}": {what} after {args.timeout:g} s')
    elif not execution.told:
        note(f'session "{execution.label}": its shell is at its prompt again, and told no exit status')
    assert execution.status is not None  # the plan was carried out to its end
    if printed.collected is not None:
        output = printed.collected.decode("utf-8", "surrogateescape")
        answer = {"output": output, "exit_status": execution.status, "timed_out": execution.timed_out}
        print(json.dumps(answer))
    return execution.status


def split(argv: list[str]) -> tuple[list[str], str]:
    """What is ours, and the command: all behind SESSION, whatever it looks like."""
    at = 0
    while at < len(argv) and argv[at].startswith("-"):
        at += 2 if argv[at] == "--timeout" else 1
    rest = argv[at + 1 :]
    return argv[: at + 1], " ".join(rest[1:] if rest[:1] == ["--"] else rest)


class _Printed:
    """What the command prints, on its way to the standard output.

    Attributes:
        collected: all of it, if it is not to be shown as it comes.
    """

    def __init__(self, execution: Execution, *, raw: bool, collected: bytearray | None) -> None:
        self.collected = collected
        self._execution = execution
        self._raw = raw
        self._text: Text | None = None

    def take(self, item: bytes | Lost) -> None:
        """Show it."""
        if isinstance(item, Lost):
            note(f"{size(item.end - item.seq)} of output are lost")
        elif self._raw:
            self._write(item)
        else:
            self._text = self._text or Text(self._execution.cols)  # by now it is known how wide it is
            self._write(self._text.feed(item))

    def finish(self) -> None:
        """No more comes."""
        if self._text is not None:
            self._write(self._text.finish())

    def _write(self, data: bytes) -> None:
        if self.collected is not None:
            self.collected += data
        elif data:
            sys.stdout.buffer.write(data)
            sys.stdout.buffer.flush()  # whoever reads it waits for it
