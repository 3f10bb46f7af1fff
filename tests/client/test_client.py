"""The blocking connection, against a scripted peer on a real Unix socket."""

from __future__ import annotations

import os
import socket
import subprocess
import sys
import tempfile
import threading
from collections.abc import Callable, Iterator

import pytest

from toowld import errors, paths, wire
from toowld.client import Client, reach

Script = Callable[[socket.socket], None]


@pytest.fixture
def where() -> Iterator[paths.Paths]:
    with tempfile.TemporaryDirectory(prefix="tw") as folder:  # tmp_path is too long for sun_path on some CI
        yield paths.resolve({"TOOWL_RUNTIME_DIR": folder, "TOOWL_STATE_DIR": folder, "HOME": folder})


@pytest.fixture
def serve(where: paths.Paths) -> Iterator[Callable[[Script], None]]:
    listener = socket.socket(socket.AF_UNIX)
    threads: list[threading.Thread] = []

    def run(script: Script) -> None:
        connection, _ = listener.accept()
        with connection:
            script(connection)

    def start(script: Script) -> None:
        listener.bind(str(where.daemon_socket))
        listener.listen()
        threads.append(threading.Thread(target=run, args=(script,)))
        threads[0].start()

    yield start
    listener.close()
    for thread in threads:
        thread.join(10)


def _messages(connection: socket.socket) -> Iterator[wire.Message]:
    decoder = wire.FrameDecoder()
    while data := connection.recv(65536):
        decoder.feed(data)
        yield from decoder.messages()


def _hello(connection: socket.socket) -> None:
    connection.sendall(wire.encode(wire.Hello(about={"role": "daemon", "build": "test"})))


def test_request_and_failure(where: paths.Paths, serve: Callable[[Script], None]) -> None:
    seen: list[wire.Message] = []

    def script(connection: socket.socket) -> None:
        _hello(connection)
        for message in _messages(connection):
            seen.append(message)
            if isinstance(message, wire.Request) and message.method == "list":
                connection.sendall(wire.encode(wire.Event("noise")))
                connection.sendall(wire.encode(wire.Response(message.id - 1, {"old": True})))
                connection.sendall(wire.encode(wire.Response(message.id, {"sessions": []})))
            elif isinstance(message, wire.Request):
                connection.sendall(
                    wire.encode(wire.Failure(message.id, "not-found", 'session "x" not found'))
                )

    serve(script)
    with Client.connect(where) as client:
        assert client.hello.about["role"] == "daemon"
        assert client.request("list") == {"sessions": []}
        with pytest.raises(errors.SessionNotFound, match='session "x" not found'):
            client.request("info", session="x")
        assert client.request("list") == {"sessions": []}
    assert isinstance(seen[0], wire.Hello)
    assert seen[0].about["role"] == "client"
    assert seen[0].about["pid"] == os.getpid()
    assert isinstance(seen[2], wire.Request)
    assert dict(seen[2].params) == {"session": "x"}


def test_nobody_there(where: paths.Paths) -> None:
    with pytest.raises(errors.DaemonUnreachable, match=r"no toowld is running at .*toowld --detach"):
        Client.connect(where)
    with pytest.raises(errors.CustodianUnreachable):
        Client.connect_path(where.custodian_socket("2f3a9c1b"))


def test_stale_socket(where: paths.Paths) -> None:
    with socket.socket(socket.AF_UNIX) as stale:
        stale.bind(str(where.daemon_socket))
    with pytest.raises(errors.DaemonUnreachable, match="no toowld is running"):
        Client.connect(where)


def test_a_socket_that_is_replaced_at_this_very_moment(where: paths.Paths) -> None:
    """Who is refused knocked on the one before: there is somebody by now."""
    path = str(where.daemon_socket)
    with socket.socket(socket.AF_UNIX) as stale:
        stale.bind(path)
    with socket.socket(socket.AF_UNIX) as successor, socket.socket(socket.AF_UNIX) as knocking:

        def connect() -> bool:
            try:
                knocking.connect(path)
            except ConnectionRefusedError:
                successor.bind(f"{path}~")
                successor.listen()
                os.rename(f"{path}~", path)  # noqa: PTH104 - a str, as `bind` takes it
                raise
            return True

        assert reach(path, connect)


def test_full_backlog_is_bounded(where: paths.Paths) -> None:
    with socket.socket(socket.AF_UNIX) as busy, socket.socket(socket.AF_UNIX) as first:
        busy.bind(str(where.daemon_socket))
        busy.listen(0)
        first.connect(str(where.daemon_socket))
        with pytest.raises(errors.DaemonUnreachable, match="does not answer"):
            Client.connect(where, timeout=0.1)


def test_peer_that_hangs_up(where: paths.Paths, serve: Callable[[Script], None]) -> None:
    serve(lambda connection: None)
    with pytest.raises(errors.DaemonUnreachable, match=r"hung up|lost"):
        Client.connect(where)


def test_peer_that_hangs(where: paths.Paths, serve: Callable[[Script], None]) -> None:
    done = threading.Event()

    def script(connection: socket.socket) -> None:
        _hello(connection)
        done.wait(10)

    serve(script)
    with Client.connect(where) as client, pytest.raises(errors.DaemonUnreachable, match="does not answer"):
        client.request("list", timeout=0.05)
    done.set()


@pytest.mark.parametrize(
    ("reply", "error"),
    [
        (b"HTTP/1.1 400 Bad Request\r\n\r\n", errors.RemoteProtocolError),
        (wire.encode(wire.Pong(1)), errors.RemoteProtocolError),
        (wire.encode(wire.Hello(90, 99)), errors.RemoteProtocolError),
        (wire.encode(wire.Failure(0, "refused", "too many connections")), errors.RefusedError),
    ],
)
def test_peer_that_talks_nonsense(
    where: paths.Paths, serve: Callable[[Script], None], reply: bytes, error: type[errors.ToowlError]
) -> None:
    serve(lambda connection: connection.sendall(reply))
    with pytest.raises(error):
        Client.connect(where)


def test_imports_stay_light() -> None:
    code = "import toowld.client, sys; print(*sys.modules)"
    loaded = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout
    assert not {
        "asyncio",
        "argparse",
        "socket",
        "selectors",
        "threading",
        "logging",
        "subprocess",
        "enum",
        "re",
        "typing",
    } & set(loaded.split())
