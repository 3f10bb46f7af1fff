"""``toowl exec``: have the shell of a session run a command, and bring back its output and exit status."""

from __future__ import annotations

import argparse
import fcntl
import json
import os
import re
import select
import sys
import time
import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

from toowl import execution
from toowl.commands._attaching import label
from toowl.commands._connect import connect, note
from toowl.commands._current import current_session
from toowl.commands._options import Parser, add_session, command_parser
from toowl.commands._prompt import Foreground, foreground
from toowl.commands._text import safe, size
from toowl.execution import CLEAR, CLEAR_KERNEL, EDITORS, FAMILIES, KERNEL_LINE, Extract, Text
from toowld import errors, paths, wire
from toowld.log import OUTPUT, LogReader, LogRecord

if TYPE_CHECKING:
    from toowld.client import Client

SUMMARY = "have a session's shell run a command, and bring back its output and exit status"

#: A shell that was just started, or has just done something, gets as long to come to its prompt (seconds).
_GRACE = 3.0
_LOOK_EVERY = 0.05

#: After so much silence it is looked whether the shell is back at its prompt, as after Ctrl-C (seconds).
_SILENCE = 1.0

#: A prompt that was printed so long ago is all there (seconds).
_SETTLED = 0.2

#: Marks are looked for in so much of the end of the output: no prompt is as long (bytes).
_TAIL = 32 << 10

#: As timeout(1) has it.
_TIMED_OUT = 124
_ATTACH_TIMEOUT = 30.0


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
        raise errors.UsageError("which command? such as: toowl exec work git status")
    if "\0" in command:
        raise errors.UsageError("a command can't hold NUL: leave it out")
    deadline = None if args.timeout is None else time.monotonic() + args.timeout
    with connect() as client:
        info = client.request("info", session=args.session)
        _refuse_own(info)
        with _turn(info, deadline):
            here = _Run(client, info, args, deadline)
            status = here.run(command)
    if here.collected is not None:
        output = here.collected.decode("utf-8", "surrogateescape")
        print(json.dumps({"output": output, "exit_status": status, "timed_out": here.timed_out}))
    return status


def split(argv: list[str]) -> tuple[list[str], str]:
    """What is ours, and the command: all behind SESSION, whatever it looks like."""
    at = 0
    while at < len(argv) and argv[at].startswith("-"):
        at += 2 if argv[at] == "--timeout" else 1
    rest = argv[at + 1 :]
    return argv[: at + 1], " ".join(rest[1:] if rest[:1] == ["--"] else rest)


def _refuse_own(info: dict[str, Any]) -> None:
    if current_session() == info["id"]:
        raise errors.RefusedError(
            f'session "{label(info)}": you are inside it, so its shell is not at its prompt: run the command itself'
        )


@contextmanager
def _turn(info: dict[str, Any], deadline: float | None) -> Iterator[None]:
    """Wait until no other toowl runs a command there."""
    path = paths.resolve().exec_lock(str(info["id"]))
    try:
        fd = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC | os.O_NOFOLLOW, 0o600)
    except OSError as error:
        raise errors.RefusedError(f"can't use {path}: {error.strerror}: see `toowld doctor`") from error
    try:
        while True:
            try:
                fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
                break
            except BlockingIOError:
                if deadline is not None and time.monotonic() >= deadline:
                    raise errors.RefusedError(
                        f'session "{label(info)}": another toowl exec runs there: try again, or give it more time'
                    ) from None
                time.sleep(_LOOK_EVERY)
        yield
    finally:
        os.close(fd)


