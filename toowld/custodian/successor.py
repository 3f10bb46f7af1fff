"""Taking over from an older custodian: reading what it leaves (`upgrade`), and trying beforehand whether we could.

It comes in a memory file: a CBOR map, whose form docs/protocol.md tells and which is frozen like the wire. We read
every form that was ever released.
"""

from __future__ import annotations

import os
import socket

from toowld import __version__, cbor
from toowld.custodian.keeper import Custodian
from toowld.custodian.loop import EpollLoop
from toowld.custodian.upgrade import FORM

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any


def thaw(state_fd: int, loop: EpollLoop) -> Custodian:
    """The custodian that the descriptor tells of, with what it has open: all that is ours now."""

    def take(fd: int) -> int:
        os.set_inheritable(fd, False)
        return fd

    return Custodian.thaw(_read(state_fd), take, loop)


def _read(fd: int) -> dict[str, Any]:
    data = b""
    while piece := os.pread(fd, 1 << 20, len(data)):
        data += piece
    state: dict[str, Any] = cbor.loads(data)
    if state["form"] > FORM:
        raise ValueError(f"what it leaves is of form {state['form']}, and this is toowl {__version__}")
    return state


def check(state_fd: int, control_fd: int) -> int:
    """Rebuild all of it, and say on a socket how that went: "ok VERSION" or "no REASON", a line.

    Again for each byte that comes there, until its end. In place of the descriptors, of which we have none, stand
    others: so nothing that is done here can reach the session.
    """
    with socket.socket(fileno=control_fd) as control:
        while True:
            answer = _attempt(state_fd)
            control.sendall(" ".join(answer.split()).encode(errors="replace") + b"\n")
            if not control.recv(1):
                return 0


def _attempt(state_fd: int) -> str:
    try:
        Custodian.thaw(_read(state_fd), _stand_in, EpollLoop()).check()
    except Exception as error:  # noqa: BLE001 - whatever it is, it is an answer
        return f"no {type(error).__name__}: {error}"
    return f"ok {__version__}"


def _stand_in(fd: int) -> int:
    """A descriptor that can be waited for."""
    ours, other = socket.socketpair()
    other.close()
    return ours.detach()
