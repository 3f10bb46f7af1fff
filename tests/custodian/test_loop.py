"""`EpollLoop`: calls what is ready, in order, and sleeps otherwise."""

from __future__ import annotations

import os
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from functools import partial
from typing import Any

import pytest

from tests.harness import REPOSITORY
from toowld.custodian.loop import EpollLoop


@pytest.fixture
def loop() -> Iterator[EpollLoop]:
    loop = EpollLoop()
    yield loop
    loop._epoll.close()


@pytest.fixture
def pair() -> Iterator[tuple[socket.socket, socket.socket]]:
    first, second = socket.socketpair()
    first.setblocking(False)
    second.setblocking(False)
    yield first, second
    first.close()
    second.close()


Pair = tuple[socket.socket, socket.socket]


def soon(loop: EpollLoop, callback: Callable[..., object], *args: Any) -> None:
    loop.call_at(loop.time(), callback, *args)


def each(*callbacks: Callable[[], object]) -> None:
    for callback in callbacks:
        callback()


def test_what_waits_until_it_is_still_is_called_once_behind_all_that_is_ready(
    loop: EpollLoop, pair: Pair
) -> None:
    called: list[str] = []
    first, second = pair
    second.send(b"12345")

    def on_readable() -> None:
        called.append(first.recv(1).decode())

    loop.add_reader(first.fileno(), on_readable)
    loop.call_when_still(lambda: each(lambda: called.append("still"), lambda: soon(loop, loop.stop)))
    loop.run()
    assert called == ["1", "2", "3", "4", "5", "still"]
    loop._stopped = False
    soon(loop, loop.stop)
    loop.run()
    assert called[-1] == "still" and len(called) == 6


def test_it_rests_only_when_nothing_waits_for_that() -> None:
    told: list[str] = []
    resting = EpollLoop(
        on_rest=lambda: each(lambda: told.append("rest"), lambda: soon(resting, resting.stop))
    )
    resting.call_when_still(lambda: told.append("still"))
    resting.run()
    assert told == ["still", "rest"]
    resting.close()


def test_a_timer_that_is_due_does_not_wait_for_that(loop: EpollLoop) -> None:
    called: list[str] = []

    def again() -> None:
        loop.call_when_still(again)

    again()
    loop.call_at(loop.time() + 0.005, lambda: each(lambda: called.append("timer"), loop.stop))
    loop.run()
    assert called == ["timer"]


def test_timers_are_called_in_order_and_not_early(loop: EpollLoop) -> None:
    called: list[tuple[str, float]] = []
    start = loop.time()
    for name, delay in (("c", 0.02), ("a", 0.0), ("b1", 0.01), ("b2", 0.01), ("b3", 0.01)):
        loop.call_at(start + delay, lambda name=name: called.append((name, loop.time() - start)))
    loop.call_at(start + 0.03, loop.stop)
    loop.run()
    assert [name for name, _ in called] == ["a", "b1", "b2", "b3", "c"]
    for (_, at), delay in zip(called, (0, 0.01, 0.01, 0.01, 0.02), strict=True):
        assert at >= delay


def test_a_cancelled_timer_is_not_called_also_when_due(loop: EpollLoop) -> None:
    called: list[Any] = []
    now = loop.time()
    second = None

    def first() -> None:
        called.append("first")
        assert second is not None
        second.cancel()
        second.cancel()

    loop.call_at(now, first)
    second = loop.call_at(now, called.append, "second")
    loop.call_at(now + 0.001, loop.stop)
    loop.run()
    second.cancel()
    assert called == ["first"]


def test_cancelled_timers_do_not_wake(pair: Pair) -> None:
    """It is at rest at once: nothing else would end this for an hour."""
    loop = EpollLoop(on_rest=lambda: pair[1].send(b"x"))
    loop.add_reader(pair[0].fileno(), loop.stop)
    loop.call_at(loop.time() + 3600, loop.stop).cancel()
    loop.run()
    loop.close()


def test_it_comes_to_rest_once_when_no_timer_is_left(pair: Pair) -> None:
    rests: list[int] = []
    loop = EpollLoop(on_rest=lambda: rests.append(done))
    done = 0

    def read() -> None:
        nonlocal done
        done += len(pair[0].recv(1))
        if done == 2:
            soon(loop, pair[1].send, b"x")
        if done == 3:
            loop.stop()

    loop.add_reader(pair[0].fileno(), read)
    pair[1].send(b"xx")
    loop.run()
    loop._epoll.close()
    assert rests == [0, 2], "at first, not between two turns without a timer, and after the last timer"


def test_timers_of_timers_do_not_starve_descriptors(loop: EpollLoop, pair: Pair) -> None:
    def again() -> None:
        soon(loop, again)

    soon(loop, again)
    loop.add_reader(pair[0].fileno(), loop.stop)
    soon(loop, pair[1].send, b"x")
    loop.run()
    loop.remove_reader(pair[0].fileno())


def test_readers_and_writers_of_one_descriptor(loop: EpollLoop, pair: Pair) -> None:
    called: list[Any] = []
    fd = pair[0].fileno()
    loop.add_reader(fd, each, partial(called.append, "read"), partial(pair[0].recv, 9), loop.stop)
    loop.add_writer(fd, each, partial(called.append, "write"), partial(loop.remove_writer, fd))
    soon(loop, lambda: soon(loop, pair[1].send, b"x"))
    loop.run()
    loop.remove_reader(fd)
    loop.remove_reader(fd)
    loop.remove_writer(fd)
    assert called == ["write", "read"]
    assert not loop._readers and not loop._writers


