"""``python -m toowld.screen.worker FD``: a helper of the daemon that does what takes time, or might crash.

A process of its own, because a picture takes up to a second of Python and the memory of ten thousand lines, and
because a bug in the emulator's native code must not take the daemon down, with every standard session. FD is a socket
to the daemon: requests come in frames and are answered one after the other. It goes when the daemon does.
"""

from __future__ import annotations

import contextlib
import gc
import resource
import signal
import socket
import sys
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from toowld.classes import to_dict
from toowld.errors import RefusedError, ScreenError, ToowlError
from toowld.screen.picture import answer, caught_up, picture
from toowld.wire import Failure, FrameDecoder, Message, Request, Response, Size, encode

_RECEIVE_BYTES = 1 << 16
#: Address space. A model of the largest screen with all of its scrollback takes a tenth of it.
_MEMORY = 2 << 30


def serve(daemon: socket.socket) -> None:
    """Answer until the daemon is gone."""
    decoder = FrameDecoder()
    while data := daemon.recv(_RECEIVE_BYTES):
        decoder.feed(data)
        for message in decoder.messages():
            if isinstance(message, Request):
                daemon.sendall(encode(_answer(message)))


def _answer(request: Request) -> Message:
    try:
        return Response(request.id, _carry_out(request.method, request.params))
    except ToowlError as error:
        return Failure(request.id, error.code, str(error))
    except (OSError, MemoryError) as error:
        return Failure(request.id, ScreenError.code, f"no picture of the session: {error}")


def _carry_out(method: str, params: Mapping[str, Any]) -> dict[str, Any]:
    if time.monotonic() > params["expires"]:
        raise RefusedError("whoever asked has given up")
    folder = Path(params["folder"])
    if method == "answer":
        return {"data": answer(folder, params["end"], params["query"])}
    if method == "follow":
        followed = caught_up(folder, params["limit"])
        return {"seq": followed.seq, "fed": followed.seq - (followed.snapshot or 0)}
    if method == "picture":
        made = picture(folder, _size(params["size"]), _size(params["terminal"]), lines=params["lines"])
        told: dict[str, Any] = to_dict(made)
        return told
    raise RefusedError(f"this helper does not know the request '{method}'")


def _size(given: list[int] | None) -> Size | None:
    return None if given is None else Size(rows=given[0], cols=given[1])


def main(argv: list[str]) -> int:
    """Not for people."""
    try:
        daemon = socket.socket(fileno=int(argv[0]))
    except (IndexError, ValueError, OSError):
        print("toowld: the screen helper is started by toowld itself", file=sys.stderr)
        return 2
    daemon.set_inheritable(False)
    for signum in (signal.SIGINT, signal.SIGHUP):
        signal.signal(signum, signal.SIG_IGN)  # meant for the daemon; it takes us along
    # A picture is a hundred thousand objects without a cycle: to look for some takes a third of the time.
    gc.disable()
    resource.setrlimit(resource.RLIMIT_AS, (_MEMORY, _MEMORY))
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))  # the screens in it may hold secrets
    with contextlib.suppress(ConnectionError):  # the daemon was killed while we answered
        serve(daemon)
    return 0


if __name__ == "__main__":
    raise SystemExit(main(sys.argv[1:]))
