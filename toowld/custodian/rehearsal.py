"""A session of nobody's, played from its start to its end: what a process has done before, it does with less.

The zygote rehearses when nothing is asked of it, with the code of a custodian, a real terminal, a shell and a client.
What is made when it is needed first is made then, and in code that has run a dozen times CPython has replaced what
looks up names by what finds their values at once. Custodians share both, and need not make them once more in memory
of their own.

Nothing of it stays, whatever happens, but that.
"""

from __future__ import annotations

import contextlib
import gc
import os
import resource
import signal
import socket
import time
from itertools import islice

from toowld import paths
from toowld.custodian.__main__ import keep
from toowld.custodian.loop import EpollLoop
from toowld.host.spec import Spec
from toowld.session import Record
from toowld.wire import FrameDecoder, Hello, Input, Message, Request, Response, encode

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterator

#: A play takes a hundredth of that; should something hang, it ends nevertheless (seconds).
LIMIT = 1.0

#: In the runtime folder. One at a time: whatever is there was left by one that was killed.
FOLDER = "rehearsal"

#: Nobody's.
ID = "00000000"

#: It ends at the first line that is typed, after the echo of it.
_PROGRAM = ("sh", "-c", "read line")

_OOM_SCORE = "/proc/self/oom_score_adj"


def rehearse() -> None:
    """Play it once.

    Raises:
        OSError, and what a bug of ours may raise: it was not played to its end.
    """
    with _undisturbed(), _same_score(), _nothing_left_open():
        try:
            _play()
        finally:
            clear()


def begin(link: socket.socket) -> int:
    """Play the daemon of a custodian until its program runs. `clear` what is left, once the custodian is gone.

    Returns:
        the custodian's pid.

    Raises:
        OSError, and what a bug of ours may raise: it did not come so far.
    """
    clear()
    folder = _folder()
    os.mkdir(folder, 0o700)
    link.settimeout(LIMIT)
    link.sendall(b"".join(map(encode, islice(_said(folder, limited=False), 2))))
    decoder = FrameDecoder()
    heard: list[Message] = []
    while not any(isinstance(message, Response) for message in heard):
        if not (data := link.recv(1 << 16)):
            raise ConnectionError("the custodian is gone")
        decoder.feed(data)
        heard += decoder.messages()
    return next(int(message.about["pid"]) for message in heard if isinstance(message, Hello))


def clear() -> None:
    """Remove the files of one that is over, or was killed."""
    folder = _folder()
    for path, folders, files in os.walk(folder, topdown=False):
        for name in files:
            os.unlink(f"{path}/{name}")
        for name in folders:
            os.rmdir(f"{path}/{name}")
    with contextlib.suppress(FileNotFoundError):  # the usual case, beforehand
        os.rmdir(folder)


def _folder() -> str:
    return os.fspath(paths.resolve().runtime / FOLDER)


def _play() -> None:
    clear()
    folder = _folder()
    os.mkdir(folder, 0o700)
    loop = EpollLoop()
    ours, its = socket.socketpair()

    def listen() -> None:
        if not ours.recv(1 << 16):
            loop.remove_reader(ours.fileno())

    with contextlib.closing(loop), ours:
        loop.add_reader(ours.fileno(), listen)
        until = loop.time() + LIMIT
        loop.call_at(until, loop.stop)
        ours.sendall(b"".join(map(encode, _said(folder))))
        keep(ID, its, loop)
        if loop.time() >= until:
            raise TimeoutError("the session did not end")


def _said(folder: str, limited: bool = True) -> Iterator[Message]:
    """What a daemon says, twice; then a client, over the same connection."""
    unlimited = resource.RLIM_INFINITY
    record = Record(
        id=ID,
        name="rehearsal",
        persistent=True,
        cwd="/",
        umask=0o022 if limited else None,
        limits={"core": (0, unlimited), "nproc": (unlimited, unlimited)} if limited else {},
    )
    env = {"PATH": os.defpath, "TERM": "dumb"}
    spec = Spec(record, f"{folder}/log", _PROGRAM, None, env, following=f"{folder}/{ID}")
    yield Hello(about={"role": "daemon"})
    yield Request(1, "start", spec.to_params() | {"socket": f"{folder}/{ID}.sock"})
    yield Request(2, "attach", {"client_id": ID, "rows": 24, "cols": 80})
    yield Input(0, b"\n")


# --- nothing stays --------------------------------------------------------------------------------------


@contextlib.contextmanager
def _undisturbed() -> Iterator[None]:
    """Have a SIGTERM wait until it ends us again: the session takes it for one that is meant for it."""
    before = signal.pthread_sigmask(signal.SIG_BLOCK, [signal.SIGTERM])
    try:
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)


@contextlib.contextmanager
def _nothing_left_open() -> Iterator[None]:
    """Close what was opened meanwhile; a child on a terminal that is closed gets SIGHUP."""
    before = _descriptors()
    try:
        yield
    finally:
        _await_threads()
        gc.collect()  # objects first: they close what they have by its number, which may be somebody else's later
        for fd in _descriptors() - before:
            os.close(fd)


def _descriptors() -> set[int]:
    listed = [int(name) for name in os.listdir("/proc/self/fd")]
    return {fd for fd in listed if os.path.exists(f"/proc/self/fd/{fd}")}  # not that of the listing


def _await_threads() -> None:
    """The one that synced the log has said that it is done; it is gone in a moment. We fork without threads."""
    until = time.monotonic() + LIMIT
    while len(os.listdir("/proc/self/task")) > 1 and time.monotonic() < until:
        time.sleep(0.0001)


@contextlib.contextmanager
def _same_score() -> Iterator[None]:
    """Be killed for lack of memory as likely as before: a custodian lowers that, and its child would inherit it."""
    fd = os.open(_OOM_SCORE, os.O_RDWR | os.O_CLOEXEC)
    try:
        before = os.read(fd, 32)
        try:
            yield
        finally:
            os.pwrite(fd, before, 0)
    finally:
        os.close(fd)
