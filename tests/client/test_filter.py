"""Sessions found by what is known of them, in lists and for what is done to several at once."""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any

import pytest

from tests.client.scripted import ScriptedDaemon, session
from tests.harness import Sandbox
from toowl.commands._filter import KEYS, SORTS, STATES, chosen, ordered, parse
from toowld.errors import UsageError
from toowld.session.displays import DISPLAYS

WORLD: list[dict[str, Any]] = [
    session("0000000a", name="web-1", clients=1, display="attached", tags={"ci": "main"}, last_active_at=9.0),
    session(
        "0000000b", name="web-2", tags={"ci": "next", "state": "odd"}, created_at=5.0, last_active_at=8.0
    ),
    session(
        "0000000c", name="Db", state="ended", display="ended (exited 7)", cwd="/srv/db", last_active_at=7.0
    ),
    session("0000000d", persistent=False, degraded=True, command=b"\xff cat", last_active_at=6.0),
    session(
        "0000000e", name="gone", state="ended", display="ended (lost)", tags={"ci": "main"}, created_at=1.0
    ),
]


def ids(*filters: str) -> str:
    return "".join(found["id"][-1] for found in chosen(WORLD, parse(filters)))


@pytest.mark.parametrize(
    ("filters", "wanted"),
    [
        ((), "abcde"),
        (("name=web-*",), "ab"),
        (("name=web-?", "state=detached"), "b"),
        (("name=web",), ""),
        (("name=",), "d"),
        (("id=*c",), "c"),
        (("cwd=/srv/*",), "c"),
        (("command=*cat",), "d"),
        (("state=running",), "abd"),
        (("state=attached",), "a"),
        (("state=degraded",), "d"),
        (("state=ended",), "ce"),
        (("state=exited",), "c"),
        (("state=lost",), "e"),
        (("persistent=no",), "d"),
        (("persistent=yes", "state=ended"), "ce"),
        (("ci=main",), "ae"),
        (("ci=*",), "abe"),
        (("ci=*", "ci=n*"), "b"),
        (("tag.ci=main", "state=lost"), "e"),
        (("tag.state=odd",), "b"),
        (("tag.nobody=x",), ""),
    ],
)
def test_what_fits(filters: tuple[str, ...], wanted: str) -> None:
    assert ids(*filters) == wanted


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("work", "is no KEY=VALUE"),
        ("=x", "is no KEY=VALUE"),
        ("nmae=x", "did you mean 'name'?"),
        ("cii=main", "did you mean 'ci'?"),
        ("zzz=x", "it is one of id, name, cwd, command, state, persistent, ci"),
        ("state=dettached", "did you mean 'detached'?"),
        ("state=asleep", "it is one of awaiting, "),
        ("persistent=maybe", "say yes or no"),
    ],
)
def test_what_is_no_filter(text: str, said: str) -> None:
    with pytest.raises(UsageError, match=said.replace("?", r"\?")):
        ids(text)


def test_every_state_that_is_shown_can_be_asked_for() -> None:
    words = {word.strip("()") for display in DISPLAYS.values() for word in display.word.split()}
    assert {word for word in words if word.isalpha()} - {"version"} | {"running"} == set(STATES)


@pytest.mark.parametrize(
    ("sort", "wanted"), [("active", "eabcd"), ("created", "acdbe"), ("name", "ceabd"), ("state", "abdce")]
)
def test_order(sort: str, wanted: str) -> None:
    assert "".join(found["id"][-1] for found in ordered(WORLD, sort)) == wanted
    assert set(SORTS) == {"active", "created", "name", "state"}


# -- as a user types them ---------------------------------------------------------------------------------


@pytest.fixture
def daemon(sandbox: Sandbox) -> Iterator[ScriptedDaemon]:
    answers: dict[str, Any] = {"list": {"sessions": WORLD}}
    answers |= {method: {"detached": 1} for method in ("kill", "remove", "detach", "tag")}
    with ScriptedDaemon(sandbox.paths.daemon_socket, answers) as scripted:
        yield scripted


def asked(daemon: ScriptedDaemon) -> list[str]:
    """Of which sessions something was asked, by the last letters of their ids."""
    return [params["session"][-1] for method, params in daemon.asked if method != "list"]


