"""The entry of a custodian process: `run` after a fork of the zygote, ``toowld --custodian`` after an exec."""

from __future__ import annotations

import contextlib
import ctypes
import os
import signal
import socket
import sys

from toowld import paths
from toowld.custodian import successor
from toowld.custodian.keeper import Custodian
from toowld.custodian.loop import EpollLoop
from toowld.custodian.title import setproctitle

#: So many unexpected exceptions are noted and survived; one that comes back at every turn is not.
TOLERATED_BUGS = 20

#: malloc_trim(3), which only glibc has.
_malloc_trim = getattr(ctypes.CDLL(None), "malloc_trim", lambda pad: 0)


def run(session_id: str, link: socket.socket) -> None:
    """Be the custodian of one session until its child has ended.

    Args:
        session_id: 8 hex digits.
        link: connected to the daemon that wants this custodian; its first request is ``start``.
    """
    _prepare(session_id)
    keep(session_id, link, EpollLoop(on_rest=_give_back_memory))


def keep(session_id: str, link: socket.socket, loop: EpollLoop) -> None:
    """The same, without what makes a process a custodian's."""
    custodian = Custodian(session_id, loop)
    custodian.add_link(link)
    _serve(session_id, custodian, loop)


def _prepare(session_id: str) -> None:
    # A custodian outlives terminals, logins and daemons: it must not be hung up on.
    signal.signal(signal.SIGHUP, signal.SIG_IGN)
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    signal.signal(signal.SIGCHLD, signal.SIG_DFL)
    setproctitle(f"toowld --custodian {session_id}")


def _serve(session_id: str, custodian: Custodian, loop: EpollLoop) -> None:
    for _ in range(TOLERATED_BUGS):
        try:
            loop.run()
            break
        except Exception:  # noqa: BLE001 - a bug of ours is no reason to end somebody's shell
            _leave_trace(session_id)
    custodian.close()


def _give_back_memory() -> None:
    """What was needed for a while, for output, clients and the log: malloc(3) keeps it for the next time."""
    _malloc_trim(0)


def _leave_trace(session_id: str) -> None:
    """What is known of a bug goes beside the log, as nobody reads our stderr."""
    path = paths.resolve().session(session_id) / "custodian.log"
    with contextlib.suppress(OSError):  # a full disk: the session matters more than the note
        import traceback  # only now: it brings a tokenizer along, and every custodian would carry it

        fd = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_APPEND | os.O_CLOEXEC, 0o600)
        with os.fdopen(fd, "w") as file:
            traceback.print_exc(file=file)


def _go_on(session_id: str, state_fd: int) -> None:
    """Be the custodian that another one was in this very process, until it executed us."""
    _prepare(session_id)
    loop = EpollLoop(on_rest=_give_back_memory)
    try:
        custodian = successor.thaw(state_fd, loop)
        os.close(state_fd)
        signal.pthread_sigmask(signal.SIG_SETMASK, [])  # none that came meanwhile is lost
        custodian.go_on()
    except Exception:
        _leave_trace(session_id)
        raise
    _serve(session_id, custodian, loop)


def main(argv: list[str]) -> int:
    """Not for people.

    ``toowld --custodian --id ID --fd N``: N is an inherited socket to the daemon.
    ``toowld --custodian --id ID --state N``: go on with what the descriptor N holds (`upgrade`), in this process.
    ``toowld --custodian --id ID --state N --check M``: say on the socket M whether we could.
    """
    options = dict(zip(argv[::2], argv[1::2], strict=False))
    if "--state" in options:
        if "--check" in options:
            return successor.check(int(options["--state"]), int(options["--check"]))
        _go_on(options["--id"], int(options["--state"]))
        return 0
    try:
        session_id, fd = options["--id"], int(options["--fd"])
        link = socket.socket(fileno=fd)
    except (KeyError, ValueError, OSError):
        print("toowld: --custodian is started by toowld itself, with --id ID --fd N", file=sys.stderr)
        return 2
    os.set_inheritable(fd, False)
    with contextlib.suppress(PermissionError):  # we lead a session already
        os.setsid()
    os.chdir("/")
    null = os.open(os.devnull, os.O_RDWR | os.O_CLOEXEC)
    for standard in (0, 1, 2):  # whoever started us must not be kept by us, nor wait for our output's end
        os.dup2(null, standard)
    os.close(null)
    run(session_id, link)
    return 0
