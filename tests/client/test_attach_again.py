"""Attaching over one connection after the other: a scripted session is lost, and found again."""

from __future__ import annotations

import os
import select
import signal
import socket
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import psutil
import pytest

from tests.client.world import PATIENCE, World, wait_until
from toowld import wire


class Peer:
    """A session behind a socket file, which takes one connection after the other."""

    def __init__(self, path: Path, seq: int) -> None:
        self._listener = socket.socket(socket.AF_UNIX)
        self._listener.settimeout(PATIENCE)
        self._listener.bind(os.fspath(path))
        self._listener.listen()
        self.seq = seq

    def close(self) -> None:
        self._listener.close()

    def accept(self, world: World, **about: Any) -> wire.Request:
        """The next connection becomes that of ``world``; what it asked for."""
        world.session.close()
        world.session, _ = self._listener.accept()
        world.session.settimeout(PATIENCE)
        world.decoder = wire.FrameDecoder()
        world.receive(wire.Hello)
        world.send(wire.Hello(about={"role": "daemon"}))
        request = world.receive(wire.Request)
        world.send(wire.Attached(self.seq, self.seq, 0, {"id": "2f3a9c1b", "name": "work", **about}))
        return request


@pytest.fixture
def again() -> Iterator[tuple[World, Peer]]:
    yield from _with_peer("again")


@pytest.fixture
def keepalive() -> Iterator[tuple[World, Peer]]:
    yield from _with_peer("keepalive")


@pytest.fixture
def asks() -> Iterator[tuple[World, Peer]]:
    yield from _with_peer("asks")


def _with_peer(option: str) -> Iterator[tuple[World, Peer]]:
    with tempfile.TemporaryDirectory(prefix="tw") as folder:
        path = Path(folder) / "toowld.sock"
        peer = Peer(path, 0)
        world = World(option, str(path))
        yield world, peer
        world.close()
        peer.close()


def test_a_lost_connection_goes_on_at_the_byte_where_it_broke(again: tuple[World, Peer]) -> None:
    world, peer = again
    first = peer.accept(world)
    world.send(wire.Output(0, b"half a w"), wire.Live(8))
    world.sees(b"half a w")
    peer.seq = 8
    second = peer.accept(world)
    same = ("client_id", "rows", "cols", "read_only")
    assert {key: second.params[key] for key in same} == {key: first.params[key] for key in same}
    assert second.params["session"] == "2f3a9c1b"
    assert (second.params["from_seq"], second.params["respawn"], second.params["redraw"]) == (8, False, False)
    world.send(wire.Output(8, b"ord\n"), wire.Live(12), wire.Ended(12, "exited", code=0))
    assert world.ends(0) == b"ord\n[work exited with status 0]\r\n"


def test_a_silent_peer_is_given_up(keepalive: tuple[World, Peer]) -> None:
    world, peer = keepalive
    peer.accept(world)
    world.send(wire.Output(0, b"text"))
    world.sees(b"text")
    tokens = [world.receive(wire.Ping).token for _ in range(3)]
    assert tokens == [1, 2, 3]
    peer.seq = 4
    assert peer.accept(world).params["from_seq"] == 4
    for _ in range(12):  # twice its patience: who answers is kept
        world.send(wire.Pong(world.receive(wire.Ping).token))
    world.send(wire.Output(4, b" more\n"), wire.Ended(10, "exited", code=0))
    assert world.ends(0).startswith(b" more\n[work")


def test_a_session_that_has_less_than_was_seen(again: tuple[World, Peer]) -> None:
    world, peer = again
    peer.accept(world)
    world.send(wire.Output(0, b"0123456789\n"))
    world.sees(b"9\n")
    world.session.close()
    world.session, _ = peer._listener.accept()
    world.session.settimeout(PATIENCE)
    world.decoder = wire.FrameDecoder()
    world.receive(wire.Hello)
    world.send(wire.Hello())
    asked = world.receive(wire.Request)
    assert asked.params["from_seq"] == 11
    world.send(wire.Failure(asked.id, "protocol", "asked for output from 11, of 3"))
    peer.seq = 3
    asked = peer.accept(world)
    assert asked.params["from_seq"] is None
    world.send(wire.Output(3, b"new\n"), wire.Ended(7, "exited", code=0))
    assert world.ends(0).startswith(
        b"[the session lost some of its scrollback; it goes on here]\r\nnew\n[work exited"
    )


def test_an_idle_client_of_a_unix_socket_sleeps(again: tuple[World, Peer]) -> None:
    world, peer = again
    peer.accept(world)
    world.send(wire.Output(0, b"text"), wire.Live(4))
    world.sees(b"text")

    def switches() -> int:
        text = Path(f"/proc/{world.process.pid}/status").read_text()
        return int(text.partition("\nvoluntary_ctxt_switches:")[2].split()[0])

    before = -1
    while before != (before := switches()):
        select.select([], [], [], 0.1)
    select.select([], [], [], 1.2)  # nothing may happen, for so long
    assert switches() == before


def test_a_key_counts_from_the_moment_that_it_is_asked_for(asks: tuple[World, Peer]) -> None:
    """What was typed before that was for the program that is gone."""
    world, peer = asks
    peer.accept(world, persistent=False)
    world.send(wire.Output(0, b"text\n"), wire.Live(5))
    world.sees(b"text\n")
    world.process.send_signal(signal.SIGSTOP)
    world.type(b"q")
    world.send(wire.Ended(5, "lost"))
    world.process.send_signal(signal.SIGCONT)
    world.sees(b"press Enter for a new shell, any other key to leave ")
    wait_until(lambda: psutil.Process(world.process.pid).status() == psutil.STATUS_STOPPED)
    world.type(b"\r")
    world.process.send_signal(signal.SIGCONT)
    peer.seq = 5
    assert peer.accept(world).params["respawn"] is True
    world.send(wire.Ended(5, "exited", code=0))
    assert world.ends(0).endswith(b"[work exited with status 0]\r\n")
