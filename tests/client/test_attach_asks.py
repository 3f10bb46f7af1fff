"""`toowl attach`, and `toowl` alone: which session is meant, and what is asked for it. The daemon is scripted."""

from __future__ import annotations

from typing import Any

import pytest

from tests.client.scripted import ScriptedDaemon, one_line, record, run, session
from tests.harness import Sandbox
from toowl.commands import attach
from toowld import errors

# -- attach -----------------------------------------------------------------------------------------------


def at_terminal(sandbox: Sandbox, *argv: str, **env: Any) -> tuple[int, str]:
    """Run at a real terminal: exit status and what it printed."""
    terminal = sandbox.terminal("toowl", *argv, **env)
    status = terminal.wait()
    return status, terminal.text


REFUSED = errors.AttachRefused("refused by the script")  # far enough: what is asked is what is tested here


def test_attach_asks(sandbox: Sandbox, daemon: ScriptedDaemon) -> None:
    daemon.answers["attach"] = REFUSED
    assert at_terminal(sandbox, "a", "work", "--read-only", "--no-replay", "--no-respawn") == (
        4,
        "toowl: refused by the script\r\n",
    )
    params = daemon.params("attach")
    expected = {
        "session": "work",
        "read_only": True,
        "replay": False,
        "respawn": False,
        "from_seq": None,
        "rows": 24,
        "cols": 80,
    }
    assert expected.items() <= params.items()
    assert (
        len(params["client_id"]) >= 16
        and params["term"] == "xterm-256color"
        and params["tty"].startswith("/dev/")
    )


def test_attach_knows_a_plain_command_line_without_its_parser() -> None:
    assert vars(attach.plain("work")) == vars(attach.parser().parse_args(["work"]))


def test_attach_needs_a_terminal(sandbox: Sandbox, daemon: ScriptedDaemon) -> None:
    status, _, err = run(sandbox, "attach", "work")
    assert status == 2
    assert one_line(err) and "terminal" in err
    assert daemon.asked == []


def test_attach_create(sandbox: Sandbox, daemon: ScriptedDaemon) -> None:
    daemon.answers |= {
        "attach": REFUSED,
        "info": errors.SessionNotFound("no"),
        "new": {**session(), "notices": []},
    }
    assert at_terminal(sandbox, "attach", "work", "--create")[0] == 4
    assert [method for method, _ in daemon.asked] == ["info", "new", "attach"]
    assert daemon.params("new")["name"] == "work"
    assert daemon.params("attach")["session"] == "2f3a9c1b"


def test_attach_create_of_one_that_exists(sandbox: Sandbox, daemon: ScriptedDaemon) -> None:
    daemon.answers |= {"attach": REFUSED, "info": session(name="work")}
    assert at_terminal(sandbox, "attach", "work", "--create")[0] == 4
    assert [method for method, _ in daemon.asked] == ["info", "attach"]


def test_attach_refuses_itself(sandbox: Sandbox, daemon: ScriptedDaemon) -> None:
    daemon.answers |= {"attach": REFUSED, "info": session(name="work")}
    status, text = at_terminal(sandbox, "attach", "work", TOOWL_SESSION="2f3a9c1b")
    assert status == 4
    assert "inside" in text and "loop" in text and text.count("\n") == 1
    assert [method for method, _ in daemon.asked] == ["info"]
    assert "refused by" in at_terminal(sandbox, "attach", "work", TOOWL_SESSION="00000000")[1]


@pytest.mark.parametrize("name", ["work", "2f3a9c1b", "2f"])
def test_attach_without_a_daemon(sandbox: Sandbox, name: str) -> None:
    record(sandbox, "2f3a9c1b", name="work")
    record(sandbox, "91be0000", name=None)
    with ScriptedDaemon(
        sandbox.paths.custodian_socket("2f3a9c1b"), {"attach": REFUSED}, role="custodian"
    ) as keeper:
        status, text = at_terminal(sandbox, "attach", name)
    assert status == 4
    assert "no daemon answers" in text and "refused by the script" in text
    assert [method for method, _ in keeper.asked] == ["attach"]


@pytest.mark.parametrize("name", ["nobody", "91be0000"])
def test_attach_without_anybody(sandbox: Sandbox, name: str) -> None:
    record(sandbox, "91be0000")
    status, text = at_terminal(sandbox, "attach", name)
    assert status == 5
    assert "toowld --detach" in text


# -- plain toowl ------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("sessions", "chosen"),
    [
        ([session("0000000a", last_active_at=5.0), session("0000000b", last_active_at=9.0)], "0000000b"),
        ([session("0000000a", clients=1), session("0000000b", last_active_at=1.0)], "0000000b"),
        ([session("0000000a", state="ended"), session("0000000b", state="unreachable")], None),
        ([session("0000000c")], None),  # the one that we are in
        ([], None),
    ],
)
def test_plain(
    sandbox: Sandbox, daemon: ScriptedDaemon, sessions: list[dict[str, Any]], chosen: str | None
) -> None:
    daemon.answers |= {"list": {"sessions": sessions}, "attach": REFUSED, "new": {**session(), "notices": []}}
    assert at_terminal(sandbox, TOOWL_SESSION="0000000c")[0] == 4
    assert [method for method, _ in daemon.asked] == ["list", *([] if chosen else ["new"]), "attach"]
    assert daemon.params("attach")["session"] == (chosen or "2f3a9c1b")


@pytest.mark.parametrize(
    ("sessions", "chosen"),
    [
        ([session("0000000a", last_active_at=5.0), session("0000000b", last_active_at=9.0)], "0000000b"),
        ([session("0000000a", clients=1), session("0000000b", state="ended")], None),
    ],
)
def test_attach_without_a_session_means_the_one_that_was_left_last(
    sandbox: Sandbox, daemon: ScriptedDaemon, sessions: list[dict[str, Any]], chosen: str | None
) -> None:
    """As tmux has it; it makes none."""
    daemon.answers |= {"list": {"sessions": sessions}, "attach": REFUSED}
    status, text = at_terminal(sandbox, "a")
    if chosen:
        assert status == 4
        assert daemon.params("attach")["session"] == chosen
    else:
        assert status == 3
        assert "nobody has left a session that runs" in text and "toowl new" in text
        assert [method for method, _ in daemon.asked] == ["list"]


def test_attach_creates_only_by_name(sandbox: Sandbox, daemon: ScriptedDaemon) -> None:
    status, text = at_terminal(sandbox, "attach", "--create")
    assert status == 2
    assert "--create needs the name" in text
    assert daemon.asked == []


def test_plain_needs_a_terminal(sandbox: Sandbox, daemon: ScriptedDaemon) -> None:
    status, _, err = run(sandbox)
    assert status == 2
    assert "toowl ls" in err
