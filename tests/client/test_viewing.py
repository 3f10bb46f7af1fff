"""Terminals of another size than their session: a part of it, or space around it, and never garbage."""

from __future__ import annotations

import pytest

from tests.client.outer import Outer
from tests.client.test_lending_live import CHORD, RAW, Lent, stopped
from tests.daemon.steps import settings
from tests.harness import PAINTED, Sandbox, Terminal, wait_for
from tests.screen.oracle import differences
from tests.screen.test_window import seen, texts
from toowld.screen.follow import follow
from toowld.screen.model import Model
from toowld.wire.messages import Size

USUAL, LARGER, SMALLER = Size(rows=24, cols=80), Size(rows=30, cols=100), Size(rows=10, cols=40)
#: Draws what comes out as garbage in another size: long lines, a part that scrolls, what counts from the last line.
_DRAWS = RAW + (
    r"trap '' WINCH; draw() { printf '\033[H\033[2J'; printf 'x%.0s' $(seq 200); printf '\033[5;20r\033[20;1H'; "
    r"for n in $(seq 30); do printf '\r\nline %s' $n; done; printf '\033[r\033[999;1H%s> ' $1; }; "
    r"draw 0; while read -r word; do draw $word; done"
)


@pytest.fixture
def kept(sandbox: Sandbox) -> Lent:
    sandbox.up()
    return Lent(sandbox, True)


def attach(kept: Lent, size: Size, *options: str) -> Terminal:
    terminal = kept.sandbox.attach_pty(kept.id, size.rows, size.cols, *options)
    terminal.expect(PAINTED)
    return terminal


def shows(kept: Lent, terminal: Terminal, size: Size) -> bool:
    """Whether the terminal shows of the session what it is to show."""
    with Model(size) as model, follow(kept.sandbox.paths.session(kept.id)).model as session:
        model.feed(terminal.output)
        return texts(model, size) == seen(session, size)


def shows_all(kept: Lent, terminal: Terminal, size: Size) -> bool:
    """Whether the terminal is as the session's own would be. (What it saved itself, nobody can make it forget.)"""
    with Model(size) as model, follow(kept.sandbox.paths.session(kept.id)).model as session:
        model.feed(terminal.output)
        found = differences(session.state(history=False), model.state(history=False))
        return [one for one in found if not one.startswith("main saved")] == []


@pytest.mark.parametrize("size", [LARGER, SMALLER], ids=["larger", "smaller"])
def test_a_viewer(kept: Lent, size: Size) -> None:
    kept.start(_DRAWS)
    typist = attach(kept, USUAL)
    viewer = attach(kept, size, "--read-only")
    wait_for(lambda: shows(kept, viewer, size))
    typist.send("again\n")
    typist.expect("again> ")
    wait_for(lambda: shows(kept, viewer, size))
    wait_for(lambda: shows_all(kept, typist, USUAL))
    kept.takes(typist)


def test_whose_terminal_is_larger_than_another_one(kept: Lent) -> None:
    kept.start(_DRAWS)
    large = attach(kept, LARGER)
    kept.takes(large)
    small = attach(kept, USUAL)
    kept.drops(large)
    wait_for(lambda: shows(kept, large, LARGER))
    large.send("typed\n")
    wait_for(lambda: b"typed> " in kept.sandbox.output(kept.id))
    wait_for(lambda: shows(kept, large, LARGER))
    small.send(CHORD)
    assert small.wait() == 0
    wait_for(lambda: kept.sandbox.info(kept.id)["cols"] == 100)
    wait_for(lambda: shows_all(kept, large, LARGER))
    kept.takes(large)
    large.send("more\n")
    wait_for(lambda: b"more> " in kept.sandbox.output(kept.id))
    wait_for(lambda: shows_all(kept, large, LARGER))


def test_the_one_that_is_used_last_has_its_size(sandbox: Sandbox) -> None:
    """The other one sees a part of it, or dots around it, until it is used."""
    settings(sandbox, size='"latest"')
    sandbox.up()
    kept = Lent(sandbox, True)
    kept.start(_DRAWS)
    large = attach(kept, LARGER)
    kept.takes(large)
    small = attach(kept, USUAL)
    kept.takes(small)
    kept.drops(large)
    wait_for(lambda: shows(kept, large, LARGER))

    def use(typist: Terminal, its: Size, other: Terminal, others: Size, word: str) -> None:
        typist.send(f"{word}\n")
        wait_for(lambda: kept.sandbox.info(kept.id)["cols"] == its.cols)
        kept.takes(typist)
        kept.drops(other)
        wait_for(lambda: f"{word}> ".encode() in kept.sandbox.output(kept.id))
        wait_for(lambda: shows_all(kept, typist, its))
        wait_for(lambda: shows(kept, other, others))

    use(large, LARGER, small, USUAL, "first")
    use(small, USUAL, large, LARGER, "second")
    use(large, LARGER, small, USUAL, "third")
    large.send(CHORD)
    assert large.wait() == 0
    kept.takes(small)
    wait_for(lambda: shows_all(kept, small, USUAL))


