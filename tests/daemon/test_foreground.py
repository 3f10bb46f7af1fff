"""Who waits for somebody to type, among real programs at a real terminal."""

from __future__ import annotations

import os
import pty
import signal
from collections.abc import Iterator
from contextlib import contextmanager

import pytest

from tests.harness import need_program, wait_for
from toowld.daemon.foreground import Processes

PYTHON = "python3"
#: A loop that has keys for an event, and something to draw now and then.
LOOP = """
import asyncio
loop = asyncio.new_event_loop()
loop.add_reader(0, print)
async def draw():
    while True:
        print("ready", flush=True)
        await asyncio.sleep({pause})
loop.run_until_complete(draw())
"""
THREAD = """
import sys, threading, time
threading.Thread(target=sys.stdin.readline, daemon=True).start()
print("ready", flush=True)
time.sleep(999)
"""


@contextmanager
def child(*argv: str) -> Iterator[int]:
    """A program at a terminal of its own, as soon as it has printed something."""
    need_program(argv[0])
    pid, fd = pty.fork()
    if pid == 0:
        os.environ["TERM"] = "xterm"
        os.execvp(argv[0], argv)
    try:
        os.read(fd, 1)
        yield pid
    finally:
        os.kill(pid, signal.SIGKILL)
        os.waitpid(pid, 0)
        os.close(fd)


WAITING = [
    ["bash", "--norc", "-i"], ["zsh", "-f"], ["fish", "--no-config"], ["sh", "-i"],
    ["sh", "-c", "echo; read x"], ["sh", "-c", "echo; cat | cat"], ["less", "/etc/passwd"],
    [PYTHON], [PYTHON, "-c", "input('name? ')"], [PYTHON, "-c", "import getpass; getpass.getpass()"],
    [PYTHON, "-c", LOOP.format(pause=99)],
]  # fmt: skip
WORKING = [
    ["sh", "-c", "echo; sleep 99"], ["sh", "-c", "echo; sleep 99 | cat"], ["sh", "-c", "echo; sleep 99 < /dev/tty"],
    [PYTHON, "-c", LOOP.format(pause=0.1)], ["sh", "-c", "echo; while :; do :; done"],
]  # fmt: skip


@pytest.mark.parametrize("argv", WAITING, ids=lambda argv: " ".join(argv)[:30])
def test_it_waits(argv: list[str]) -> None:
    with child(*argv) as pid:
        wait_for(lambda: Processes().waiting(pid, quiet=False), what="it waits for somebody to type")


@pytest.mark.parametrize("argv", WORKING, ids=lambda argv: " ".join(argv)[:30])
def test_it_does_not(argv: list[str]) -> None:
    with child(*argv) as pid:
        for _ in range(20):
            assert Processes().waiting(pid, quiet=False) is None


def test_a_thread_that_reads_counts_where_all_is_quiet() -> None:
    with child(PYTHON, "-c", THREAD) as pid:
        wait_for(lambda: Processes().waiting(pid, quiet=True), what="its thread waits")
        assert Processes().waiting(pid, quiet=False) is None


def test_who_is_gone_waits_for_nothing() -> None:
    with child("sh", "-c", "echo; read x") as pid:
        wait_for(lambda: Processes().waiting(pid, quiet=False), what="it waits")
        before = Processes()
    assert before.waiting(pid, quiet=False) is None and Processes().waiting(pid, quiet=True) is None
