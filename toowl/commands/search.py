"""``toowl search``: find lines in all that a session printed."""

from __future__ import annotations

import json
import re
import sys
import warnings
from collections import deque
from collections.abc import Iterable, Iterator
from itertools import islice

from toowl.commands._history import history_of
from toowl.commands._options import Parser, add_session, command_parser, whole_number
from toowl.commands._span import shown_time
from toowl.literal import needle
from toowld.errors import UsageError
from toowld.log.lines import Block, Blocks, Line
from toowld.log.plain import Needle

SUMMARY = "find lines in all that a session printed"


def parser() -> Parser:
    made = command_parser(
        "search",
        SUMMARY,
        usage="toowl search SESSION REGEX [-i] [-n N] [-C N] [--json]",
        description="""Print the lines that match REGEX (as in Python) in all that the log of a session holds, each
        with the time when it was printed. Colours and cursor movements are not in the way, and what full-screen
        programs drew is left out. Works on running and ended sessions, and without a daemon too. Exits with
        0 if a line matched and with 1 if none did, as grep does.""",
        examples=(
            ("toowl search build 'error|warning' -i -C 2", "with the two lines before and after each"),
            (
                "toowl search work '^\\$ make' --json | jq -r .time",
                "when make was called, as unix seconds",
            ),
        ),
    )
    add_session(made)
    made.add_argument("regex", metavar="REGEX", help="what to look for; behind -- if it begins with -")
    made.add_argument("-i", "--ignore-case", action="store_true", help="upper and lower case are the same")
    made.add_argument("-n", "--max-count", metavar="N", type=whole_number, help="stop after N lines")
    made.add_argument(
        "-C", "--context", metavar="N", type=whole_number, default=0, help="show N lines before and after too"
    )
    made.add_argument(
        "--json",
        action="store_true",
        help="an object for each line: time (unix seconds), seq (where in the output it begins), line",
    )
    return made


def run(argv: list[str]) -> int:
    args = parser().parse_args(argv)
    pattern = _compile(args.regex, ignore_case=args.ignore_case)
    show = _json if args.json else _text
    out = sys.stdout.buffer
    status = 1
    with history_of(args.session) as history:
        for found in _search(Blocks(history.records), pattern, args.context, args.max_count):
            if found is not None:
                out.write(show(*found))
                status = 0
            elif not args.json:
                out.write(b"--\n")
    out.flush()
    return status


def _compile(regex: str, *, ignore_case: bool) -> re.Pattern[str]:
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # about forms that a later Python will read differently
            return re.compile(regex, re.IGNORECASE if ignore_case else 0)
    except (re.error, RecursionError, OverflowError) as error:
        raise UsageError(
            f"{regex!r} is no regular expression: {error}: put \\ before what is meant as it is"
        ) from None


def _text(line: Line, hit: bool) -> bytes:
    return f"{shown_time(line.wall_us)} {' ' if hit else '-'}{line.text}\n".encode("utf-8", "replace")


def _json(line: Line, hit: bool) -> bytes:
    found = {"time": line.wall_us / 1e6, "seq": line.seq, "line": line.text}
    return json.dumps(found if hit else {**found, "context": True}).encode() + b"\n"


_Found = Iterator[tuple[Line, bool] | None]


def _search(blocks: Iterable[Block], pattern: re.Pattern[str], context: int, limit: int | None) -> _Found:
    """The lines to show, each with whether it matches; None where lines are left out between two of them."""
    literal = needle(pattern)
    if context:
        return _with_context(blocks, pattern, literal, context, limit)
    hits = (
        (block.line(index, text), True)
        for block in blocks
        for index, text in block.texts(literal)
        if pattern.search(text)
    )
    return islice(hits, limit)


def _with_context(
    blocks: Iterable[Block], pattern: re.Pattern[str], literal: Needle | None, context: int, limit: int | None
) -> _Found:
    before: deque[tuple[Block, int, str]] = deque(maxlen=context)
    skipped: deque[Block] = deque()
    due = hits = 0
    left_out = False
    for block in blocks:
        if not due and literal and not any(pattern.search(text) for _, text in block.texts(literal)):
            skipped.append(block)
            while sum(other.least for other in skipped) - skipped[0].least >= context:
                skipped.popleft()
                before.clear()
                left_out = True
            continue
        for old in skipped:
            for index, text in old.texts():
                left_out |= len(before) == context
                before.append((old, index, text))
        skipped.clear()
        for index, text in block.texts():
            if hits != limit and pattern.search(text):
                if left_out and hits:
                    yield None
                yield from ((old.line(number, words), False) for old, number, words in before)
                before.clear()
                left_out = False
                yield block.line(index, text), True
                hits += 1
                due = context
            elif due:
                yield block.line(index, text), False
                due -= 1
            else:
                left_out |= len(before) == context
                before.append((block, index, text))
            if hits == limit and not due:
                return
