"""Steps that the process tests share: ask a shell something, read counters, set the daemon's pace."""

from __future__ import annotations

import contextlib
import itertools
import json
import os
import re
import signal
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import psutil

from tests.harness import Sandbox, Terminal, describe, wait_for

_questions = itertools.count(1)

#: A counter, each number once. `printf` is a builtin: nothing is started, so nothing else slows it down.
COUNT = 'i=0; while :; do printf "count %d\\n" $i; i=$((i+1)); done'

#: The same at about one line per millisecond: bash's `read -t` waits without starting a process.
COUNT_BY_MS = 'exec 9<> <(:); i=0; while :; do printf "count %d\\n" $i; i=$((i+1)); read -t 0.001 -u 9; done'


def settings(box: Sandbox, **values: float | str) -> None:
    """Write the daemon's settings."""
    lines = "".join(f"{key} = {value}\n" for key, value in values.items())
    box.configure(f"[daemon]\n{lines}")


def shell(box: Sandbox, name: str, **params: Any) -> dict[str, Any]:
    """A session with a bash that reads nobody's settings."""
    return box.new("bash", "--norc", "--noprofile", name=name, **params)


def ask(box: Sandbox, session: str, expression: str) -> str:
    """Have the session's shell expand ``expression``, and return what it says."""
    mark = f"answer-{next(_questions)}"
    # The mark is typed in two halves, so that the echo of the question can't pass for the answer.
    box.send(session, f'printf "<%s-{mark[7:]}:%s>\\n" answer "{expression}"\r'.encode())
    pattern = re.compile(rb"<" + mark.encode() + rb":(.*?)>\r\n", re.DOTALL)
    found = wait_for(lambda: pattern.search(box.output(session)), what=f"the answer to {expression}")
    assert found is not None
    return found[1].decode(errors="surrogateescape")


def numbers(output: bytes) -> list[int]:
    """The counter's numbers in an output."""
    return [int(number) for number in re.findall(rb"count (\d+)\r\n", output)]


def complete(terminal: Terminal) -> list[int]:
    """The numbers on a terminal after a detach. The last is left out: the detach may have cut it short."""
    return numbers(terminal.output)[:-1]


def counted(box: Sandbox, session: str) -> list[int]:
    """The counter's numbers in a session's log."""
    return numbers(box.output(session))


def ls(box: Sandbox) -> dict[str, dict[str, Any]]:
    """What `toowl ls --json` shows, by name (or id, where there is none)."""
    listed: list[dict[str, Any]] = json.loads(box.toowl("ls", "--json").stdout)
    return {item["name"] or item["id"]: item for item in listed}


def listed(box: Sandbox) -> dict[str, dict[str, Any]]:
    """The same through the socket, for waiting."""
    with box.client() as client:
        sessions = client.request("list")["sessions"]
    return {item["name"] or item["id"]: item for item in sessions}


def skipped(box: Sandbox) -> dict[str, str]:
    """File name → why the daemon left it alone."""
    with box.client() as client:
        return {Path(item["path"]).name: item["reason"] for item in client.request("doctor")["skipped"]}


def displayed(box: Sandbox, name: str) -> str:
    """How one session is shown, "" if it is not."""
    return str(listed(box).get(name, {}).get("display", ""))


def wait_displayed(box: Sandbox, name: str, wanted: str) -> None:
    """Wait until a session is shown as ``wanted``."""
    wait_for(lambda: displayed(box, name) == wanted, what=f"{name} to be {wanted}")


def killed_by(box: Sandbox, name: str) -> int | None:
    """The signal by which a session was ended on request."""
    found = listed(box)[name]
    assert found["display"] == "ended (killed)"
    signum: int | None = found["exit_signal"]
    return signum


@contextlib.contextmanager
def stopped(pid: int) -> Iterator[None]:
    """A process under SIGSTOP for a while."""
    os.kill(pid, signal.SIGSTOP)
    try:
        yield
    finally:
        os.kill(pid, signal.SIGCONT)


def apart_from_zygote(box: Sandbox) -> set[int]:
    """All processes of a sandbox but the zygote and its spare, which comes and goes."""
    return {process.pid for process in box.processes() if "--zygote" not in describe(process)}


def running(box: Sandbox, last: object) -> list[psutil.Process]:
    """The processes of a sandbox whose command line ends with a word."""
    found = []
    for process in box.processes():
        with contextlib.suppress(psutil.NoSuchProcess):  # gone meanwhile
            if process.cmdline()[-1:] == [str(last)]:
                found.append(process)
    return found


def open_files(pid: int) -> dict[int, str]:
    """The descriptors of a process, and what they are of."""
    found = {}
    for fd in Path(f"/proc/{pid}/fd").iterdir():
        with contextlib.suppress(FileNotFoundError):  # closed meanwhile
            found[int(fd.name)] = str(fd.readlink())
    return found


def died(box: Sandbox, number: signal.Signals) -> None:
    """The daemon gets a signal and is gone."""
    box.signal(number)


def stopped_politely(box: Sandbox) -> None:
    """``toowld stop``."""
    box.toowld("stop", "--yes")
    assert box.daemon is not None
    assert box.daemon.wait(20) == 0


DEATHS: dict[str, Callable[[Sandbox], None]] = {
    **{
        number.name: lambda box, number=number: died(box, number)  # type: ignore[misc]
        for number in (signal.SIGKILL, signal.SIGTERM, signal.SIGABRT, signal.SIGINT, signal.SIGSEGV)
    },
    "stop": stopped_politely,
}
