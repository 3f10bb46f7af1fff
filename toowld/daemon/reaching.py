"""Whoever keeps a session, and what people are told where that can't be asked."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator

from toowld.daemon import process
from toowld.daemon.entry import Entry, Keeper
from toowld.daemon.news import is_custodian_alive
from toowld.errors import CustodianUnreachable, RefusedError
from toowld.session import State


def keeper_of(entry: Entry) -> Keeper:
    """Whoever keeps a session that runs.

    Raises:
        RefusedError: it does not. CustodianUnreachable: that can't be asked.
    """
    label = entry.record.label
    if entry.keeper is not None:
        return entry.keeper
    if entry.record.state is State.ENDED:
        raise RefusedError(
            f"session {label} is {entry.display()}: "
            f"`toowl attach {label}` shows its scrollback and starts a fresh shell"
        )
    if entry.record.state is State.AWAITING:
        raise RefusedError(f"session {label} is not started yet: `toowl start {label}` starts it")
    if entry.record.state is State.STARTING:
        raise RefusedError(f"session {label} is still being started: try again in a moment")
    raise out_of_reach(entry)


@contextlib.contextmanager
def reached(entry: Entry) -> Iterator[Keeper]:
    """`keeper_of`, to be asked something. That it does not answer is told together with what to do.

    Raises:
        RefusedError, CustodianUnreachable: as of `keeper_of`.
    """
    keeper = keeper_of(entry)
    try:
        yield keeper
    except CustodianUnreachable as error:
        raise out_of_reach(entry) from error


def out_of_reach(entry: Entry, *, to_end: bool = False) -> CustodianUnreachable:
    """Why a session can't be asked, and what to do about it.

    Args:
        to_end: somebody wants it ended, and nothing started.
    """
    record, label = entry.record, entry.record.label
    if to_end or not entry.known:  # of one that is not known, nothing can be started
        last = f"`toowl kill --force {label}` kills all that runs in it"
    else:
        last = f"`toowl restart --force {label}` kills all that runs in it and starts afresh"
    if entry.obstacle is not None:
        return CustodianUnreachable(f"session {label}: {entry.obstacle}; {last}")
    if is_custodian_alive(record) and process.is_stopped(record.custodian_pid):
        pid = record.custodian_pid
        return CustodianUnreachable(
            f"session {label}: its custodian does not answer, as it is stopped: "
            f"`kill -CONT {pid}` lets it go on, {last}"
        )
    return CustodianUnreachable(
        f"session {label}: its custodian does not answer: `toowl reconnect {label}` tries again, {last}"
    )
