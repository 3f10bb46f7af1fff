"""How it is found out that what somebody waits for is so, step by step. PURE, but for the model of a screen.

As in `toowl.api.plans`, whose steps these are.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from toowl.api.plans import Events, Look, Now, Output, Plan, ask
from toowl.api.values import Ended, Lost, Piece, Screen, Waited
from toowld.errors import DaemonUnreachable, ScreenError, UsageError
from toowld.log.text import TextLines

if TYPE_CHECKING:
    from toowld.screen.follow import Followed

#: A session that was typed into is not taken for one that waits before it could have read that (seconds).
SETTLED = 0.5
#: A screen is looked at when nothing was printed for so long, and while something always is, so often (seconds).
_CALM, _RESTLESS = 0.1, 1.0


def wait(
    name: str,
    client_id: str,
    *,
    exit: bool = False,
    match: str | None = None,
    from_seq: int | None = None,
    idle: float | None = None,
    prompt: bool = False,
    input: bool = False,
    screen: str | None = None,
    timeout: float | None = None,
) -> Plan[Waited]:
    """Wait until something is so, for ``timeout`` seconds at most.

    Raises:
        UsageError: not exactly one thing to wait for. SessionNotFound: there is no such session.
    """
    if [exit, match is not None, idle is not None, prompt, input, screen is not None].count(True) != 1:
        raise UsageError("say one thing to wait for: exit, match, idle, prompt, input or screen")
    until = None if timeout is None else (yield Now()) + timeout
    if match is not None:
        return (yield from _wait_for_match(name, client_id, _compiled(match), from_seq, until))
    if screen is not None:
        return (yield from _wait_for_screen(name, client_id, _compiled(screen), until))
    if idle is not None:
        return (yield from _wait_for_silence(name, client_id, idle, until))
    watched = ("ended", "removed", "missed", "restarted", "started") + (("prompt",) if prompt else ())
    return (yield from _wait_for_event(name, watched, exit=exit, prompt=prompt, until=until))


def _compiled(regex: str) -> re.Pattern[str]:
    try:
        return re.compile(regex)
    except re.error as error:
        raise UsageError(f"{regex!r} is no regular expression: {error}") from error


def _wait_for_event(
    name: str, watched: Sequence[str], *, exit: bool, prompt: bool, until: float | None
) -> Plan[Waited]:
    session_id = (yield from ask("info", session=name))["id"]
    events = Events([session_id], watched)
    yield from events.open()
    while True:
        try:
            info = yield from events.line.ask("info", session=session_id)
        except DaemonUnreachable:
            if not (yield from events.again(until)):
                return Waited("timeout")
            continue
        if info["state"] == "ended":
            return _over(_ended(info), met=exit)
        look = until
        if not exit:
            waits = info.get("prompt") == "prompt" if prompt else info.get("waiting") is not None
            settled = (info.get("untouched") or SETTLED) >= SETTLED
            if waits and settled:
                return Waited("met", seq=info["seq"])
            if waits or not prompt:  # what waits tells nobody: look again
                soon = (yield Now()) + SETTLED
                look = soon if until is None else min(soon, until)
        event = yield from events.next(look)
        if event is None and until is not None and (yield Now()) >= until:
            return Waited("timeout")
        if event is not None and event.event == "ended":
            data = event.data
            return _over(
                Ended(info["seq"], str(data.get("reason")), data.get("code"), data.get("signal")), met=exit
            )
        if event is not None and event.event == "prompt":
            return Waited("met")


def _over(ended: Ended, *, met: bool = False) -> Waited:
    return Waited("met" if met else "ended", ended, seq=ended.seq)


def _ended(info: Mapping[str, Any]) -> Ended:
    reason, code, signal = info.get("end_reason"), info.get("exit_code"), info.get("exit_signal")
    return Ended(info.get("seq", 0), str(reason or "lost"), code, signal)


def _wait_for_match(
    name: str, client_id: str, pattern: re.Pattern[str], from_seq: int | None, until: float | None
) -> Plan[Waited]:
    info = yield from ask("info", session=name)
    if from_seq is None and info["state"] == "ended":
        return _over(_ended(info))
    output = Output(info["id"], info["seq"] if from_seq is None else from_seq, client_id)
    text = TextLines(info.get("cols"), keep_alternate=False)
    while True:
        item = yield from output.next(until)
        if isinstance(item, Piece):
            lines = [*text.feed(item.data), text.unfinished]
        elif isinstance(item, Lost):
            lines, text = text.finish(), TextLines(info.get("cols"), keep_alternate=False)
        elif isinstance(item, Ended):
            lines = text.finish()
        elif until is not None and (yield Now()) >= until:
            return Waited("timeout", seq=output.seq)
        else:
            continue
        if (line := next(filter(pattern.search, lines), None)) is not None:
            return Waited("met", line=line, seq=output.seq)
        if isinstance(item, Ended):
            return _over(item)


def _wait_for_silence(name: str, client_id: str, idle: float, until: float | None) -> Plan[Waited]:
    info = yield from ask("info", session=name)
    if info["state"] == "ended":
        return _over(_ended(info))
    quiet_since = (yield Now()) - (info.get("quiet") or 0.0)
    output = Output(info["id"], info["seq"], client_id)
    while True:
        due = quiet_since + idle
        item = yield from output.next(due if until is None else min(due, until))
        now = yield Now()
        if isinstance(item, Ended):
            return _over(item)
        if item is not None:
            quiet_since = now
        elif now >= due:
            return Waited("met", seq=output.seq)
        elif until is not None and now >= until:
            return Waited("timeout", seq=output.seq)


def _wait_for_screen(
    name: str, client_id: str, pattern: re.Pattern[str], until: float | None
) -> Plan[Waited]:
    info = yield from ask("info", session=name)
    followed: Followed = yield Look(info["id"])
    if info["state"] == "ended":
        line = _shown(followed, pattern)
        return _over(_ended(info)) if line is None else Waited("met", line=line, seq=followed.seq)
    output = Output(info["id"], followed.seq, client_id)
    now: float = yield Now()
    unseen: float | None = now  # since when it may show something that was not looked at
    due: float | None = now + _unsettled(info)
    while True:
        item = yield from output.next(min(filter(None, (due, until)), default=None))
        now = yield Now()
        if isinstance(item, Piece) and item.seq == followed.seq:
            _feed(followed, item, output)
        elif isinstance(item, Piece | Lost):
            followed = yield Look(info["id"])
            output.seq = followed.seq
        if isinstance(item, Piece | Lost):
            unseen = now if unseen is None else unseen
            due = min(now + _CALM, unseen + _RESTLESS)
        over = isinstance(item, Ended) or (until is not None and now >= until)
        if due is not None and (over or now >= due):
            if (line := _shown(followed, pattern)) is not None:
                return Waited("met", line=line, seq=followed.seq)
            due = unseen = None
        if over:
            return _over(item) if isinstance(item, Ended) else Waited("timeout", seq=followed.seq)


def _unsettled(info: Mapping[str, Any]) -> float:
    """How long to give a session that prints, or was typed into, until it shows what comes of that (seconds)."""
    quiet, untouched = info.get("quiet"), info.get("untouched")
    return max(
        0.0 if quiet is None else _CALM - quiet, 0.0 if untouched is None else SETTLED - untouched, 0.0
    )


def _feed(followed: Followed, piece: Piece, output: Output) -> None:
    if output.size is not None and output.size != followed.size:
        followed.model.resize(output.size)
        followed.size = output.size
    followed.model.feed(piece.data)
    followed.seq = piece.end


def _shown(followed: Followed, pattern: re.Pattern[str]) -> str | None:
    """The first line of the screen that matches."""
    try:
        screen = Screen.of(followed.model.state(history=0), followed.seq)
    except ScreenError:  # in the middle of a picture: more is to come
        return None
    return next(filter(pattern.search, screen.lines), None)
