"""Pictures of sessions from the daemon, whatever happens to the helpers that make them."""

from __future__ import annotations

import asyncio
import signal
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import psutil
import pytest

from tests.harness import PAINTED, Sandbox, alive, wait_for
from tests.screen.oracle import differences
from toowld.daemon.screens import LONGEST_PAUSE, LOOK_EVERY, Screens
from toowld.errors import ScreenError
from toowld.log import LogWriter
from toowld.screen import snapshots
from toowld.screen.follow import follow
from toowld.screen.model import Model
from toowld.wire import Size

_SIZE = Size(rows=24, cols=80)


def helpers(sandbox: Sandbox) -> list[psutil.Process]:
    """The daemon's helpers."""
    return [child for child in psutil.Process(sandbox.daemon_pid).children() if _is_helper(child)]


def _is_helper(process: psutil.Process) -> bool:
    try:
        return "toowld.screen.worker" in process.cmdline()
    except psutil.NoSuchProcess:  # gone, or a zombie, just now
        return False


def picture(sandbox: Sandbox, session: str, **params: Any) -> dict[str, Any]:
    with sandbox.client() as client:
        answer: dict[str, Any] = client.request("screen", session=session, **params)
        return answer


def painted(sandbox: Sandbox, answer: dict[str, Any], session: str, size: Size = _SIZE) -> Model:
    """A terminal that got the picture, and the output behind it."""
    model = Model(size)
    model.feed(answer["data"] + answer["unfinished"])
    model.feed(sandbox.output(session)[answer["seq"] :])
    return model


def test_so_many_lines_of_scrollback_are_painted_as_are_set(sandbox: Sandbox) -> None:
    sandbox.up()
    session = sandbox.new("sh", "-c", "seq 3000; exec cat", name="long", rows=24, cols=80)["id"]
    wait_for(lambda: sandbox.output(session).endswith(b"3000\r\n"))

    def lines() -> int:
        answer = picture(sandbox, session, rows=24, cols=80)
        return len(painted(sandbox, answer, session).state().main.history)

    assert lines() == 2000
    sandbox.toowl("set", "long", "replay_lines=7")
    assert lines() == 7
    sandbox.toowl("set", "long", "replay_lines=0")
    assert lines() == 0


@pytest.fixture
def session(sandbox: Sandbox) -> Iterator[str]:
    """One that switches to the alternate screen and draws there once."""
    sandbox.up()
    script = (
        r"printf 'before\r\n\033[?1049h\033[?1006;1002h\033[3;5H\033[1;31mdrawn'; "
        r"trap '' WINCH; while read line; do printf '%s\n' \"$line\"; done"
    )
    made = str(sandbox.new("sh", "-c", script, name="work")["id"])
    wait_for(lambda: b"drawn" in sandbox.output(made))
    yield made


def test_a_picture_and_what_comes_after_it(sandbox: Sandbox, session: str) -> None:
    answer = picture(sandbox, "work", rows=24, cols=80)
    assert b"drawn" in answer["data"]
    sandbox.send(session, b"more\r")
    wait_for(lambda: sandbox.output(session).count(b"more") == 2)
    state = painted(sandbox, answer, session).state()
    assert differences(follow(sandbox.paths.session(session)).model.state(), state) == []
    assert state.alternate is not None
    assert state.mouse == 1002


def test_a_picture_for_a_larger_terminal_is_of_the_resized_session(sandbox: Sandbox, session: str) -> None:
    larger = picture(sandbox, session, rows=30, cols=100)
    model = Model(Size(rows=30, cols=100))
    model.feed(larger["data"])
    assert model.state().size == Size(rows=30, cols=100)
    assert [row.text for row in model.state().grid.rows][2] == "    drawn"


@pytest.mark.parametrize(("policy", "cols"), [("smallest", 50), ("latest", 60)])
def test_a_picture_is_of_the_size_that_the_session_will_have(
    sandbox: Sandbox, policy: str, cols: int
) -> None:
    """Somebody else who may type keeps it small, unless the one used last decides: that is whoever attaches."""
    sandbox.up()
    session = sandbox.new("cat", size_policy=policy)["id"]
    sandbox.send(session, b"x" * 60 + b"\r")
    wait_for(lambda: sandbox.output(session).count(b"x" * 60) == 2)
    terminal = sandbox.attach_pty(session, 20, 50)
    terminal.expect(PAINTED)
    wait_for(lambda: sandbox.info(session)["cols"] == 50)
    shown = Model(Size(rows=24, cols=80))
    shown.feed(picture(sandbox, session, rows=24, cols=80)["data"])
    assert max(len(row.text) for row in shown.state().grid.rows) == cols


def test_an_ended_session_still_has_its_picture(sandbox: Sandbox, session: str) -> None:
    with sandbox.client() as client:
        client.request("kill", session=session, force=True)
    assert b"drawn" in picture(sandbox, session, rows=24, cols=80)["data"]