def test_ls(sandbox: Sandbox, daemon: ScriptedDaemon) -> None:
    found = json.loads(sandbox.toowl("ls", "--json", "-f", "ci=*", "--sort", "created").stdout)
    assert [item["id"][-1] for item in found] == ["a", "b", "e"]
    table = sandbox.toowl("ls", "-f", "name=web-*", "-f", "state=detached").stdout.splitlines()
    assert [line.split()[0] for line in table] == ["ID", "0000000b"]
    nobody = sandbox.toowl("ls", "-f", "name=nobody")
    assert nobody.stdout.startswith("ID") and nobody.stderr == "no session fits\n"
    wrong = sandbox.toowl("ls", "-f", "nmae=x", check=False)
    assert (wrong.returncode, wrong.stdout) == (2, "") and wrong.stderr.count("\n") == 1


GROUPS = [
    (("kill", "-f", "ci=*"), ["a", "b"], "End what runs in these 2 sessions?"),
    (("rm", "-f", "state=lost"), ["e"], "Forget this session, with all that they printed?"),
    (("detach", "-f", "name=web-*"), ["a"], "Make all leave this session?"),
    (("tag", "-f", "ci=main", "ci=next"), ["a", "e"], "Note that of these 2 sessions?"),
]


@pytest.mark.parametrize(("argv", "wanted", "question"), GROUPS, ids=[group[0][0] for group in GROUPS])
def test_a_group(
    sandbox: Sandbox, daemon: ScriptedDaemon, argv: tuple[str, ...], wanted: list[str], question: str
) -> None:
    refused = sandbox.toowl(*argv, check=False)
    assert refused.returncode == 4 and "--yes" in refused.stderr and refused.stderr.count("\n") == 1
    for answer in ("n\r", "\r"):
        terminal = sandbox.terminal("toowl", *argv)
        terminal.expect(f"{question} [y/N] ")
        terminal.send(answer)
        assert terminal.wait() == 4 and "nothing was done" in terminal.text
    assert asked(daemon) == []
    terminal = sandbox.terminal("toowl", *argv)
    terminal.expect(question)
    assert all(f"0000000{letter}  " in terminal.text for letter in wanted)
    terminal.send("y\r")
    assert terminal.wait() == 0
    assert asked(daemon) == wanted
    sandbox.toowl(*argv, "--yes")
    assert asked(daemon) == wanted * 2


def test_whoever_asks_from_inside_goes_last(sandbox: Sandbox, daemon: ScriptedDaemon) -> None:
    sandbox.toowl("kill", "-f", "state=running", "-y", TOOWL_SESSION="0000000a")
    assert asked(daemon) == ["b", "d", "a"]


@pytest.mark.parametrize(
    ("argv", "status", "said"),
    [
        (("kill", "-f", "name=nobody", "-y"), 3, "no session fits name=nobody"),
        (("kill", "-f", "state=lost", "-y"), 3, "(1 fit, and nothing is to be done with them)"),
        (("rm", "-f", "name=web-1", "-y"), 3, "(1 fit"),
        (("rm", "-f", "work"), 2, "is no KEY=VALUE"),
        (("rm",), 2, "-f KEY=VALUE"),
        (("kill", "web-1", "-f", "ci=main"), 2, "not both"),
        (("detach", "web-1", "-f", "ci=main"), 2, "not both"),
        (("detach", "-f", "ci=main", "--client", "3"), 2, "--client"),
        (("tag", "web-1", "-f", "ci=main", "a=b"), 2, "not both"),
        (("tag", "-f", "ci=main"), 2, "KEY=VALUE"),
    ],
)
def test_group_mistakes(
    sandbox: Sandbox, daemon: ScriptedDaemon, argv: tuple[str, ...], status: int, said: str
) -> None:
    done = sandbox.toowl(*argv, check=False)
    assert (done.returncode, done.stdout) == (status, "")
    assert said in done.stderr and done.stderr.count("\n") == 1
    assert asked(daemon) == []


def test_keys_are_told_in_the_help(sandbox: Sandbox) -> None:
    text = " ".join(sandbox.toowl("ls", "--help").stdout.split())
    assert all(key in text for key in KEYS)
