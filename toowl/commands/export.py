"""``toowl export``: a session as an asciinema recording."""

from __future__ import annotations

import argparse
import os
import shlex
import signal
import stat
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from typing import Any, BinaryIO

from toowl.commands._connect import note
from toowl.commands._history import History
from toowl.commands._options import FILE, Parser, add_session, command_parser, session_or_current
from toowl.commands._span import Span, add_span, span_of
from toowl.commands._text import safe, size
from toowld.errors import RefusedError, ToowlError
from toowld.log import OUTPUT, GapMark, LogRecord, write_cast

SUMMARY = "write a session as an asciinema recording"

#: What asciinema itself records of the environment. Nothing else: it may be secret.
_RECORDED_ENV = ("TERM", "SHELL")

#: Seconds between two looks of the progress.
_PROGRESS = 0.2


def parser() -> Parser:
    made = command_parser(
        "export",
        SUMMARY,
        usage="toowl export [SESSION] -o FILE.cast [--since WHEN] [--until WHEN] [--format 2|3] "
        "[--idle-limit S] [--force]",
        description="""Write all that a session printed, with its timing, as an asciicast that asciinema plays.
        Works for running and ended sessions, persistent or not, and without a daemon too. Where the
        log no longer holds the beginning, the recording says so. What was typed is only in it as far as
        it was shown. The file is readable for you alone, and either complete or not there. With --since
        the recording begins with the first output from then on, in a terminal of the size that it had.""",
        examples=(
            ("toowl export work -o work.cast && asciinema play work.cast", ""),
            (
                "toowl export work -o - --idle-limit 2 | gzip > work.cast.gz",
                "no pause longer than two seconds",
            ),
        ),
    )
    add_session(made, optional=True)
    made.add_argument(
        "-o", "--output", metavar=FILE, required=True, help="file to write; - for the standard output"
    )
    made.add_argument(
        "--format",
        type=int,
        choices=(2, 3),
        default=2,
        help="asciicast version (default: 2, which every asciinema plays)",
    )
    made.add_argument("--idle-limit", metavar="S", type=_seconds, help="shorten pauses to S seconds")
    add_span(made)
    made.add_argument("--force", action="store_true", help="replace FILE if it exists")
    return made


def _seconds(text: str) -> float:
    try:
        value = float(text)
    except ValueError:
        value = -1.0
    if not 0 < value < float("inf"):
        raise argparse.ArgumentTypeError(f"{text!r} is no number of seconds")
    return value


def run(argv: list[str]) -> int:
    args = parser().parse_args(argv)
    session = session_or_current(args.session)
    span = span_of(args)
    if args.output != "-":
        _check_target(args.output, force=args.force)
    with History(session) as history:
        if args.output == "-":
            gaps = _write(history, sys.stdout.buffer, args, span)
            sys.stdout.buffer.flush()
        else:
            with _atomic(args.output, force=args.force) as out:
                gaps = _write(history, out, args, span)
        if gaps:
            missing = size(sum(gap.size or 0 for gap in gaps))
            if any(gap.size is None for gap in gaps):
                missing += ", and some more that was lost in a power cut or the like,"
            note(
                f'session "{history.label}": {missing} of output are no longer held; the recording says where'
            )
    return 0


def _write(history: History, out: BinaryIO, args: argparse.Namespace, span: Span) -> list[GapMark]:
    """Write the recording; what of the output was missing."""
    gaps: list[GapMark] = []
    with _progress(history.end) as progress:
        write_cast(
            _watched(span.cut(history.records()), gaps, progress),
            out,
            version=args.format,
            idle_limit=args.idle_limit,
            title=_plain(history.label),
            command=_command(history.record),
            env=_environment(history.record),
        )
    return gaps


def _watched(
    records: Iterator[LogRecord | GapMark], gaps: list[GapMark], progress: Callable[[int], None]
) -> Iterator[LogRecord | GapMark]:
    for record in records:
        if isinstance(record, GapMark):
            gaps.append(record)
        elif record.type == OUTPUT:
            progress(record.end)
        yield record


def _plain(text: str) -> str:
    """``text`` as JSON can hold it."""
    return text.encode("utf-8", "surrogateescape").decode("utf-8", "replace")


