"""The size of a session that several terminals show, where that of the last one used decides.

The smallest deciding is in ``test_flow``; here is what is different.
"""

from __future__ import annotations

import cbor2
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.session.scripts import LARGE, SIZE, attached, join, of, running, sent
from toowld.session import Session, SizePolicy
from toowld.session import effects as do
from toowld.session import events as ev
from toowld.session.queries import only_reports
from toowld.wire import Attached, Resize, Size

TALL = Size(rows=70, cols=40)


def latest() -> Session:
    return running(policy=SizePolicy.LATEST)


def test_attaching_takes_the_size() -> None:
    session = latest()
    session.handle(join(1, size=SIZE), 1.0)
    effects = session.handle(join(2, size=LARGE), 2.0)
    assert effects[:2] == [do.ResizePty(LARGE), do.LogResize(LARGE)]
    assert sent(effects, 1) == [Resize(rows=LARGE.rows, cols=LARGE.cols)]
    assert isinstance(sent(effects, 2)[0], Attached)
    assert attached(2, seq=0, size=LARGE, answered=0) in effects


def test_typing_takes_the_size_and_comes_after_it() -> None:
    session = latest()
    session.handle(join(1, size=SIZE), 1.0)
    session.handle(join(2, size=LARGE), 2.0)
    smaller = Resize(rows=SIZE.rows, cols=SIZE.cols)
    assert session.handle(ev.ClientTyped(1, 0, b"a"), 3.0) == [
        do.ResizePty(SIZE),
        do.LogResize(SIZE),
        do.Changed(),
        do.Send(1, smaller),
        do.Send(2, smaller),
        do.WritePty(b"a"),
    ]
    assert session.handle(ev.ClientTyped(1, 1, b"b"), 3.1) == [do.WritePty(b"b")]
    lent = session.handle(ev.ClientTyped(2, None, b"c"), 3.2)  # what nobody numbers
    assert lent[0] == do.ResizePty(LARGE)


def test_terminals_of_one_size_change_nothing() -> None:
    session = latest()
    session.handle(join(1), 1.0)
    session.handle(join(2), 2.0)
    assert session.handle(ev.ClientTyped(1, 0, b"a"), 3.0) == [do.WritePty(b"a")]
    assert session.handle(ev.ClientTyped(2, 0, b"b"), 3.0) == [do.WritePty(b"b")]


def test_resizing_takes_the_size_also_if_it_is_the_larger_one() -> None:
    session = latest()
    session.handle(join(1, size=SIZE), 1.0)
    session.handle(join(2, size=LARGE), 2.0)
    session.handle(ev.ClientResized(1, TALL), 3.0)
    assert session.size == TALL


def test_when_it_leaves_the_one_before_has_it_again() -> None:
    session = latest()
    for client, size in ((1, SIZE), (2, LARGE), (3, TALL)):
        session.handle(join(client, size=size), 1.0)
    # All at the same moment: their order counts, not the clock.
    session.handle(ev.ClientTyped(1, 0, b"a"), 1.0)
    session.handle(ev.ClientTyped(2, 0, b"b"), 1.0)
    assert session.size == LARGE
    assert not of(session.handle(ev.ClientLeft(3), 2.0), do.ResizePty)
    session.handle(ev.ClientDismissed(2, "client"), 2.0)
    assert session.size == SIZE
    session.handle(ev.ClientLeft(1), 3.0)
    assert session.size == SIZE  # there is nobody to say otherwise


def test_viewers_and_those_without_a_terminal_have_no_say() -> None:
    session = latest()
    session.handle(join(1, size=SIZE), 1.0)
    session.handle(join(2, size=LARGE, read_only=True), 2.0)
    session.handle(ev.ClientResized(2, TALL), 2.0)
    session.handle(join(3, size=None), 2.0)
    session.handle(ev.ClientTyped(3, 0, b"x"), 3.0)
    session.handle(ev.Injected(b"y"), 3.0)
    assert session.size == SIZE


def test_what_does_not_reach_the_child_takes_nothing() -> None:
    session = latest()
    session.handle(join(1, client_id="one", size=SIZE), 1.0)
    session.handle(ev.ClientTyped(1, 0, b"abc"), 1.0)
    session.handle(join(2, size=LARGE), 2.0)
    session.handle(ev.ClientTyped(1, 0, b"abc"), 3.0)  # once more: the acknowledgement was lost
    assert session.size == LARGE


def test_answers_of_a_terminal_are_nobody_s_doing() -> None:
    """Where it is not seen what was asked, all of them answer, and would take the size from each other for ever."""
    session = latest()
    session.handle(join(1, size=SIZE), 1.0)
    session.handle(join(2, size=LARGE), 2.0)
    session.handle(ev.ClientTyped(1, 0, b"\x1b[3;4R\x1b[?62;c"), 3.0)
    assert session.size == LARGE
    session.handle(ev.ClientTyped(1, 13, b"\x1b[3;4Rx"), 3.0)
    assert session.size == SIZE


