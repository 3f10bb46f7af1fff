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
from toowld.host import FrameSocket
from toowld.wire import Hello, Message, Request, encode

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable

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
    setproctitle(title(session_id))
    loop = prepare()
    custodian = Custodian(session_id, loop)
    custodian.add_link(link)
    _serve(custodian, loop)


def wait(zygote: socket.socket, loop: EpollLoop, on_named: Callable[[str], object]) -> None:
    """Be the custodian of a session that is not known yet, until its child has ended, or the zygote is gone.

    Args:
        zygote: is told as soon as we wait, and then says ``become`` (``id``: the session's), with our link.
        on_named: gets the session's id.
    """
    custodian = Custodian("", loop)
    custodian.wait()

    def become(request: Message, fds: list[int]) -> None:
        assert isinstance(request, Request)
        custodian.become(request.params["id"])
        on_named(custodian.session_id)
        custodian.add_link(socket.socket(fileno=fds[0]))
        teller.close()

    teller = FrameSocket(zygote, loop, on_message=become, on_close=lambda reason: loop.stop())
    teller.send(encode(Hello(about={"role": "spare"})))
    _serve(custodian, loop)


def prepare() -> EpollLoop:
    """Make this process a custodian's. Returns its loop."""
    # A custodian outlives terminals, logins and daemons: it must not be hung up on.
    signal.signal(signal.SIGHUP, signal.SIG_IGN)
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    signal.signal(signal.SIGCHLD, signal.SIG_DFL)
    return EpollLoop(on_rest=_give_back_memory)


def title(session_id: str) -> str:
    """Of the custodian of a session, in ps."""
    return f"toowld --custodian {session_id}"


def _serve(custodian: Custodian, loop: EpollLoop) -> None:
    """Until its session is over."""
    for _ in range(TOLERATED_BUGS):
        try:
            loop.run()
            break
        except Exception:  # noqa: BLE001 - a bug of ours is no reason to end somebody's shell
            _leave_trace(custodian.session_id)
    custodian.close()


def _give_back_memory() -> None:
    """What was needed for a while, for output, clients and the log: malloc(3) keeps it for the next time."""
    _malloc_trim(0)


def _leave_trace(session_id: str) -> None:
    """What is known of a bug goes beside the log, as nobody reads our stderr."""
    if not session_id:  # a spare's
        return
    path = paths.resolve().session(session_id) / "custodian.log"
    with contextlib.suppress(OSError):  # a full disk: the session matters more than the note
        import traceback  # only now: it brings a tokenizer along, and every custodian would carry it

        fd = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_APPEND | os.O_CLOEXEC, 0o600)
        with os.fdopen(fd, "w") as file:
            traceback.print_exc(file=file)


def _go_on(session_id: str, state_fd: int) -> None:
    """Be the custodian that another one was in this very process, until it executed us."""
    setproctitle(title(session_id))
    loop = prepare()
    try:
        custodian = successor.thaw(state_fd, loop)
        os.close(state_fd)
        signal.pthread_sigmask(signal.SIG_SETMASK, [])  # none that came meanwhile is lost
        custodian.go_on()
    except Exception:
        _leave_trace(session_id)
        raise
    _serve(custodian, loop)


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