def test_a_helper_that_is_killed_is_replaced(sandbox: Sandbox, session: str) -> None:
    picture(sandbox, session, rows=24, cols=80)
    (helper,) = helpers(sandbox)
    helper.kill()
    wait_for(lambda: not alive(helper.pid))
    answer = wait_for(lambda: _try(sandbox, session)) or {}
    assert b"drawn" in answer["data"]
    (other,) = helpers(sandbox)
    assert other.pid != helper.pid


def _try(sandbox: Sandbox, session: str) -> dict[str, Any] | None:
    try:
        return picture(sandbox, session, rows=24, cols=80)
    except ScreenError:  # asked before the daemon had heard of the death
        return None


def test_a_helper_goes_with_its_daemon(sandbox: Sandbox, session: str) -> None:
    picture(sandbox, session, rows=24, cols=80)
    (helper,) = helpers(sandbox)
    sandbox.kill9()
    wait_for(lambda: not alive(helper.pid))


def test_an_attach_whose_helper_hangs_is_replayed_as_printed(sandbox: Sandbox, session: str) -> None:
    picture(sandbox, session, rows=24, cols=80)
    (helper,) = helpers(sandbox)
    helper.send_signal(signal.SIGSTOP)
    terminal = sandbox.attach_pty("work")
    terminal.expect("\x1b[?1049h\x1b[?1006;1002h\x1b[3;5H\x1b[1;31mdrawn")
    wait_for(lambda: not alive(helper.pid))


def test_without_the_emulator_an_attach_is_replayed_as_printed(sandbox: Sandbox) -> None:
    """Another version of it counts as none, and the doctor tells."""
    other = sandbox.root / "other/pyghostty-0.0.1.dist-info"
    other.mkdir(parents=True)
    (other / "METADATA").write_text("Metadata-Version: 2.1\nName: pyghostty\nVersion: 0.0.1\n")
    sandbox.env["PYTHONPATH"] = f"{other.parent}:{sandbox.env['PYTHONPATH']}"
    sandbox.up()
    session = str(sandbox.new("sh", "-c", r"printf '\033[31mred\n'; exec cat", name="work")["id"])
    wait_for(lambda: b"red" in sandbox.output(session))
    with pytest.raises(ScreenError, match=r"pyghostty is 0\.0\.1, and only"):
        picture(sandbox, session, rows=24, cols=80)
    terminal = sandbox.attach_pty("work")
    terminal.expect("\x1b[31mred")
    assert PAINTED not in terminal.output
    report = sandbox.toowld("doctor", check=False).stdout
    assert "pyghostty is 0.0.1, and only 0.1.3 is known: attach shows the last megabyte" in report


def test_without_a_daemon_the_client_paints_it(sandbox: Sandbox, session: str) -> None:
    sandbox.kill9()
    terminal = sandbox.attach_pty("work")
    terminal.expect(PAINTED)
    model = Model(_SIZE)
    model.feed(terminal.output)
    assert [row.text for row in model.state().grid.rows][2] == "    drawn"


def test_a_busy_session_gets_snapshots_and_a_quiet_one_none(sandbox: Sandbox, session: str) -> None:
    busy = str(
        sandbox.new("sh", "-c", "yes 'some line of output' | head -c 9000000; exec cat", name="busy")["id"]
    )
    folder = sandbox.paths.session(busy)
    wait_for(lambda: sandbox.info(busy)["seq"] > 9_000_000, 60)
    wait_for(lambda: snapshots.seq_of(folder) > 8_000_000, 60)
    found = snapshots.load(folder)
    assert found is not None
    assert follow(folder).snapshot == found.seq
    assert follow(folder).model.state().main.rows[0].text == "some line of output"
    assert not (sandbox.paths.session(session) / snapshots.NAME).exists()
    # Who follows goes when there is nothing to do.
    wait_for(lambda: helpers(sandbox) == [], 60)


def test_a_disk_that_takes_no_snapshot_is_told_by_the_doctor(sandbox: Sandbox) -> None:
    sandbox.up()
    session = str(sandbox.new("sh", "-c", "read x; yes 'some line' | head -c 9000000; exec cat")["id"])
    (sandbox.paths.session(session) / snapshots.NAME).mkdir()
    sandbox.send(session, b"\r")
    wait_for(lambda: f"what {session} shows could not be followed" in _doctor(sandbox), 60)
    # A picture is made all the same.
    assert b"some line" in picture(sandbox, session, rows=24, cols=80)["data"]


def _doctor(sandbox: Sandbox) -> str:
    return sandbox.toowld("doctor", check=False).stdout


def test_idle_sessions_are_looked_at_ever_more_rarely(tmp_path: Path) -> None:
    async def pauses() -> list[float]:
        log = LogWriter(tmp_path / "2f3a9c1b", "2f3a9c1b", size=_SIZE)
        screens = Screens()
        found = [await screens.look(tmp_path, {"2f3a9c1b": None}) for _ in range(8)]
        log.append(b"something")
        found.append(await screens.look(tmp_path, {"2f3a9c1b": None}))
        log.close()
        return found

    first, second, *_, longest, again = asyncio.run(pauses())
    assert (first, second) == (LOOK_EVERY, 2 * LOOK_EVERY), "it was new, then quiet"
    assert longest == LONGEST_PAUSE
    assert again == LOOK_EVERY, "it has printed"