def _text(value: Any) -> str:
    """A text of the wire or of a record, which is bytes where it was not UTF-8."""
    return value.decode("utf-8", "replace") if isinstance(value, bytes) else _plain(str(value))


def _command(record: dict[str, Any]) -> str | None:
    """What was asked to be run; None for a shell, which the log names."""
    argv = record.get("argv")
    return shlex.join(_text(word) for word in argv) if isinstance(argv, list) and argv else None


def _environment(record: dict[str, Any]) -> dict[str, str]:
    env = record.get("env")
    if not isinstance(env, dict):
        return {}
    return {name: _text(env[name]) for name in _RECORDED_ENV if env.get(name)}


@contextmanager
def _progress(end: int) -> Iterator[Callable[[int], None]]:
    """Show on a terminal how far it is, if it takes long enough for anybody to wonder."""
    if not sys.stderr.isatty():
        yield lambda seq: None
        return
    begun = shown = time.monotonic()

    def show(seq: int) -> None:
        nonlocal shown
        if (now := time.monotonic()) - shown >= _PROGRESS:
            shown = now
            percent = min(99, 100 * seq // end) if end else 0
            print(f"\rexporting: {percent:2} % of {size(end)}", end="\x1b[K", file=sys.stderr, flush=True)

    try:
        yield show
    finally:
        if shown != begun:
            print(end="\r\x1b[K", file=sys.stderr, flush=True)


# -- the file ---------------------------------------------------------------------------------------------


def _check_target(path: str, *, force: bool) -> None:
    """Refuse early what would be refused at the end.

    Raises:
        RefusedError: something is there that must not be replaced.
    """
    try:
        found = os.stat(path)  # noqa: PTH116 - the path is shown as it was typed
    except FileNotFoundError:
        return
    if not stat.S_ISREG(found.st_mode):
        # Also with --force: to replace /dev/stdout by a file is what nobody ever meant.
        raise RefusedError(
            f"{safe(path)} is not a file: give another name, or `-o -` for the standard output"
        )
    if not force:
        raise _exists(path)


def _exists(path: str) -> RefusedError:
    return RefusedError(f"{safe(path)} exists: give another name, or --force to replace it")


@contextmanager
def _atomic(path: str, *, force: bool) -> Iterator[BinaryIO]:
    """A file that appears under ``path`` when it is complete and on the disk, or not at all."""
    folder, name = os.path.split(os.path.abspath(path))  # noqa: PTH100 - Path would not keep what was typed
    temporary = os.path.join(folder, f".{name[:200]}.{os.urandom(4).hex()}.tmp")  # noqa: PTH118
    with _ending_cleanly():
        try:
            fd = os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600)
        except OSError as error:
            raise ToowlError(
                f"can't write in {safe(folder)}: {error.strerror}: give another -o FILE"
            ) from error
        try:
            with open(fd, "wb", buffering=1 << 18) as out:
                yield out
                out.flush()
                os.fsync(fd)
            _put(temporary, path, force=force)
        except OSError as error:
            raise ToowlError(f"can't write {safe(path)}: {error.strerror}: give another -o FILE") from error
        finally:
            with suppress(FileNotFoundError):  # renamed: the good end
                os.unlink(temporary)  # noqa: PTH108
        _sync_folder(folder)


def _put(temporary: str, path: str, *, force: bool) -> None:
    if force:
        os.replace(temporary, path)  # noqa: PTH105
        return
    try:
        os.link(temporary, path)  # unlike a rename, it fails if somebody else was faster
    except FileExistsError:
        raise _exists(path) from None
    except OSError:  # a file system without hard links
        os.rename(temporary, path)  # noqa: PTH104


def _sync_folder(folder: str) -> None:
    fd = os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        with suppress(OSError):  # some file systems can't; the file itself is on the disk
            os.fsync(fd)
    finally:
        os.close(fd)


@contextmanager
def _ending_cleanly() -> Iterator[None]:
    """Make a SIGTERM or SIGHUP take the way out that removes the temporary file."""

    def leave(number: int, _: object) -> None:
        raise SystemExit(128 + number)

    numbers = (signal.SIGTERM, signal.SIGHUP)
    before = {number: signal.signal(number, leave) for number in numbers}
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
