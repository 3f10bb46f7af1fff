"""``toowl wait``: until a session has ended, said something, fallen silent, or waits for somebody."""

from __future__ import annotations

import json
import math
from typing import Any
from uuid import uuid4

from toowl.api import waiting
from toowl.api.values import Ended, Waited
from toowl.commands._connect import note
from toowl.commands._following import driver
from toowl.commands._options import Parser, add_session, command_parser, seconds
from toowl.commands._text import safe
from toowld.errors import UsageError

SUMMARY = "wait until a session has ended, printed something, or waits itself"

#: As of timeout(1).
TIMEOUT = 124
#: The program ended before what was waited for.
ENDED = 10


def parser() -> Parser:
    made = command_parser(
        "wait",
        SUMMARY,
        usage="toowl wait SESSION --exit|--match REGEX [--from now|SEQ]|--screen REGEX|--idle S|--prompt|--input "
        "[--timeout S] [--json]",
        description=f"""Wait until something is so. Exits with 0 then; with {TIMEOUT} when the time is over, with
        {ENDED} when the program ended before. With --exit: as the program did, 128 and the number of the signal that
        ended it. A daemon that is restarted meanwhile makes no difference.""",
        examples=(
            ("toowl wait build --exit --timeout 600", "and exit as it does"),
            (
                "toowl wait server --match 'listening on port \\d+' --from 0",
                "in all that it has printed and prints",
            ),
            ("toowl send work make && toowl wait work --prompt", "with `toowl shell-integration`"),
            ("toowl wait editor --screen '-- INSERT --'", "what a full-screen program draws"),
            ("toowl wait agent --input && notify-send 'your turn'", "it asks something, or is at its prompt"),
        ),
    )
    add_session(made)
    what = made.add_mutually_exclusive_group(required=True)
    what.add_argument("--exit", action="store_true", help="its program has ended")
    what.add_argument(
        "--match",
        metavar="REGEX",
        help="a line that it prints has this in it, without escape sequences; the line is printed. What a "
        "full-screen program draws on a screen of its own is not looked at: --screen does",
    )
    what.add_argument(
        "--screen",
        metavar="REGEX",
        help="a line of its screen, as toowl capture shows it, has this in it; the line is printed. Looked at now, "
        "or half a second after somebody typed, and when something was printed and then nothing for a moment",
    )
    what.add_argument("--idle", metavar="S", type=seconds, help="it has printed nothing for S seconds")
    what.add_argument(
        "--prompt", action="store_true", help="its shell is at its prompt (needs toowl shell-integration)"
    )
    what.add_argument(
        "--input",
        action="store_true",
        help="what runs in the foreground waits for somebody to type: it reads its terminal, or its shell is at its "
        "prompt",
    )
    made.add_argument(
        "--from",
        dest="start",
        metavar="now|SEQ",
        default="now",
        help="with --match: look at its output from there on; seq is in toowl info --json, 0 is all that is held "
        "(default: now)",
    )
    made.add_argument("--timeout", metavar="S", type=seconds, help="give up after S seconds")
    made.add_argument(
        "--json", action="store_true", help="print an object: reason (met, timeout, ended), line, seq, ended"
    )
    return made


def run(argv: list[str]) -> int:
    args = parser().parse_args(argv)
    if args.start != "now" and args.match is None:
        raise UsageError("--from is about what is matched: leave it out without --match")
    if args.start != "now" and not (args.start.isascii() and args.start.isdigit()):
        raise UsageError(
            f"--from {args.start!r} is no place in the output: now, or a seq as of `toowl info --json`"
        )
    timeout = None if args.timeout is None or math.isinf(args.timeout) else args.timeout
    plan = waiting.wait(
        args.session,
        uuid4().hex,
        exit=args.exit,
        match=args.match,
        from_seq=None if args.start == "now" else int(args.start),
        idle=args.idle,
        prompt=args.prompt,
        input=args.input,
        screen=args.screen,
        timeout=timeout,
    )
    with driver() as carried_out:
        waited = carried_out.run(plan)
    if args.json:
        print(json.dumps(_as_json(waited)))
    else:
        _tell(waited, args.session, exit=args.exit)
    if waited.reason == "timeout":
        return TIMEOUT
    if waited.ended is not None:
        return waited.ended.status if args.exit else ENDED
    return 0


def _tell(waited: Waited, session: str, *, exit: bool) -> None:
    if waited.reason == "timeout":
        note(f"session {session}: the time is over")
    elif waited.ended is not None and not exit:
        note(f"session {session} has ended")
    elif waited.line is not None:
        print(safe(waited.line))


def _as_json(waited: Waited) -> dict[str, Any]:
    return {
        "reason": waited.reason,
        "line": waited.line,
        "seq": waited.seq,
        "ended": None if waited.ended is None else _ended(waited.ended),
    }


def _ended(ended: Ended) -> dict[str, Any]:
    return {"reason": ended.reason, "code": ended.code, "signal": ended.signal, "exit_status": ended.status}