def test_whose_terminal_is_resized(kept: Lent) -> None:
    kept.start(_DRAWS)
    attach(kept, USUAL)
    viewer = attach(kept, LARGER, "--read-only")
    wait_for(lambda: shows(kept, viewer, LARGER))
    viewer.forget()
    viewer.resize(SMALLER.rows, SMALLER.cols)
    wait_for(lambda: shows(kept, viewer, SMALLER))
    viewer.forget()
    viewer.resize(USUAL.rows, USUAL.cols)
    wait_for(lambda: shows_all(kept, viewer, USUAL))


def test_a_session_that_is_resized_by_hand(kept: Lent) -> None:
    kept.start(_DRAWS)
    terminal = attach(kept, USUAL)
    kept.takes(terminal)
    kept.sandbox.toowl("resize", "x", "120x40")
    wait_for(lambda: shows(kept, terminal, USUAL))
    kept.sandbox.toowl("resize", "x", "80x24")
    kept.takes(terminal)
    wait_for(lambda: shows_all(kept, terminal, USUAL))


def test_resizing_alone_goes_without(kept: Lent) -> None:
    """The session follows, so its output goes on to the terminal itself."""
    kept.start(_DRAWS)
    terminal = attach(kept, USUAL)
    kept.takes(terminal)
    terminal.forget()
    terminal.resize(30, 100)
    wait_for(lambda: kept.sandbox.info(kept.id)["cols"] == 100)
    terminal.send("wide\n")
    terminal.expect("wide> ")
    assert kept.has(terminal)
    assert b"?1049h" not in terminal.output


def test_what_is_asked_is_answered_as_on_the_session_s_screen(kept: Lent) -> None:
    kept.start(RAW + r"trap '' WINCH; read -r word; printf '\033[7;9H\033[6n'; head -c 6 >told; exec cat")
    large = attach(kept, LARGER)
    attach(kept, USUAL)
    kept.drops(large)
    wait_for(lambda: b"." * 20 in large.output)
    large.send("\n")
    told = kept.sandbox.home / "told"
    wait_for(lambda: told.exists() and len(told.read_bytes()) == 6)
    assert told.read_bytes() == b"\x1b[7;9R"


@pytest.mark.parametrize("size", [USUAL, LARGER], ids=["same size", "larger"])
def test_where_output_was_lost_the_screen_is_right_all_the_same(sandbox: Sandbox, size: Size) -> None:
    """What a program draws in bits and pieces can't be understood from the middle of it."""
    sandbox.configure(f"[daemon]\nscrollback_bytes = {1 << 20}\n")
    sandbox.up()
    kept = Lent(sandbox, True)
    kept.start(
        RAW + r"trap '' WINCH; printf '\033[?1049h\033[?1002hframe\033[3;20r'; read -r word; "
        r"seq 1000000; printf '\033[r\033[5;5Hplace'; touch down; exec cat"
    )
    attach(kept, USUAL)
    viewer = attach(kept, size, "--read-only")
    wait_for(lambda: shows(kept, viewer, size))
    with stopped(viewer.pid):
        sandbox.send(kept.id, b"\n")
        wait_for((sandbox.home / "down").exists)
    viewer.expect("no longer held")
    wait_for(lambda: b"place" in viewer.output)
    wait_for(lambda: shows(kept, viewer, size))
    if size == USUAL:
        wait_for(lambda: shows_all(kept, viewer, size))


def test_leaving_gives_the_terminal_back(sandbox: Sandbox, outers: list[Outer]) -> None:
    sandbox.up()
    sandbox.new(
        "sh", "-c", r"printf '\033[?2004h\033[?1002h\033[5;5Hdrawn'; exec cat", name="work", rows=20, cols=60
    )
    typist = sandbox.attach_pty("work", 20, 60)
    typist.expect("drawn")
    outer = Outer(sandbox, "tmux0")
    outers.append(outer)
    fresh = outer.state().split()[:11]
    outer.type("toowl attach --read-only work", "Enter")
    wait_for(lambda: "." * 15 in outer.text())
    outer.type("C-\\", "d")
    wait_for(lambda: "[detached from work]" in outer.text())
    assert outer.state().split()[:11] == fresh
    outer.type("echo he''llo", "Enter")
    wait_for(lambda: "hello\n" in outer.text())


def test_without_an_emulator_output_is_shown_as_it_is(sandbox: Sandbox) -> None:
    other = sandbox.root / "other/pyghostty-0.0.1.dist-info"
    other.mkdir(parents=True)
    (other / "METADATA").write_text("Metadata-Version: 2.1\nName: pyghostty\nVersion: 0.0.1\n")
    sandbox.env["PYTHONPATH"] = f"{other.parent}:{sandbox.env['PYTHONPATH']}"
    sandbox.up()
    sandbox.new("sh", "-c", r"printf '\033[31mred\n'; exec cat", name="work")
    viewer = sandbox.attach_pty("work", 30, 100, "--read-only")
    viewer.expect("\x1b[31mred\r\n")
    sandbox.send("work", b"more\r")
    viewer.expect("more\r\nmore\r\n")
