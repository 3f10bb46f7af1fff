"""Stands between clients and the sockets of a sandbox, and cuts what passes through."""

from __future__ import annotations

import contextlib
import os
import select
import socket
import threading
from collections.abc import Callable, Iterable, Mapping
from pathlib import Path

from tests.harness import Sandbox, Terminal
from toowld.wire import FrameDecoder, Message


class Cutter:
    """A socket folder of its own, in which every connection goes on to the real one.

    Attributes:
        told: what clients were sent, whole messages only.

    Args:
        budgets: after how many bytes each connection is cut (None: never), one after the other; then none is.
    """

    def __init__(self, sandbox: Sandbox, *sessions: str, budgets: Iterable[int | None] = ()) -> None:
        self._sandbox = sandbox
        self.budgets = iter(budgets)
        self._lock = threading.Lock()
        self._ends: set[socket.socket] = set()
        self._threads: list[threading.Thread] = []
        self._listeners: list[socket.socket] = []
        self.cuts = 0
        self.told: list[Message] = []
        self.runtime = sandbox.root / "p"
        for folder in (self.runtime, self.runtime / "custodians"):
            folder.mkdir(mode=0o700)
        self._ways = {self.runtime / "toowld.sock": sandbox.paths.daemon_socket}
        for session in sessions:
            custodian = sandbox.paths.custodian_socket(session)
            self._ways[self.runtime / "custodians" / custodian.name] = custodian
        self.up()

    def __enter__(self) -> Cutter:
        return self

    def __exit__(self, *_: object) -> None:
        self.down()
        for thread in self._threads:
            thread.join(10)

    def attach(self, session: str, rows: int = 24, cols: int = 80) -> Terminal:
        """A user who is attached by way of us."""
        return self._sandbox.terminal(
            "toowl", "attach", session, rows=rows, cols=cols, TOOWL_RUNTIME_DIR=str(self.runtime)
        )

    def up(self, *, daemon: bool = True) -> None:
        """Let connections through. Without ``daemon`` only those to custodians."""
        for path, target in self._ways.items():
            if path.name == "toowld.sock" and not daemon:
                continue
            listener = socket.socket(socket.AF_UNIX)
            listener.bind(os.fspath(path))
            listener.listen()
            self._listeners.append(listener)
            self._start(self._accept, listener, target)

    def down(self) -> None:
        """Cut everything, and let nobody through any more."""
        for listener in self._listeners:
            Path(listener.getsockname()).unlink(missing_ok=True)
            listener.shutdown(socket.SHUT_RDWR)  # unlike close it wakes the thread that accepts
            listener.close()
        self._listeners.clear()
        self.cut()

    def cut(self) -> None:
        """Cut every connection that there is."""
        with self._lock:
            for end in self._ends:
                with contextlib.suppress(OSError):  # cut already
                    end.shutdown(socket.SHUT_RDWR)

    def _start(self, target: Callable[..., None], *args: object) -> None:
        thread = threading.Thread(target=target, args=args, daemon=True)
        self._threads.append(thread)
        thread.start()

    def _accept(self, listener: socket.socket, target: Path) -> None:
        with contextlib.suppress(OSError):  # shut down
            while True:
                near, _ = listener.accept()
                self._start(self._serve, near, target)

    def _serve(self, near: socket.socket, target: Path) -> None:
        with near, socket.socket(socket.AF_UNIX) as far, contextlib.suppress(OSError):
            far.connect(os.fspath(target))  # where nobody is there we are as good as not there
            with self._lock:
                self._ends |= {near, far}
                budget = next(self.budgets, None)
            try:
                self._relay({near: far, far: near}, far, budget)
            finally:
                with self._lock:
                    self._ends -= {near, far}

    def _relay(
        self, other: Mapping[socket.socket, socket.socket], far: socket.socket, left: int | None
    ) -> None:
        """Pass bytes on, both ways, until one side ends or that many have passed."""
        decoder = FrameDecoder()
        while True:
            readable, _, _ = select.select(list(other), [], [])
            for source in readable:
                data = source.recv(1 << 16)
                if not data:
                    return
                if left is not None:
                    data = data[:left]
                    left -= len(data)
                other[source].sendall(data)
                if source is far:
                    decoder.feed(data)
                    self.told += decoder.messages()
                if left == 0:
                    self.cuts += 1
                    return
