"""Runs `toowl.attach.attach` on the terminal that it is given, as the CLI does; for `world.World`.

Usage: attach_driver.py SOCKET_FD|SOCKET_PATH [read-only|crash|again|keepalive|patient|stops|breaks|asks]

With ``again`` a lost connection is made anew, in the folder of SOCKET_PATH; with ``keepalive`` a silent one is lost.
With ``patient`` the answer to a detach is waited for longer than any test lasts.
With ``asks`` it is as with ``again``, and this process stops as soon as it has asked for a key.
With ``stops`` and ``breaks`` a picture is ordered; where the rest is loaded then, this process stops, or can't.
"""

from __future__ import annotations

import _socket
import os
import signal
import sys
from pathlib import Path

from toowl import attach as attach_module
from toowl import attachment, picture
from toowl.connection import Dialler
from toowl.reconnect import Keepalive
from toowl.terminal import RawTerminal, terminal_size
from toowld import wire
from toowld.client import Client
from toowld.errors import ToowlError
from toowld.paths import Paths


def _crash(self: attachment.Attachment, message: wire.Message) -> None:
    raise RuntimeError("injected")


def _stop_behind_the_question() -> None:
    write_all = RawTerminal.write_all

    def written(self: RawTerminal, data: bytes, *, timeout: float) -> int:
        done = write_all(self, data, timeout=timeout)
        if data.endswith(b"any other key to leave "):
            os.kill(os.getpid(), signal.SIGSTOP)
        return done

    RawTerminal.write_all = written  # type: ignore[method-assign]


class _AtTheRest:
    """Among the finders of modules: does something when `toowl.loop` is looked for."""

    def __init__(self, what: str) -> None:
        self._what = what

    def find_spec(self, name: str, *_: object) -> None:
        if name == "toowl.loop" and self._what == "stops":
            os.kill(os.getpid(), signal.SIGSTOP)
        elif name == "toowl.loop":
            raise ImportError("injected")


def main() -> int:
    option = sys.argv[2] if len(sys.argv) > 2 else ""
    if option == "crash":
        attachment.Attachment.receive = _crash  # type: ignore[method-assign]
    if option == "patient":
        from toowl import loop

        loop._DETACH_TIMEOUT = 600
    if sys.argv[1].isdigit():
        client = Client(_socket.socket(fileno=int(sys.argv[1])), "the peer")
    else:
        client = Client.connect_path(sys.argv[1])
    params = {"session": "work", "read_only": option == "read-only"}
    dialler = None
    if option == "asks":
        _stop_behind_the_question()
    if option in ("again", "keepalive", "asks"):
        folder = Path(sys.argv[1]).parent
        dialler = Dialler(lambda: Paths(runtime=folder, state=folder, config=folder / "config.toml"))
    if option == "keepalive":
        assert dialler
        dialler.keepalive = Keepalive(interval=0.1, patience=0.5)
    ordered = None
    if option in ("stops", "breaks"):
        sys.meta_path.insert(0, _AtTheRest(option))
        ordered = picture.order(client, "work", terminal_size(), read_only=False)
    try:
        return attach_module.attach(client, params, None if dialler is None else lambda: dialler, ordered)
    except ToowlError as error:
        print(f"toowl: {error}", file=sys.stderr)
        return error.exit_status


if __name__ == "__main__":
    sys.exit(main())
