"""What shells follow, as files: whose it is, and what can't be led astray."""

from __future__ import annotations

import os
import socket
import stat
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from tests.harness import machine_cannot
from toowld.host.following import MAX_VARIABLES, Following, Offer, forget, offer, sweep
from toowld.paths import answers
from toowld.wire.text import pack_text


@contextmanager
def agent(path: Path) -> Iterator[str]:
    """Somebody who listens."""
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as sock:
        sock.bind(str(path))
        sock.listen(1)
        yield str(path)
    path.unlink(missing_ok=True)


class Session:
    def __init__(self, folder: Path, session: str = "0badcafe") -> None:
        self.base = folder / "r" / "following" / session
        self.following = Following(str(self.base), "work")
        self.link = self.base.with_name(f"{session}.agent")
        self.file = self.base.with_name(f"{session}.env")

    def target(self) -> str | None:
        return str(self.link.readlink()) if self.link.is_symlink() else None

    def lines(self) -> list[str]:
        return self.file.read_text().splitlines()[1:]


@pytest.fixture
def made(tmp_path: Path) -> Session:
    return Session(tmp_path)


def test_the_last_who_has_an_agent_is_followed(made: Session, tmp_path: Path) -> None:
    with agent(tmp_path / "1") as first, agent(tmp_path / "2") as second:
        made.following.begin(first)
        assert made.target() == first
        one, two, none = Offer(first, {}), Offer(second, {}), Offer(None, {})
        made.following.look([one, two])
        assert made.target() == second
        made.following.look([one, two, none])
        assert made.target() == second, "who has none takes none away"
        made.following.look([one, Offer(str(tmp_path / "gone"), {})])
        assert made.target() == first
        made.following.look([])
        assert made.target() == first, "it answers still"
        assert answers(str(made.link))
    made.following.look([])
    assert made.target() is None
    made.following.look([one])
    assert made.target() is None, "nobody listens there any more"


def test_only_sockets_of_our_own(made: Session, tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    (tmp_path / "folder").mkdir()
    (tmp_path / "loop").symlink_to(tmp_path / "loop")
    for name in ("file", "folder", "loop", "missing"):
        made.following.look([Offer(str(tmp_path / name), {})])
        assert made.target() is None
    if os.getuid() != 0:
        machine_cannot("only root may give a socket away")
    with agent(tmp_path / "theirs") as theirs:
        os.chown(theirs, 65534, 65534)
        made.following.look([Offer(theirs, {})])
        assert made.target() is None


def test_sessions_within_each_other(tmp_path: Path) -> None:
    """Who attaches from within a session brings that one's link along: it is followed on, but never in a circle."""
    inner, outer, third = (Session(tmp_path, f"0000000{n}") for n in "123")
    with agent(tmp_path / "1") as first, agent(tmp_path / "2") as second:
        outer.following.begin(first)
        inner.following.look([Offer(str(outer.link), {})])
        third.following.look([Offer(str(inner.link), {})])
        outer.following.look([Offer(second, {})])
        assert os.path.realpath(third.link) == second
        for link in (outer.link, inner.link, third.link):
            outer.following.look([Offer(str(link), {})])
            assert os.path.realpath(third.link) == second


def test_the_environment_is_that_of_the_last(made: Session) -> None:
    one, two = (
        Offer(None, {"DISPLAY": ":1", "SSH_TTY": None}),
        Offer(None, {"DISPLAY": None, "SSH_TTY": "a=b"}),
    )
    made.following.look([])
    assert not made.file.exists()
    made.following.look([one, two])
    assert made.lines() == ["TOOWL_NAME=work", "DISPLAY", "SSH_TTY=a=b"]
    assert stat.S_IMODE(made.file.stat().st_mode) == 0o600
    assert stat.S_IMODE(made.base.parent.stat().st_mode) == 0o700
    first = made.file.read_text().splitlines()[0]
    made.following.look([one])
    assert made.lines() == ["TOOWL_NAME=work", "DISPLAY=:1", "SSH_TTY"]
    assert made.file.read_text().splitlines()[0] != first, "so a shell sees that it is new"
    made.following.look([])
    made.following.rename(None)
    assert made.lines() == ["TOOWL_NAME", "DISPLAY=:1", "SSH_TTY"]


def test_it_goes_on_elsewhere(made: Session, tmp_path: Path) -> None:
    """In the code that takes a session over."""
    value = b"\xff".decode("utf-8", "surrogateescape")
    was = Offer("/agent", {"DISPLAY": value, "SSH_TTY": None})
    assert Offer.thaw(was.freeze()) == was
    made.following.look([was])
    state = made.following.freeze()
    assert pack_text(state) == state
    Following.thaw(state).rename("play")
    assert made.file.read_bytes().splitlines()[1:] == [b"TOOWL_NAME=play", b"DISPLAY=\xff", b"SSH_TTY"]


def test_what_no_file_can_hold_is_left_out() -> None:
    impossible = {"a b": "c", "": "c", "é": "c", "A": "b\nc", "B": "c" * 5000, "C;D": None, "1A": "b"}
    assert offer("/a", {**impossible, "GOOD_1": "b c"}) == Offer("/a", {"GOOD_1": "b c"})
    assert offer("relative", {}).agent is None
    assert offer("/a\nb", {}).agent is None
    assert len(offer(None, {f"A{n}": None for n in range(1000)}).environment) == MAX_VARIABLES


def test_a_folder_that_vanishes_comes_back(made: Session, tmp_path: Path) -> None:
    with agent(tmp_path / "1") as first:
        for _ in range(2):
            made.following.look([Offer(first, {"DISPLAY": ":1"})])
            assert made.target() == first and made.file.exists()
            for path in (made.link, made.file):
                path.unlink()
            made.base.parent.rmdir()
            made.base.parent.parent.rmdir()
        made.base.parent.parent.symlink_to(tmp_path)  # somebody else got there first
        made.following.look([Offer(first, {"DISPLAY": ":1"})])
        assert not (tmp_path / "following").exists()


def test_it_goes_with_its_session(tmp_path: Path) -> None:
    one, two = Session(tmp_path, "00000001"), Session(tmp_path, "00000002")
    with agent(tmp_path / "1") as first:
        for session in (one, two):
            session.following.look([Offer(first, {})])
    sweep(one.base.parent, {"00000001"})
    assert one.file.exists() and one.target() and not two.file.exists() and two.target() is None
    forget(str(one.base))
    forget(str(one.base))
    assert list(one.base.parent.iterdir()) == []
    sweep(tmp_path / "nowhere", set())
