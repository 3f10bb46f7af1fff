"""Real custodians, through a zygote or on their own, and plain blocking links to them."""

from __future__ import annotations

import contextlib
import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, TypeVar

import psutil

from tests.harness import DEADLINE, Sandbox, alive, wait_for
from toowld.host.spec import Spec
from toowld.log import LogReader
from toowld.session import Record
from toowld.wire import Event, Failure, FrameDecoder, Hello, Message, Output, Request, Response, encode

#: A spare's title.
SPARE = "toowld --zygote --spare"

T = TypeVar("T", bound=Message)
R = TypeVar("R")


class Link:
    """A blocking connection. Keeps what was not asked for: events, output."""

    def __init__(self, sock: socket.socket, *, greet: bool = True) -> None:
        sock.settimeout(DEADLINE)
        self.sock = sock
        self.messages: list[Message] = []
        self.output = bytearray()
        self._decoder = FrameDecoder()
        self._last_id = 0
        if greet:
            self.send(Hello(about={"role": "client"}))

    def send(self, message: Message, *fds: int) -> None:
        if fds:
            socket.send_fds(self.sock, [encode(message)], list(fds))
        else:
            self.sock.sendall(encode(message))

    def _next(self) -> Message | None:
        """One message more, or None at the end."""
        while (message := self._decoder.next_message()) is None:
            try:
                data = self.sock.recv(65536)
            except ConnectionError:
                return None
            if not data:
                return None
            self._decoder.feed(data)
        self.messages.append(message)
        if isinstance(message, Output):
            self.output += message.data
        return message

    def until(self, condition: Callable[[], Any]) -> None:
        """Read until something is so."""
        while not condition():
            assert self._next() is not None, f"the connection ended: {self.messages[-5:]}"

    def expect(self, kind: type[T]) -> T:
        """The first message of a kind."""
        return self._first(lambda message: message if isinstance(message, kind) else None)

    def _first(self, look: Callable[[Message], R | None]) -> R:
        """Read until ``look`` finds something in a message."""
        while (found := next((r for m in self.messages if (r := look(m)) is not None), None)) is None:
            assert self._next() is not None, f"the connection ended: {self.messages[-5:]}"
        return found

    def expect_output(self, text: bytes) -> None:
        self.until(lambda: text in self.output)

    def expect_eof(self) -> None:
        while self._next() is not None:
            pass

    def ask(self, method: str, *fds: int, **params: Any) -> Response | Failure:
        """A request and its answer."""
        self._last_id += 1
        self.send(Request(self._last_id, method, params), *fds)

        def answer_in(message: Message) -> Response | Failure | None:
            if isinstance(message, Response | Failure) and message.id == self._last_id:
                return message
            return None

        answer = self._first(answer_in)
        assert isinstance(answer, Response | Failure)
        self.messages.remove(answer)
        return answer

    def request(self, method: str, *fds: int, **params: Any) -> Mapping[str, Any]:
        answer = self.ask(method, *fds, **params)
        assert isinstance(answer, Response), answer
        return answer.result

    def changed(self, condition: Callable[[Mapping[str, Any]], bool]) -> Mapping[str, Any]:
        """Wait for news."""

        def news(message: Message) -> Mapping[str, Any] | None:
            if isinstance(message, Event) and message.name == "changed" and condition(message.data):
                return message.data
            return None

        return self._first(news)

    def close(self) -> None:
        self.sock.close()