class _Run:
    """One command in one session.

    Attributes:
        collected: what it printed, if that is not to be shown as it comes.
        timed_out: whether it was not done in time.
    """

    def __init__(
        self, client: Client, info: dict[str, Any], args: argparse.Namespace, deadline: float | None
    ) -> None:
        self._client = client
        self._info = info
        self._args = args
        self._deadline = deadline
        self._label = label(info)
        self._word: str | None = None
        self._text = None if args.raw else Text(info.get("cols"))
        self.collected = bytearray() if args.json else None
        self.timed_out = False

    def run(self, command: str) -> int:
        status = self._attempt(command)
        if status is None:
            self._interrupt()
            status = self._attempt(command)
        if status is None:
            raise errors.RefusedError(
                f'session "{self._label}": its shell waits for more, and did not run that: see `toowl capture`'
            )
        return status

    def _attempt(self, command: str) -> int | None:
        """Type it, and follow it to its end; None: it did not begin, as the shell waits for the rest of another."""
        there = self._await_prompt()
        doing = self._info.get("prompt")
        # While a command of a shell that makes marks runs, that may be a shell without.
        marked = doing == "prompt" or (doing == "command" and there.name not in FAMILIES)
        word = self._word = None if marked else uuid.uuid4().hex[:12]
        family = FAMILIES.get(there.name or "")
        typed = execution.line(command, family if marked else family or "sh", word)
        edited = marked or there.name in EDITORS
        if not edited and len(typed) > KERNEL_LINE:
            raise errors.RefusedError(
                f'session "{self._label}": its shell reads lines of {KERNEL_LINE} bytes at most: put it into a script'
            )
        extract = Extract(word, at_prompt=not self._args.force)
        with connect() as viewer:
            self._watch(viewer)
            clear = b"" if self._args.force else CLEAR if edited else CLEAR_KERNEL
            self._client.request("send", session=self._info["id"], data=clear + typed + b"\r")
            try:
                return self._follow(viewer, extract)
            except KeyboardInterrupt:
                note(f'session "{self._label}": the command goes on there')
                raise

    # --- before -----------------------------------------------------------------------------------------

    def _interrupt(self) -> None:
        """Take away a command of several lines that somebody has begun, and what was typed into it: with Ctrl-C."""
        before = self._client.request("info", session=self._info["id"])
        self._client.request("send", session=self._info["id"], data=b"\x03")
        until = time.monotonic() + _GRACE
        while time.monotonic() < until:
            now = self._client.request("info", session=self._info["id"])
            if now["seq"] > before["seq"] and (now.get("quiet") or 0.0) >= _SETTLED:
                break
            time.sleep(_LOOK_EVERY)

    def _await_prompt(self) -> Foreground:
        """Wait a moment for the shell to be at its prompt.

        Raises:
            RefusedError: it is not.
        """
        until = time.monotonic() + _GRACE
        if self._deadline is not None:
            until = min(until, self._deadline)
        while True:
            self._info = self._client.request("info", session=self._info["id"])
            if self._info.get("state") == "unreachable":
                raise errors.RefusedError(
                    f'session "{self._label}" does not answer: `toowl reconnect {self._label}` tells more'
                )
            if self._info.get("state") != "running":
                raise errors.RefusedError(
                    f'session "{self._label}" is not running: `toowl attach {self._label}` starts it again'
                )
            there = foreground(int(self._info.get("pid") or 0))
            obstacle = _obstacle(self._info, there)
            if obstacle is None or self._args.force:
                return there
            if time.monotonic() >= until:
                raise errors.RefusedError(
                    f'session "{self._label}": {safe(obstacle)}: wait, look with `toowl capture`, or say --force'
                )
            time.sleep(_LOOK_EVERY)

    def _watch(self, viewer: Client) -> None:
        """Be given all that is printed from now on."""
        request = viewer.post("attach", {
            "session": self._info["id"], "client_id": uuid.uuid4().hex, "read_only": True, "replay": False,
            "respawn": False,
        })  # fmt: skip
        while True:
            match viewer.receive(timeout=_ATTACH_TIMEOUT):
                case wire.Live():
                    return
                case wire.Failure(number, code, text) if number in (request, 0):
                    raise errors.from_wire(code, text)
                case wire.Ended():
                    raise errors.RefusedError(f'session "{self._label}" has just ended')

    # --- meanwhile --------------------------------------------------------------------------------------

    def _follow(self, viewer: Client, extract: Extract) -> int | None:
        while True:
            message = self._next(viewer)
            match message:
                case None:
                    if self._deadline is not None and time.monotonic() >= self._deadline:
                        return self._give_up(extract)
                    if not extract.begun and not self._args.force and self._is_back():
                        return None
                    if extract.begun and self._word is not None and self._is_back():
                        self._show(extract.rest())
                        return self._finish(130)
                case wire.Output(_, data):
                    self._show(extract.feed(data))
                    if extract.over:
                        return self._done(extract)
                case wire.Gap(start, end):
                    note(f"{size(end - start)} of output are lost")
                case wire.Ended(_, _, code, signum):
                    self._show(extract.rest())
                    return self._finish(
                        128 + signum if signum is not None else code if code is not None else 1
                    )
                case wire.Detached(reason):
                    raise errors.RefusedError(f'session "{self._label}": following it was ended ({reason})')

    def _next(self, viewer: Client) -> wire.Message | None:
        """What comes; None after a while of nothing."""
        if (message := viewer.decoder.next_message()) is not None:
            return message
        wait = _SILENCE
        if self._deadline is not None:
            wait = max(min(wait, self._deadline - time.monotonic()), 0.0)
        ready, _, _ = select.select([viewer.socket], [], [], wait)
        if not ready:
            return None
        try:
            return viewer.receive(timeout=_ATTACH_TIMEOUT)
        except errors.DaemonUnreachable as error:
            raise errors.CustodianLost(
                f'lost the connection to session "{self._label}": see `toowl ls`'
            ) from error

    def _is_back(self) -> bool:
        """Whether the shell is at its prompt, although it has said nothing: a user may have stopped it."""
        return _prompts(foreground(int(self._info.get("pid") or 0)))

    def _give_up(self, extract: Extract) -> int:
        self._show(extract.rest())
        what = "the command still runs" if extract.begun else "the command has not begun"
        self.timed_out = True
        note(f'session "{self._label}": {what} after {self._args.timeout:g} s')
        return self._finish(_TIMED_OUT)

    def _done(self, extract: Extract) -> int:
        if not extract.begun:
            said = " ".join(Text(None).feed(extract.words + b"\n").decode(errors="replace").split())
            raise errors.RefusedError(
                f'session "{self._label}": its shell did not run that{f" ({safe(said)})" if said else ""}'
            )
        if extract.status is None:
            note(f'session "{self._label}": its shell is at its prompt again, and told no exit status')
        return self._finish(1 if extract.status is None else extract.status)

    # --- what is printed --------------------------------------------------------------------------------

    def _show(self, data: bytes) -> None:
        self._write(data if self._text is None else self._text.feed(data))

    def _finish(self, status: int) -> int:
        if self._text is not None:
            self._write(self._text.finish())
        return status & 0xFF

    def _write(self, data: bytes) -> None:
        if self.collected is not None:
            self.collected += data
        elif data:
            sys.stdout.buffer.write(data)
            sys.stdout.buffer.flush()  # whoever reads it waits for it


def _obstacle(info: dict[str, Any], there: Foreground) -> str | None:
    """Why nothing can be typed into that shell now."""
    match info.get("prompt"):
        case "prompt":
            return None if Extract.waits(_tail(info)) else "its shell is not yet at its prompt"
        case "command" if there.pid == info.get("pid") or not _prompts(there):
            return "a command runs there"
    if there.name is None:
        return "nobody knows what runs there"
    if there.name not in FAMILIES:
        return f"{there.name} runs there, no shell"
    if there.name in EDITORS and there.edits is False:
        return f"its {there.name} is not at its prompt"
    return None


def _prompts(there: Foreground) -> bool:
    """Whether that is surely a shell at its prompt."""
    return bool(there.edits) if there.name in EDITORS else there.name in FAMILIES and there.reads_lines


def _tail(info: dict[str, Any]) -> bytes:
    """The last of what was printed."""
    try:
        records = LogReader(Path(str(info.get("log_dir")))).records(max(int(info.get("seq") or 0) - _TAIL, 0))
        return b"".join(r.payload for r in records if isinstance(r, LogRecord) and r.type == OUTPUT)
    except OSError:  # what can't be seen is taken for good
        return b""
