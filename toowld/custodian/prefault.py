"""The memory that a session writes to while it begins, copied before it does.

A fork shares its parent's pages until one of the two writes to them: then the kernel stops it, and copies the page.
Which ones a session will write to is always nearly the same. So a process that plays the beginning of one finds out,
once, and whoever waits for a session has the kernel copy just these, all at once. Nearly all of that memory a session
would take a moment later; some 15 pages it would not.
"""

from __future__ import annotations

import array
import ctypes
import os
import signal
import socket

from toowld.custodian import rehearsal

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

_PAGE = os.sysconf("SC_PAGESIZE")

#: As if each page was written to (since Linux 5.14). To write what is there already would not do: it may be another
#: value by then.
_MADV_POPULATE_WRITE = 23

_madvise = ctypes.CDLL(None).madvise
_madvise.argtypes = (ctypes.c_size_t, ctypes.c_size_t, ctypes.c_int)

#: In an entry of /proc/PID/pagemap (since Linux 4.2): nobody else has that page.
_EXCLUSIVE = 1 << 56
#: The same: it is a file's. A private page that was written to is none.
_OF_FILE = 1 << 61


def written_by_a_beginning(fork: Callable[..., int]) -> bytes:
    """Have a custodian of nobody's begin its session, and look.

    What any of us writes to after a fork, another may be left alone with, as if that one had written to it. So there
    is one who forks the custodian and then does nothing, and another who does all that there is to do.

    Args:
        fork: makes a custodian: of a session id, a descriptor that becomes its link, and others that it must not
            have.

    Returns:
        what `copy` takes; nothing, if it can't be told.

    Raises:
        OSError: no process can be started.
    """
    link, its = socket.socketpair()
    ours, theirs = socket.socketpair()
    with link, ours:
        with its, theirs:
            if os.fork() == 0:
                _share(fork, its.fileno(), theirs.fileno(), (link.fileno(), ours.fileno()))
        told, tell = os.pipe()
        if os.fork() == 0:
            _look(link, ours, tell)
        os.close(tell)
    with os.fdopen(told, "rb") as answer:
        return answer.read()


def _share(fork: Callable[..., int], link: int, over: int, others: tuple[int, ...]) -> None:
    """Share with the custodian whatever it does not write to. Never returns."""
    try:
        signal.signal(signal.SIGCHLD, signal.SIG_DFL)  # its pid is its own until we have waited for it
        pid = fork(rehearsal.ID, link, over, *others)
        for fd in others:
            os.close(fd)
        os.read(over, 1)
        os.kill(pid, signal.SIGKILL)
        os.waitpid(pid, 0)
    finally:
        os._exit(0)


def _look(link: socket.socket, over: socket.socket, tell: int) -> None:
    """Play the daemon, see what the custodian has written to, and have it ended. Never returns."""
    try:
        over.settimeout(rehearsal.LIMIT)
        shared = list(_writable())
        try:
            written = _own(rehearsal.begin(link), shared)
        finally:
            over.shutdown(socket.SHUT_WR)
            over.recv(1)  # until both are gone
            rehearsal.clear()
        os.write(tell, written)
    finally:
        os._exit(0)


def _writable() -> Iterator[tuple[int, int]]:
    """Where our memory is that others share until it is written to: the numbers of pages, from and up to."""
    with open("/proc/self/maps") as file:
        for line in file:
            place, rights, _ = line.split(" ", 2)
            if rights == "rw-p":
                start, _, end = place.partition("-")
                yield int(start, 16) // _PAGE, int(end, 16) // _PAGE


def _own(pid: int, where: list[tuple[int, int]]) -> bytes:
    """The first address and the length of each piece of it that a process shares with nobody any more."""
    found = array.array("Q")
    with open(f"/proc/{pid}/pagemap", "rb", buffering=0) as file:
        for first, end in where:
            file.seek(8 * first)
            for number, entry in enumerate(array.array("Q", file.read(8 * (end - first))), first):
                if entry & (_EXCLUSIVE | _OF_FILE) != _EXCLUSIVE:
                    continue
                if found and found[-2] + found[-1] == number * _PAGE:
                    found[-1] += _PAGE
                else:
                    found.extend((number * _PAGE, _PAGE))
    return found.tobytes()


def copy(written: bytes) -> None:
    """Have what a beginning writes to copied now. Where the kernel can't, it is when it is needed."""
    pieces = memoryview(written).cast("Q")
    for place in range(0, len(pieces), 2):
        _madvise(pieces[place], pieces[place + 1], _MADV_POPULATE_WRITE)