class World:
    """A sandbox with a zygote, as the daemon has one."""

    def __init__(self, box: Sandbox) -> None:
        self.box = box
        box.paths.prepare()
        self.zygote: subprocess.Popen[bytes] | None = None
        self._zygote_link: Link | None = None
        self.links: list[Link] = []
        self.pids: list[int] = []

    def open(self, sock: socket.socket, *, greet: bool = True) -> Link:
        link = Link(sock, greet=greet)
        self.links.append(link)
        return link

    def start_zygote(self, **env: str) -> Link:
        ours, its = socket.socketpair()
        with its:
            self.zygote = subprocess.Popen(
                [sys.executable, "-P", "-m", "toowld", "--zygote", str(its.fileno())],
                pass_fds=[its.fileno()],
                env={**self.box.env, **env},
                cwd=self.box.root,
                stdin=subprocess.DEVNULL,
                stdout=subprocess.DEVNULL,
                stderr=subprocess.DEVNULL,
                start_new_session=True,
            )
        self._zygote_link = self.open(ours, greet=False)
        return self._zygote_link

    def fork(self, session_id: str) -> tuple[int, Link]:
        """A custodian of the zygote that waits for its start."""
        zygote = self._zygote_link or self.start_zygote()
        ours, its = socket.socketpair()
        with its:
            pid = int(zygote.request("fork", its.fileno(), id=session_id)["pid"])
        self.pids.append(pid)
        return pid, self.open(ours)

    def execute(self, session_id: str) -> tuple[int, Link]:
        """A custodian of its own, as one gets without a zygote."""
        ours, its = socket.socketpair()
        read_end, write_end = os.pipe()
        with its:
            process = subprocess.Popen(
                [
                    sys.executable,
                    "-P",
                    "-m",
                    "toowld",
                    "--custodian",
                    "--id",
                    session_id,
                    "--fd",
                    str(its.fileno()),
                ],
                pass_fds=[its.fileno()],
                env={**self.box.env, "NOTIFY_SOCKET": "/run/x", "WATCHDOG_USEC": "1", "LISTEN_FDS": "1"},
                cwd=self.box.root,
                stdin=read_end,
                stdout=write_end,
                stderr=write_end,
            )
        os.close(read_end)
        os.close(write_end)
        self.pids.append(process.pid)
        self.processes = [*getattr(self, "processes", []), process]
        return process.pid, self.open(ours)

    def spec(
        self, session_id: str, *argv: str, env: Mapping[str, str] | None = None, **record: Any
    ) -> dict[str, Any]:
        values: dict[str, Any] = {"name": None, "persistent": True, "cwd": str(self.box.home), **record}
        spec = Spec(
            Record(id=session_id, **values),
            str(self.box.paths.session(session_id)),
            argv or ("/bin/sh", "-c", "stty raw -echo; echo rea''dy; exec cat"),
            None,
            self.box.env if env is None else env,
        )
        return spec.to_params() | {"socket": str(self.socket(session_id))}

    def start(self, session_id: str, *argv: str, how: str = "fork", **spec: Any) -> tuple[int, Link, int]:
        """A running session: custodian's pid, the link that it was born with, the child's pid."""
        pid, link = self.fork(session_id) if how == "fork" else self.execute(session_id)
        info = link.request("start", **self.spec(session_id, *argv, **spec))
        self.pids.append(int(info["pid"]))
        return pid, link, int(info["pid"])

    def socket(self, session_id: str) -> Path:
        return self.box.paths.custodian_socket(session_id)

    def connect(self, session_id: str, *, greet: bool = True) -> Link:
        sock = socket.socket(socket.AF_UNIX)
        sock.connect(str(self.socket(session_id)))
        return self.open(sock, greet=greet)

    def attach(self, session_id: str, client_id: str = "c", **params: Any) -> Link:
        """Straight to the custodian, as a client does while the daemon is down."""
        link = self.connect(session_id)
        values = {"client_id": client_id, "rows": 24, "cols": 80, "from_seq": 0, **params}
        link.expect(Hello)
        link.send(Request(1, "attach", values))
        return link

    def output(self, session_id: str) -> bytes:
        return b"".join(LogReader(self.box.paths.session(session_id)).output())

    def last_exit(self, session_id: str) -> Mapping[str, Any] | None:
        return LogReader(self.box.paths.session(session_id)).last_exit()

    def gone(self, *pids: int) -> None:
        """Wait until processes have ended."""
        wait_for(lambda: not any(alive(pid) for pid in pids), what=f"the end of {pids}")

    def close(self) -> None:
        for link in self.links:
            link.close()
        for pid in self.pids:
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)
        for process in [*getattr(self, "processes", []), *([self.zygote] if self.zygote else [])]:
            process.wait(DEADLINE)


def spare_of(zygote: psutil.Process) -> psutil.Process:
    """The spare of a zygote, once there is one that has nothing more to do."""
    found: list[psutil.Process] = []

    def waits() -> bool:
        with contextlib.suppress(psutil.NoSuchProcess, FileNotFoundError):  # gone meanwhile
            found[:] = [child for child in zygote.children() if child.cmdline()[:1] == [SPARE]]
            return any(status_of(process.pid)["State"].startswith("S") for process in found)
        return False

    wait_for(waits, what="a spare")
    return found[0]


def fds_of(pid: int) -> dict[int, str]:
    """What a process has open."""
    found = {}
    for path in Path(f"/proc/{pid}/fd").iterdir():
        with contextlib.suppress(FileNotFoundError):
            found[int(path.name)] = os.readlink(path)  # noqa: PTH115
    return found


def status_of(pid: int) -> dict[str, str]:
    lines = Path(f"/proc/{pid}/status").read_text().splitlines()
    return {name: value.strip() for name, _, value in (line.partition(":") for line in lines)}


def cpu_seconds(pid: int) -> float:
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


def switches(pid: int) -> int:
    """How often a process went to sleep: once more for each wake-up."""
    return int(status_of(pid)["voluntary_ctxt_switches"])


def quiet(pid: int, seconds: float) -> int:
    """How often it woke in a while that it should sleep through. The only wait for time: that is what is tested."""
    before = switches(pid)
    deadline = time.monotonic() + seconds
    with contextlib.suppress(AssertionError):
        wait_for(lambda: switches(pid) > before, timeout=deadline - time.monotonic())
    return switches(pid) - before
