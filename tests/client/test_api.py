"""Sessions from Python: the blocking client and the one for asyncio do the same, over a restart of the daemon too."""

from __future__ import annotations

import asyncio
import inspect
import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import contextmanager
from typing import Any

import pytest

import toowl
from tests.harness import DEADLINE, Sandbox, need_program, wait_for
from toowl import AsyncClient, Client
from toowl.api import Ended, Executed, Happened, Lost, Piece
from toowld.errors import DaemonUnreachable, RefusedError, SessionNotFound, UsageError
from toowld.wire import Size

SH = ["sh", "-c"]


class Face:
    """Either client, asked in the same way."""

    def __init__(self, sandbox: Sandbox, asynchronous: bool) -> None:
        self._client: Any = (AsyncClient if asynchronous else Client)(sandbox.paths)
        self._asynchronous = asynchronous
        self._pool = ThreadPoolExecutor(4)

    def __getattr__(self, name: str) -> Any:
        def call(*args: Any, **kwargs: Any) -> Any:
            result = getattr(self._client, name)(*args, **kwargs)
            return asyncio.run(result) if self._asynchronous else result

        return call

    def begin(self, name: str, *args: Any, **kwargs: Any) -> Future[Any]:
        """Ask beside us."""
        return self._pool.submit(getattr(self, name), *args, **kwargs)

    def items(self, name: str, *args: Any, until: Any = None, **kwargs: Any) -> list[Any]:
        """What a stream gives, up to the first that fits."""
        stream = getattr(self._client, name)(*args, **kwargs)
        found = []
        if not self._asynchronous:
            for item in stream:
                found.append(item)
                if until is not None and until(item):
                    break
            return found

        async def collect() -> None:
            async with asyncio.timeout(DEADLINE):
                async for item in stream:
                    found.append(item)
                    if until is not None and until(item):
                        break
                await stream.aclose()

        asyncio.run(collect())
        return found

    def close(self) -> None:
        self._pool.shutdown()