def test_a_new_callback_replaces_the_old_one(loop: EpollLoop, pair: Pair) -> None:
    loop.add_reader(pair[0].fileno(), pytest.fail, "replaced")
    loop.add_reader(pair[0].fileno(), loop.stop)
    pair[1].send(b"x")
    loop.run()


def test_hanging_up_wakes_reader_and_writer(loop: EpollLoop, pair: Pair) -> None:
    called: list[Any] = []
    fd = pair[0].fileno()
    loop.add_reader(fd, each, partial(called.append, "read"), partial(loop.remove_reader, fd))
    loop.add_writer(fd, each, partial(called.append, "write"), loop.stop)
    pair[1].close()
    loop.run()
    assert called == ["read", "write"]


def test_removing_another_during_callbacks(loop: EpollLoop, pair: Pair) -> None:
    """Both are ready in the same turn; whoever comes first takes the other away."""
    called: list[Any] = []

    def take_away(mine: int, other: int) -> None:
        called.append(mine)
        loop.remove_reader(other)
        loop.stop()

    one, two = pair[0].fileno(), pair[1].fileno()
    loop.add_reader(one, take_away, one, two)
    loop.add_reader(two, take_away, two, one)
    pair[0].send(b"x")
    pair[1].send(b"x")
    loop.run()
    assert len(called) == 1


def test_a_descriptor_closed_and_reused_within_one_turn(loop: EpollLoop, pair: Pair) -> None:
    """What was ready was the old one; the new one, of the same number, must not be called for it."""
    others = socket.socketpair()
    spurious: list[int] = []
    called: list[Any] = []

    def replace(me: int, victim: socket.socket) -> None:
        if called:
            loop.stop()
            return
        called.append(me)
        number = victim.fileno()
        loop.remove_reader(number)
        fresh, peer = socket.socketpair()
        os.dup2(fresh.fileno(), number)  # closes the victim's, takes its number
        fresh.close()
        others_open.append(peer)
        loop.add_reader(number, spurious.append, number)

    others_open: list[socket.socket] = []
    loop.add_reader(pair[0].fileno(), replace, 0, others[0])
    loop.add_reader(others[0].fileno(), replace, 1, pair[0])
    pair[1].send(b"x")
    others[1].send(b"x")
    loop.call_at(loop.time() + 0.02, loop.stop)
    loop.run()
    for sock in (*others, *others_open):
        sock.close()
    assert len(called) == 1 and not spurious


def test_one_added_in_a_turn_is_called_in_the_next(loop: EpollLoop, pair: Pair) -> None:
    pair[1].send(b"x")
    soon(loop, loop.add_reader, pair[0].fileno(), loop.stop)
    loop.run()


def test_an_exception_loses_nothing_but_its_own_turn(loop: EpollLoop, pair: Pair) -> None:
    seen: list[bytes] = []

    def broken() -> None:
        seen.append(pair[0].recv(1))
        if len(seen) == 1:
            raise ZeroDivisionError
        loop.stop()

    loop.add_reader(pair[0].fileno(), broken)
    pair[1].send(b"xy")
    with pytest.raises(ZeroDivisionError):
        loop.run()
    loop.run()
    assert seen == [b"x", b"y"]


def test_signals_call_from_the_loop() -> None:
    """In a process of its own: a wake-up descriptor is one per process."""
    script = (
        "import os, signal, threading; from toowld.custodian.loop import EpollLoop\n"
        "loop = EpollLoop(); seen = []\n"
        "loop.on_signal(signal.SIGTERM, lambda: (seen.append('term'), loop.stop()))\n"
        "loop.on_signal(signal.SIGUSR1, lambda: seen.append('usr1'))\n"
        "signal.signal(signal.SIGUSR2, lambda *a: None)\n"
        "for number in (signal.SIGUSR1, signal.SIGUSR2): os.kill(os.getpid(), number)\n"
        "assert not seen\n"
        "loop.call_at(loop.time() + 0.01, lambda: threading.Thread(target=os.kill,"
        " args=(os.getpid(), signal.SIGTERM)).start())\n"
        "loop.run(); print(*seen)"
    )
    done = subprocess.run(
        [sys.executable, "-c", script], cwd=REPOSITORY, capture_output=True, text=True, check=True
    )
    assert done.stdout.split() == ["usr1", "term"]


def test_an_idle_loop_sleeps(loop: EpollLoop, pair: Pair) -> None:
    loop.add_reader(pair[0].fileno(), pytest.fail)
    turns = 0
    original = loop._turn

    def counted() -> None:
        nonlocal turns
        turns += 1
        original()

    loop._turn = counted  # type: ignore[method-assign]
    before = time.process_time()
    loop.call_at(loop.time() + 0.1, loop.stop)
    loop.run()
    assert turns <= 2
    assert time.process_time() - before < 0.05


def test_a_closed_loop_leaves_nothing_to_the_process() -> None:
    code = """
import os, signal
from toowld.custodian.loop import EpollLoop
before = os.listdir("/proc/self/fd")
loop = EpollLoop()
loop.on_signal(signal.SIGTERM, lambda: None)
loop.close()
assert os.listdir("/proc/self/fd") == before
assert signal.set_wakeup_fd(-1) == -1
assert signal.getsignal(signal.SIGTERM) is signal.SIG_DFL
EpollLoop().close()
"""
    subprocess.run([sys.executable, "-c", code], check=True, cwd=REPOSITORY, timeout=30)
