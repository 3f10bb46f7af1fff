"""A daemon that says what a test tells it to, on a real Unix socket, in the real wire; and commands to ask it."""

from __future__ import annotations

import contextlib
import os
import socket
import threading
from collections.abc import Callable, Mapping
from pathlib import Path
from types import TracebackType
from typing import Any

import cbor2

from tests.harness import Sandbox
from toowld import errors, wire

Answer = Mapping[str, Any] | errors.ToowlError | Callable[[dict[str, Any]], Mapping[str, Any]]


class ScriptedDaemon:
    """Answers each method with what ``answers`` has for it; ``asked`` is what was requested, in order."""

    def __init__(self, path: Path, answers: dict[str, Answer] | None = None, *, role: str = "daemon") -> None:
        self.answers: dict[str, Answer] = {"list": {"sessions": []}, **(answers or {})}
        self.asked: list[tuple[str, dict[str, Any]]] = []
        self.hellos: list[bytes] = []
        self._role = role
        self._path = path
        path.parent.mkdir(parents=True, exist_ok=True)
        self._listener = socket.socket(socket.AF_UNIX)
        self._listener.bind(os.fspath(path))
        self._listener.listen()
        self._threads = [threading.Thread(target=self._accept)]
        self._threads[0].start()

    def __enter__(self) -> ScriptedDaemon:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        # shutdown, unlike close, wakes the thread that accepts.
        self._listener.shutdown(socket.SHUT_RDWR)
        self._listener.close()
        for thread in self._threads:
            thread.join(10)
        self._path.unlink(missing_ok=True)

    def params(self, method: str) -> dict[str, Any]:
        """The parameters of the only request for ``method``."""
        (found,) = [params for name, params in self.asked if name == method]
        return found

    def _accept(self) -> None:
        with contextlib.suppress(OSError):  # shut down
            while True:
                link, _ = self._listener.accept()
                thread = threading.Thread(target=self._serve, args=(link,))
                self._threads.append(thread)
                thread.start()

    def _serve(self, link: socket.socket) -> None:
        decoder = wire.FrameDecoder()
        with link, contextlib.suppress(ConnectionError):  # a client may go without waiting for an answer
            link.sendall(
                wire.encode(wire.Hello(about={"role": self._role, "build": "test", "pid": os.getpid()}))
            )
            while data := link.recv(1 << 16):
                self.hellos.append(data)
                decoder.feed(data)
                for message in decoder.messages():
                    if isinstance(message, wire.Request):
                        link.sendall(wire.encode(self._answer(message)))

    def _answer(self, request: wire.Request) -> wire.Message:
        params = dict(request.params)
        self.asked.append((request.method, params))
        answer = self.answers.get(request.method, errors.ToowlError(f"nothing scripted for {request.method}"))
        try:
            if isinstance(answer, errors.ToowlError):
                raise answer
            return wire.Response(request.id, answer(params) if callable(answer) else answer)
        except errors.ToowlError as error:
            return wire.Failure(request.id, error.code, str(error))


def session(id: str = "2f3a9c1b", **changes: Any) -> dict[str, Any]:
    """What the daemon says about a session, as in ``list``."""
    return {
        "id": id,
        "name": None,
        "persistent": True,
        "state": "running",
        "display": "detached",
        "end_reason": None,
        "exit_code": None,
        "exit_signal": None,
        "error": None,
        "clients": 0,
        "cwd": "/srv",
        "command": "bash",
        "pid": 4711,
        "custodian_pid": 4710,
        "created_at": 1_700_000_000.0,
        "last_active_at": 1_700_000_000.0,
        "seq": 12,
        "log_bytes": 80,
        "rows": 24,
        "cols": 80,
        "degraded": False,
        "custodian_version": "0.1.0",
        **changes,
    }


def run(sandbox: Sandbox, *argv: str, **options: Any) -> tuple[int, str, str]:
    """Exit status, standard output and standard error of `toowl`."""
    done = sandbox.toowl(*argv, check=False, **options)
    return done.returncode, done.stdout, done.stderr


def one_line(text: str) -> bool:
    """Whether this is how an error is told."""
    return text.startswith("toowl: ") and text.count("\n") == 1


def record(sandbox: Sandbox, session_id: str, **values: Any) -> Path:
    """Note a session in the state folder, as a daemon would have; its folder there."""
    folder = sandbox.paths.session(session_id)
    folder.mkdir(parents=True)
    (folder / "record").write_bytes(cbor2.dumps({"form": 1, "id": session_id, **values}))
    return folder