@pytest.fixture(params=[False, True], ids=["sync", "async"])
def face(sandbox: Sandbox, request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> Iterator[Face]:
    for name in list(os.environ):
        if name.startswith("TOOWL"):
            monkeypatch.delenv(name)
    monkeypatch.chdir(sandbox.root)
    made = Face(sandbox, request.param)
    yield made
    made.close()


@contextmanager
def listening(sandbox: Sandbox, session: str) -> Iterator[None]:
    """Until somebody looks at that session's output."""
    before = sandbox.info(session)["clients"]
    yield
    wait_for(lambda: sandbox.info(session)["clients"] > before, what="somebody who looks at the output")


def test_both_have_the_same_methods() -> None:
    def methods(cls: type) -> dict[str, Any]:
        return {
            name: [*inspect.signature(member).parameters.values()]
            for name, member in vars(cls).items()
            if not name.startswith("_")
        }

    assert methods(Client) == methods(AsyncClient)


def test_the_commands_do_not_load_it() -> None:
    code = (
        "import sys, toowl, toowl.cli, toowl.commands.ls; "
        "print([name for name in sys.modules if 'toowl.api' in name or name == 'asyncio'])"
    )
    assert subprocess.check_output([sys.executable, "-c", code], text=True) == "[]\n"
    with pytest.raises(AttributeError):
        _ = toowl.Clients


def test_without_a_daemon(face: Face) -> None:
    with pytest.raises(DaemonUnreachable, match="no toowld is running"):
        face.sessions()
    with pytest.raises(DaemonUnreachable):
        face.wait("work", exit=True)
    with pytest.raises(DaemonUnreachable):
        face.items("events")


def test_a_life(sandbox: Sandbox, face: Face) -> None:
    sandbox.up()
    made = face.new(["bash", "--norc"], name="work", env={"GREETING": "hel"})
    assert made.running and [session.id for session in face.sessions()] == [made.id]
    assert face.wait("work", input=True, timeout=DEADLINE)
    face.send("work", "echo ${GREETING}lo\r")
    assert face.wait("work", match="^hello$", from_seq=0, timeout=DEADLINE).line == "hello"
    assert "hello\n" in face.capture("work")
    assert face.capture("work", 1).strip().startswith("bash")
    assert face.rename("work", "play").name == "play"
    assert face.tag("play", key="value").tags == {"key": "value"}
    with pytest.raises(SessionNotFound):
        face.session("work")
    [piece] = face.items("read", "play")
    assert isinstance(piece, Piece) and b"hello\r\n" in piece.data
    assert face.items("read", "play", piece.end) == []
    assert face.kill("play", force=True).exit_signal == signal.SIGKILL
    ended = face.items("read", "play", piece.end, follow=True)[-1]
    assert isinstance(ended, Ended) and ended.status == 128 + signal.SIGKILL
    names = [happened.event for happened in face.items("events", since=0, until=lambda e: e.event == "ended")]
    assert names[:2] == ["created", "started"] and {"renamed", "tagged"} < set(names)
    face.remove("play")
    assert face.sessions() == []


def test_a_command_to_its_end(sandbox: Sandbox, face: Face) -> None:
    sandbox.up()
    done = face.run([*SH, "seq 20000; exit 3"])
    assert done.output == b"".join(b"%d\r\n" % number for number in range(1, 20001))
    assert done.status == 3 and done.session.exit_code == 3


def test_a_command_in_a_shell(sandbox: Sandbox, face: Face) -> None:
    """As `toowl exec`, whose tests these are not: in that very shell, one after the other."""
    need_program("bash")
    sandbox.up()
    face.new(["bash", "--norc", "-i"], name="x", env={"HISTFILE": ""})
    assert face.exec("x", "cd /tmp; there=yes") == Executed("", 0)
    assert face.exec("x", "echo $PWD $there; (exit 7)") == Executed("/tmp yes\n", 7)
    late = face.exec("x", "echo begun; read line", timeout=1.5)
    assert late == Executed("begun\n", 124, timed_out=True)
    with pytest.raises(RefusedError, match="wait, look with `toowl capture`"):
        face.exec("x", "echo too early", timeout=0.2)
    sandbox.send("x", b"\r")
    two = [face.begin("exec", "x", f"echo {number}; sleep 0.1") for number in (1, 2)]
    assert [one.result(DEADLINE).output for one in two] == ["1\n", "2\n"]
    with pytest.raises(UsageError, match="which command"):
        face.exec("x", " ")
    with pytest.raises(SessionNotFound):
        face.exec("nobody", "true")


def test_a_line_is_no_command(sandbox: Sandbox, face: Face) -> None:
    """A text is a sequence of texts for Python: of its letters."""
    sandbox.up()
    for method in ("new", "run"):
        with pytest.raises(UsageError, match=r"a list of texts, such as \['sh', '-c', 'echo one'\]"):
            getattr(face, method)("echo one")
    assert face.sessions() == []


def test_waiting(sandbox: Sandbox, face: Face) -> None:
    sandbox.up()
    with pytest.raises(UsageError, match="one thing"):
        face.wait("work", exit=True, idle=1.0)
    with pytest.raises(UsageError, match="regular expression"):
        face.wait("work", match="(")
    with pytest.raises(SessionNotFound):
        face.wait("work", exit=True)
    face.new([*SH, "read x; printf 'what is y'; printf 'our name? '; read y; exit $y"], name="asks")
    assert face.wait("asks", exit=True, timeout=0.05).reason == "timeout"
    assert face.wait("asks", input=True, timeout=DEADLINE)
    with listening(sandbox, "asks"):
        waiting = face.begin("wait", "asks", match=r"name\? $", timeout=DEADLINE)
    face.send("asks", "x\n")
    assert waiting.result().line == "what is your name? "
    assert face.wait("asks", idle=0.1, timeout=DEADLINE)
    assert not face.wait("asks", match="nothing like that", from_seq=0, timeout=0.05)
    over = face.begin("wait", "asks", match="nothing like that", timeout=DEADLINE)
    status = face.begin("wait", "asks", exit=True, timeout=DEADLINE)
    face.send("asks", "7\n")
    assert over.result().reason == "ended"
    assert status.result() and status.result().ended.status == 7
    assert face.wait("asks", exit=True).ended.status == 7
    assert face.wait("asks", prompt=True).reason == "ended"
    assert face.wait("asks", match="your name", from_seq=0)
    assert face.wait("asks", match="your name").reason == "ended"


def test_at_the_prompt(sandbox: Sandbox, face: Face) -> None:
    sandbox.up()
    marks = r"PS1='\[\e]133;A\a\]$ '; PS0='\e]133;C\a'; PROMPT_COMMAND='printf \"\e]133;D;%s\a\" $?'"
    face.new(["bash", "--norc"], name="work")
    face.send("work", marks + "\n")
    assert face.wait("work", prompt=True, timeout=DEADLINE)
    face.send("work", "read x\n")
    assert face.wait("work", prompt=True, timeout=0.7).reason == "timeout"
    assert face.wait("work", input=True, timeout=DEADLINE)
    waiting = face.begin("wait", "work", prompt=True, timeout=DEADLINE)
    face.send("work", "x\n")
    assert waiting.result()
    assert face.session("work").info["waiting"] == "prompt"


def test_over_a_restart_of_the_daemon(sandbox: Sandbox, face: Face) -> None:
    """Who waits and who reads is not disturbed."""
    sandbox.up()
    face.new([*SH, "echo begin; read x; echo middle; read x; echo end; exit 4"], name="work")
    reading = face.begin("items", "read", "work", follow=True)
    ending = face.begin("wait", "work", exit=True, timeout=DEADLINE)
    events = face.begin("items", "events", since=0, until=lambda happened: happened.event == "ended")
    wait_for(lambda: sandbox.info("work")["clients"] == 1, what="the reader")
    with listening(sandbox, "work"):
        matching = face.begin("wait", "work", match="^end", timeout=DEADLINE)
    face.send("work", "x\n")
    face.wait("work", match="middle", from_seq=0, timeout=DEADLINE)
    sandbox.restart()
    wait_for(lambda: sandbox.info("work")["clients"] == 2, what="both are still there")
    face.send("work", "x\n")
    assert matching.result() and ending.result().ended.status == 4
    *pieces, ended = reading.result()
    assert b"".join(piece.data for piece in pieces) == sandbox.output(face.session("work").id)
    assert ended.code == 4 and not any(isinstance(piece, Lost) for piece in pieces)
    told: list[Happened] = events.result()
    missed = [happened.event for happened in told].index("missed")
    assert told[missed].data["count"] is None and told[0].run != told[-1].run
    assert [happened.event for happened in told[:2]] == ["created", "started"]


def test_what_waits_and_what_is_silent_is_told_to_those_who_asked(sandbox: Sandbox, face: Face) -> None:
    sandbox.up()
    face.new([*SH, "echo x; exec sleep 999"], name="silent")
    face.new([*SH, "read x; exec sleep 999"], name="asks")
    told = face.items(
        "events", names=["idle", "input"], idle=0.5, input=True,
        until=lambda happened: happened.event == "input",
    )  # fmt: skip
    assert told[-1].name == "asks" and told[-1].data == {"waiting": "input"}
    idle = face.items(
        "events", ["silent"], since=0, idle=0.5, until=lambda happened: happened.event == "idle"
    )
    assert idle[-1].data == {"seconds": 0.5}


FULL_SCREEN = (
    r"stty -echo; echo before; printf '\033[?1049h\033]2;editor\007\033[2;3Hmenu\033[?25l'; read x; "
    r"printf '\033[H\033[2Jsa'; printf 'ved \033[31min\033[m file'; read x; "
    r"printf '\033[?1049l\033[?25h'; read x; exit 7"
)


def test_what_it_shows(sandbox: Sandbox, face: Face) -> None:
    """As `toowl capture` prints it, whoever is there."""
    sandbox.up()
    with pytest.raises(SessionNotFound):
        face.screen("work")
    face.new([*SH, FULL_SCREEN], name="work", size=Size(rows=10, cols=40))
    assert face.wait("work", screen="^  menu$", timeout=DEADLINE)
    shown = face.screen("work")
    assert (shown.lines[1], len(shown.lines), shown.size) == ("  menu", 10, Size(rows=10, cols=40))
    assert (shown.cursor, shown.cursor_visible) == ((1, 6), False)
    assert (shown.alternate, shown.title) == (True, "editor")
    assert shown.seq == sandbox.info("work")["seq"]
    assert shown.text == sandbox.toowl("capture", "work").stdout == "\n  menu\n"
    sandbox.kill9()
    assert face.screen("work") == shown
    sandbox.up()
    face.send("work", "\n")
    assert face.wait("work", screen="saved in file", timeout=DEADLINE)
    face.send("work", "\n")
    assert face.wait("work", screen="^before", timeout=DEADLINE).line == "before"
    shown = face.screen("work")
    assert (shown.alternate, shown.cursor, shown.cursor_visible) == (False, (1, 0), True)
    face.kill("work")
    assert face.screen("work").lines == shown.lines


def test_waiting_for_what_it_shows(sandbox: Sandbox, face: Face) -> None:
    sandbox.up()
    with pytest.raises(UsageError, match="regular expression"):
        face.wait("work", screen="(")
    with pytest.raises(UsageError, match="one thing"):
        face.wait("work", screen="x", exit=True)
    face.new([*SH, FULL_SCREEN], name="work")
    assert face.wait("work", screen="menu", timeout=DEADLINE)
    assert face.wait("work", screen="saved", timeout=0.05).reason == "timeout"
    with listening(sandbox, "work"):
        waiting = face.begin("wait", "work", screen="^saved in file$", timeout=DEADLINE)
        over = face.begin("wait", "work", screen="nothing like that", timeout=DEADLINE)
        wait_for(lambda: sandbox.info("work")["clients"] == 2, what="both")
    sandbox.restart()  # which neither of them minds
    face.send("work", "\n")
    found = waiting.result()
    assert found and found.line == "saved in file" and found.seq == sandbox.info("work")["seq"]
    face.send("work", "\n\n")
    assert (over.result().reason, over.result().ended.status) == ("ended", 7)
    assert face.wait("work", screen="before")
    assert face.wait("work", screen="menu").reason == "ended"


def test_a_screen_that_never_rests_is_seen(sandbox: Sandbox, face: Face) -> None:
    """And one that changes its size."""
    sandbox.up()
    face.new([*SH, r"while :; do i=$((i+1)); printf '\r\033[Kspin %s' $i; sleep 0.02; done"], name="spins")
    sandbox.toowl("resize", "spins", "30x5")
    assert face.wait("spins", screen="spin [0-9]{2,}$", timeout=DEADLINE)
    assert face.screen("spins").size == Size(rows=5, cols=30)


def test_output_faster_than_it_can_be_followed(sandbox: Sandbox, face: Face) -> None:
    sandbox.up()
    face.new([*SH, "read x; seq 300000; echo do''ne; read x"], name="work")
    with listening(sandbox, "work"):
        waiting = face.begin("wait", "work", screen="^done$", timeout=DEADLINE)
    face.send("work", "\n")
    assert waiting.result()


def test_what_was_closed(sandbox: Sandbox) -> None:
    """Ends what is open, in whatever thread, and takes no more."""
    sandbox.up()
    with Client(sandbox.paths) as client, ThreadPoolExecutor(3) as pool:
        client.new([*SH, "echo x; exec sleep 999"], name="work")
        events = client.events(since=0)
        assert next(events).event == "created"
        read: list[Any] = []
        following = pool.submit(lambda: read.extend(client.read("work", follow=True)))
        waiting = pool.submit(client.wait, "work", exit=True)
        dialling = pool.submit(client.wait, "work", match="y")
        wait_for(lambda: sandbox.info("work")["clients"] == 2, what="those who follow")
        wait_for(lambda: read, what="the output")
        client.close()
        assert list(events) == []
        following.result(DEADLINE)
        assert b"".join(piece.data for piece in read) == b"x\r\n"
        for blocked in (waiting, dialling):
            with pytest.raises(RefusedError, match="closed"):
                blocked.result(DEADLINE)
    with pytest.raises(RefusedError, match="is closed"):
        client.sessions()
    with pytest.raises(RefusedError, match="is closed"):
        next(client.events())
    wait_for(lambda: sandbox.info("work")["clients"] == 0, what="nobody follows")


def test_what_was_closed_in_a_loop(sandbox: Sandbox) -> None:
    sandbox.up()

    async def main() -> None:
        async with AsyncClient(sandbox.paths) as client:
            await client.new([*SH, "echo x; exec sleep 999"], name="work")
            events = client.events(since=0)
            assert (await anext(events)).event == "created"

            async def follow() -> bytes:
                pieces = [item async for item in client.read("work", follow=True)]
                return b"".join(piece.data for piece in pieces if isinstance(piece, Piece))

            following = asyncio.create_task(follow())
            waiting = asyncio.create_task(client.wait("work", exit=True))
            matching = asyncio.create_task(client.wait("work", match="y"))
            both = lambda: sandbox.info("work")["clients"] == 2  # noqa: E731
            await asyncio.to_thread(wait_for, both, what="those who follow")
        assert [item async for item in events] == []
        assert await following == b"x\r\n"
        for blocked in (waiting, matching):
            with pytest.raises(RefusedError, match="closed"):
                await blocked
        with pytest.raises(RefusedError, match="is closed"):
            await client.sessions()

    asyncio.run(main())
