"""``toowl send``: type into a session from outside."""

from __future__ import annotations

import os
import sys
from collections.abc import Iterator
from typing import TYPE_CHECKING

from toowl.commands._connect import connect
from toowl.commands._keynames import key_bytes
from toowl.commands._options import Parser, add_session, command_parser
from toowld.errors import UsageError

if TYPE_CHECKING:
    from argparse import Namespace

SUMMARY = "type into a session"

#: Input travels in pieces of at most 64 KiB.
_PIECE = 1 << 16


def parser() -> Parser:
    made = command_parser(
        "send",
        SUMMARY,
        usage="toowl send SESSION [--no-enter|--keys] TEXT... | toowl send SESSION --stdin",
        description="""Type TEXT and Enter into a session, as if somebody sat there. Several words are joined by one
        space. With --keys the words are names of keys as in tmux: C-c, M-x, S-Up, Enter, Tab, Escape,
        Space, BSpace, Up, Down, Left, Right, Home, End, PPage, NPage, IC, DC, F1 to F20, or single
        characters. Put -- before a TEXT that begins with a minus.""",
        examples=(
            ("toowl send work make test", "type 'make test' and Enter"),
            ("toowl send work --keys C-c Up Enter", "stop it, and run the last command again"),
            ("toowl send work --stdin < input.bin", "the bytes as they are, without Enter"),
        ),
    )
    add_session(made)
    made.add_argument("text", metavar="TEXT", nargs="*", help="what to type")
    group = made.add_mutually_exclusive_group()
    group.add_argument("--no-enter", action="store_true", help="type only TEXT")
    group.add_argument("--keys", action="store_true", help="the words are names of keys")
    group.add_argument("--stdin", action="store_true", help="send the bytes of standard input as they are")
    return made


def run(argv: list[str]) -> int:
    # Intermixed: `send s --keys C-c`, where a plain parse has taken "no text" before it comes to --keys.
    args = parser().parse_intermixed_args(argv)
    pieces = _pieces(args)
    with connect() as client:
        for piece in pieces:
            client.request("send", session=args.session, data=piece)
    return 0


def _pieces(args: Namespace) -> Iterator[bytes]:
    """What to send. Mistakes are told before anything is sent."""
    if args.stdin:
        if args.text:
            raise UsageError("--stdin takes what to send from standard input: leave the text out")
        return iter(lambda: os.read(sys.stdin.fileno(), _PIECE), b"")
    if not args.text and args.keys:
        raise UsageError("which keys? such as C-c Up Enter: see `toowl send --help`")
    if not args.text and args.no_enter:
        raise UsageError("nothing to type: give a TEXT")
    if args.keys:
        data = b"".join(key_bytes(word) for word in args.text)
    else:
        # Enter is a carriage return: what the key sends.
        data = os.fsencode(" ".join(args.text)) + (b"" if args.no_enter else b"\r")
    return (data[start : start + _PIECE] for start in range(0, len(data), _PIECE))
