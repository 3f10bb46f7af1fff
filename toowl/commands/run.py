"""``toowl run``: a command in a session of its own, its output here, and its exit status."""

from __future__ import annotations

import fcntl
import os
import select
import struct
from types import TracebackType
from uuid import uuid4

from toowl.api import plans
from toowl.api.values import Ended, Lost, Piece
from toowl.commands import _attaching
from toowl.commands._connect import connect, note
from toowl.commands._following import Interrupted, Interrupts, driver, label, write_all
from toowl.commands._options import (
    SESSION,
    Parser,
    command_parser,
    limits,
    limits_of,
    of_new_session,
    split_command,
    variables,
)
from toowl.commands._text import size
from toowl.replay import QueryFilter
from toowld import paths
from toowld.errors import RefusedError, UsageError

SUMMARY = "run a command in a session, and show what it prints"

#: Whoever reads a pipe goes (`head`): as a shell reports a program that SIGPIPE ended.
_BROKEN_PIPE = 141

#: So much is written at once: a pipe that has room takes it whole, and at once (PIPE_BUF, pipe(7)).
_PIECE = 4096


def parser() -> Parser:
    made = command_parser(
        "run",
        SUMMARY,
        usage="toowl run [-n NAME] [--cwd DIR] [--env K=V]... [--persistent|--standard] [--idle-timeout TIME] "
        "[--ttl TIME] [--memory-max BYTES] [--cpu-quota PERCENT] [--tasks-max COUNT] [--raw] -- CMD ARG... | "
        "--resume SESSION [--raw]",
        description="""Run CMD in a session of its own, print what it prints, and exit as it does: with its exit
        status, or 128 and the number of the signal that ended it. The session does not need us: after Ctrl-C, a lost
        connection or a closed pipe CMD runs on, and --resume prints the rest, each byte once. Nothing is typed into
        it: toowl send does, and toowl attach. Where the output is no terminal, its lines end as in a file.""",
        examples=(
            ("toowl run -n build -- make -j8", "Ctrl-C leaves it running"),
            ("toowl run --resume build", "the rest of its output, and its exit status"),
            ("toowl run -- cargo test | tee log", "in a pipe"),
        ),
    )
    of_new_session(made)
    limits(made)
    made.add_argument("--raw", action="store_true", help="print the bytes as they are, wherever they go")
    made.add_argument(
        "--resume", metavar=SESSION, help="go on with a session that was run before, where its output stopped"
    )
    made.add_argument("command", metavar="CMD", nargs="*", help="what to run, and its arguments, after --")
    return made


def run(argv: list[str]) -> int:
    ours, command = split_command(argv)
    args = parser().parse_args(ours)
    if args.command:
        raise UsageError(f"what is {args.command[0]!r}? a command goes behind --: see `toowl run --help`")
    if (command is None) == (args.resume is None):
        raise UsageError("give a command behind --, or --resume SESSION: see `toowl run --help`")
    interrupts = Interrupts()
    with connect(autostart=command is not None) as client:
        if args.resume is None:
            info = _attaching.create(
                client,
                argv=command,
                name=args.name,
                cwd=args.cwd,
                extra_env=variables(args.env),
                persistent=args.persistent,
                settings=limits_of(args),
            )
        else:
            info = client.request("info", session=args.resume)
    name = label(info["name"], info["id"])
    with _Taken(info["id"]) as taken:
        output = _Output(taken, interrupts, raw=args.raw)
        try:
            interrupts.watch()
            ended = _follow(info["id"], output)
        except Interrupted as interrupted:
            _tell_left(name)
            return 128 + interrupted.number
        except BrokenPipeError:
            _tell_left(name)
            return _BROKEN_PIPE
    if ended.reason != "exited":
        note(f"session {name} ended ({ended.reason}): how its command did is not known")
    return ended.status


def _tell_left(name: str) -> None:
    note(f"session {name} goes on: `toowl run --resume {name}` prints the rest")


def _follow(session_id: str, output: _Output) -> Ended:
    """Print what comes until the program ends."""
    stream = plans.Output(session_id, output.begin, uuid4().hex, lead=True)
    with driver() as carried_out:
        while True:
            item = carried_out.run(stream.next(None))
            if isinstance(item, Piece):
                output.show(item)
            elif isinstance(item, Lost):
                output.finish()
                note(f"{size(item.end - item.seq)} of its output are not held any more")
            elif isinstance(item, Ended):
                output.finish()
                return item


class _Taken:
    """Up to where a session's output was printed by us: a number beside its log, kept whatever becomes of us.

    Raises:
        RefusedError: another one prints it at this moment.
    """

    def __init__(self, session_id: str) -> None:
        path = paths.resolve().session(session_id) / "taken"
        try:
            self._fd = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC | os.O_NOFOLLOW, 0o600)
        except OSError as error:
            raise RefusedError(
                f"can't note in {path} what was printed: {error.strerror}: `toowl logs {session_id}` prints all"
            ) from error
        try:
            fcntl.flock(self._fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            os.close(self._fd)
            raise RefusedError(
                f"another toowl run prints the output of session {session_id}: `toowl logs -f {session_id}` does too"
            ) from None

    @property
    def seq(self) -> int:
        """The end of what was printed."""
        data = os.pread(self._fd, 8, 0)
        return int(struct.unpack("<q", data)[0]) if len(data) == 8 else 0

    @seq.setter
    def seq(self, value: int) -> None:
        os.pwrite(self._fd, struct.pack("<q", value), 0)

    def __enter__(self) -> _Taken:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        os.close(self._fd)


class _Output:
    """Our standard output. What it has taken is noted with each piece; see `_Taken`.

    Args:
        raw: as it is. Else a terminal is asked nothing, as the session answers itself, and in a file or a pipe lines
            end with LF: the CR before it is the doing of the session's terminal.
    """

    def __init__(self, taken: _Taken, interrupts: Interrupts, *, raw: bool) -> None:
        self.begin = taken.seq
        self._taken = taken
        self._interrupts = interrupts
        terminal = os.isatty(1)
        self._queries = QueryFilter() if terminal and not raw else None
        self._fold = not terminal and not raw
        self._held = b""
        self._room = select.poll()
        self._room.register(1, select.POLLOUT)

    def show(self, piece: Piece) -> None:
        """Print it.

        Raises:
            BrokenPipeError: nobody reads it. Interrupted: a signal came; what was taken is noted.
        """
        for at in range(0, len(piece.data), _PIECE):
            data = piece.data[at : at + _PIECE]
            self._write(self._shown(data), piece.seq + at + len(data))

    def _shown(self, data: bytes) -> bytes:
        if self._queries is not None:
            return self._queries.feed(data)
        if not self._fold:
            return data
        data = self._held + data
        self._held = b"\r" if data.endswith(b"\r") else b""
        return data[: len(data) - len(self._held)].replace(b"\r\n", b"\n")

    def finish(self) -> None:
        """Print what was held back: nothing comes that belongs to it."""
        rest = self._held if self._queries is None else self._queries.flush()
        self._held = b""
        if rest:
            self._write(rest, self._end)

    def _write(self, data: bytes, end: int) -> None:
        self._end = end
        if data:
            self._room.poll()  # a signal may come meanwhile
        with self._interrupts.held():
            write_all(1, data)
            self._taken.seq = end - self._pending

    @property
    def _pending(self) -> int:
        """Bytes that were taken in and not printed."""
        return len(self._held) if self._queries is None else self._queries.held