@pytest.mark.parametrize(
    ("data", "so"),
    [
        (b"\x1b[3;4R", True),
        (b"\x1b[0n\x1b[?1;2c", True),
        (b"\x1b[I\x1b[48;24;80;384;640t\x1b[O", True),  # focus and size, in modes 1004 and 2048
        (b"\x1b[I\r", False),
        (b"\x1b[A", False),
        (b"\x1b[<0;1;1M", False),
        (b"\x1b", False),
        (b"R", False),
    ],
)
def test_what_only_terminals_say(data: bytes, so: bool) -> None:
    assert only_reports(data) is so


def test_a_client_that_comes_back_by_itself_takes_nothing() -> None:
    session = latest()
    for client, size in ((1, SIZE), (2, TALL), (3, LARGE)):
        session.handle(join(client, client_id=f"user {client}", size=size), 1.0)
    # The old connection of one of them is half open, that of the other is gone.
    effects = session.handle(join(4, client_id="user 2", size=TALL, from_seq=0), 2.0)
    session.handle(ev.ClientLeft(1), 2.0)
    effects += session.handle(join(5, client_id="user 1", size=SIZE, from_seq=0), 2.0)
    assert not of(effects, do.ResizePty)
    session.handle(ev.ClientLeft(3), 3.0)
    assert session.size == TALL  # before whom the other one was, and is


def test_who_comes_back_for_the_latest_keeps_its_size() -> None:
    session = latest()
    session.handle(join(1, size=SIZE), 1.0)
    session.handle(join(2, client_id="two", size=LARGE), 1.0)
    effects = session.handle(join(3, client_id="two", size=LARGE, from_seq=0), 2.0)
    assert not of(effects, do.ResizePty)


def test_whose_screen_is_made_by_itself_attaches_all_the_same() -> None:
    session = latest()
    session.handle(join(1, size=SIZE), 1.0)
    session.handle(join(2, size=LARGE, from_seq=0, redraw=True), 2.0)
    assert session.size == LARGE


def test_a_size_set_by_hand_holds_until_somebody_else_does_something() -> None:
    session = latest()
    session.handle(join(1, size=SIZE), 1.0)
    session.handle(join(2, size=LARGE), 1.0)
    session.handle(ev.ResizeRequested(TALL), 2.0)
    session.handle(ev.ClientTyped(2, 0, b"a"), 3.0)
    assert session.size == TALL
    session.handle(ev.ClientTyped(1, 0, b"a"), 4.0)
    assert session.size == SIZE


users = st.integers(0, 3)
some_sizes = st.builds(Size, rows=st.integers(1, 4), cols=st.integers(1, 4))
steps = st.one_of(
    st.tuples(st.just("attaches"), users, some_sizes),
    st.tuples(st.just("comes back"), users, some_sizes),
    st.tuples(st.just("watches"), users, some_sizes),
    st.tuples(st.just("types"), users, st.none()),
    st.tuples(st.just("resizes"), users, some_sizes),
    st.tuples(st.just("leaves"), users, st.none()),
    st.tuples(st.just("upgrade"), users, st.none()),
)


@settings(max_examples=300)
@given(st.sampled_from(SizePolicy), st.lists(steps, max_size=30))
def test_whatever_they_do_it_is_the_right_one_s(
    policy: SizePolicy, done: list[tuple[str, int, Size | None]]
) -> None:
    """Beside it, the same told as plainly as can be: a list of users, whoever did something last at its end."""
    session = running(policy=policy)
    order: list[int] = []
    sizes: dict[int, Size] = {}
    clients: dict[int, int] = {}  # by user, also viewers
    wanted = session.size
    for number, (what, user, size) in enumerate(done):
        if what == "upgrade":
            session = Session.thaw(cbor2.loads(cbor2.dumps(session.freeze())))
            continue
        if what in ("attaches", "comes back", "watches"):
            assert size is not None
            clients[user] = number
            from_seq = 0 if what == "comes back" else None
            event: ev.Event = join(
                number, client_id=f"user {user}", size=size, read_only=what == "watches", from_seq=from_seq
            )
        elif user not in clients:
            continue
        elif what == "leaves":
            event = ev.ClientLeft(clients.pop(user))
        elif what == "types":
            if user not in sizes:
                continue
            event = ev.ClientTyped(clients[user], None, b"x")
        else:
            assert size is not None
            event = ev.ClientResized(clients[user], size)
        if what in ("watches", "leaves"):
            sizes.pop(user, None)
        elif what in ("attaches", "comes back") or (what == "resizes" and user in sizes):
            assert size is not None
            sizes[user] = size
        if what == "comes back" and user not in order:
            order.insert(0, user)
        elif what in ("attaches", "types") or (what == "resizes" and user in order):
            order = [other for other in order if other != user] + [user]
        order = [other for other in order if other in sizes]
        session.handle(event, 1.0)
        if order and policy is SizePolicy.LATEST:
            wanted = sizes[order[-1]]
        elif order:
            wanted = Size(
                rows=min(one.rows for one in sizes.values()), cols=min(one.cols for one in sizes.values())
            )
        assert session.size == wanted
