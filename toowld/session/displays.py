"""What people are shown of a session: for each state a sign, a word, and a sentence. PURE.

Rule 1 of `states` for the eyes: whatever is told of a state stands here, as a table. Lists show the sign and the
word; ``toowl info`` and ``toowl ls --json`` the sentence, which says what the state means and what to do next. Which
of the states a session is in, is found out of what is known of it (`shown`).
"""

from __future__ import annotations

import enum
import signal
from collections.abc import Mapping

from toowld.classes import frozen
from toowld.session.record import Record, State


class Kind(enum.Enum):
    """The states that are told from each other."""

    AWAITING = enum.auto()
    STARTING = enum.auto()
    ATTACHED = enum.auto()
    DETACHED = enum.auto()
    DEGRADED = enum.auto()  # attached or detached, and its log can't be written
    UNREACHABLE = enum.auto()
    OTHER_VERSION = enum.auto()
    DONE = enum.auto()
    EXITED = enum.auto()
    KILLED = enum.auto()
    TIMED_OUT = enum.auto()
    SIGNALLED = enum.auto()
    LOST = enum.auto()
    FAILED = enum.auto()
    ENDED = enum.auto()  # and nobody knows how
    UNWRITTEN = enum.auto()  # ended, and the end of its output can't be written


@frozen
class Display:
    """How a state is told.

    Attributes:
        glyph: one cell wide, and another for each state; for terminals that take UTF-8.
        word: for lists and scripts.
        sentence: what it means, and what to do next.
    """

    glyph: str
    word: str
    sentence: str


_AGAIN = "`toowl attach {label}` starts it again below its scrollback, `toowl rm {label}` forgets it"

#: In words and sentences stand {label} (what people call the session), {code}, {signal} (its number), {name} (the
#: signal's), {keeping} (`KEEPING`), and {cause} (why the daemon ended it).
DISPLAYS: Mapping[Kind, Display] = {
    Kind.AWAITING: Display(
        "◌",
        "awaiting",
        "configured, but not started yet: `toowl start {label}` starts its program, and so does attaching",
    ),
    Kind.STARTING: Display("◔", "starting", "its program is being started: it can be attached in a moment"),
    Kind.ATTACHED: Display(
        "●", "attached", "running with somebody attached; {keeping}: `toowl attach {label}` joins in"
    ),
    Kind.DETACHED: Display(
        "○", "detached", "running with nobody attached; {keeping}: `toowl attach {label}` goes back to it"
    ),
    Kind.DEGRADED: Display(
        "!",
        "degraded",
        "running, but its log can't be written, so its last 4 MiB are kept in memory only: make room (see "
        "`toowld doctor`), then it is written again by itself",
    ),
    Kind.UNREACHABLE: Display(
        "?",
        "unreachable",
        "its keeper lives but does not answer, and is left alone until it does: `toowl reconnect {label}` tries "
        "again and tells more, `toowl restart --force {label}` kills all that runs in it and starts afresh",
    ),
    Kind.OTHER_VERSION: Display(
        "≠",
        "unreachable (version)",
        "its keeper lives, but speaks another version of the protocol, and is left alone: use the toowl that made "
        "it, or end it with `toowl kill --force {label}`",
    ),
    Kind.DONE: Display("✓", "ended (exited 0)", f"its program is done: {_AGAIN}"),
    Kind.EXITED: Display("✗", "ended (exited {code})", f"its program ended with status {{code}}: {_AGAIN}"),
    Kind.KILLED: Display("■", "ended (killed)", f"it was ended on request: {_AGAIN}"),
    Kind.TIMED_OUT: Display("◷", "ended (timeout)", f"toowld ended it, as {{cause}}: {_AGAIN}"),
    Kind.SIGNALLED: Display(
        "†",
        "ended (signal {signal})",
        f"{{name}} ended its program, and nobody asked toowl for that: {_AGAIN}",
    ),
    Kind.LOST: Display(
        "↯",
        "ended (lost)",
        "its processes are gone, its scrollback is not: `toowl attach {label}` or `toowl restore {label}` starts a "
        "fresh one below it",
    ),
    Kind.FAILED: Display(
        "⊘",
        "ended (failed)",
        "its program could not be started: `toowl restart {label}` tries again, `toowl rm {label}` forgets it",
    ),
    Kind.ENDED: Display("□", "ended", f"its program has ended: {_AGAIN}"),
    Kind.UNWRITTEN: Display(
        "‼",
        "degraded",
        "its program has ended; the end of its output can't be written, and is kept in memory only, for a while: "
        "make room (see `toowld doctor`), then it is written by itself",
    ),
}

#: By whether a session is persistent.
KEEPING: Mapping[bool, str] = {
    True: "it survives the end of the daemon",
    False: "it ends together with the daemon",
}

_BY_STATE = {
    State.AWAITING: Kind.AWAITING,
    State.STARTING: Kind.STARTING,
}


def ending(record: Record) -> Kind:
    """How a session ended."""
    if record.end_reason == "lost":
        return Kind.LOST
    if record.end_reason == "failed":
        return Kind.FAILED
    if record.end_cause is not None:
        return Kind.TIMED_OUT
    if record.end_requested:
        return Kind.KILLED
    if record.exit_signal is not None:
        return Kind.SIGNALLED
    if record.exit_code is None:
        return Kind.ENDED
    return Kind.EXITED if record.exit_code else Kind.DONE


def shown(
    record: Record,
    *,
    clients: int = 0,
    answers: bool = True,
    other_version: bool = False,
    degraded: bool = False,
) -> Display:
    """What to show of a session.

    The word never tells of a log that can't be written: that is not instead of another state, but beside it.

    Args:
        clients: how many are attached.
        answers: whether its keeper can be asked.
        other_version: if it can't, whether that is because it speaks another version.
    """
    if record.state is State.ENDED:
        kind = ending(record)
    elif record.state is State.UNREACHABLE or (record.state is State.RUNNING and not answers):
        kind, degraded = Kind.OTHER_VERSION if other_version else Kind.UNREACHABLE, False
    else:
        kind = _BY_STATE.get(record.state) or (Kind.ATTACHED if clients else Kind.DETACHED)
    word = DISPLAYS[kind].word
    if degraded:
        kind = Kind.UNWRITTEN if record.state is State.ENDED else Kind.DEGRADED
    about = {
        "label": record.label,
        "code": record.exit_code,
        "signal": record.exit_signal,
        "name": _signal_name(record.exit_signal),
        "cause": record.end_cause,
        "keeping": KEEPING[record.persistent],
    }
    found = DISPLAYS[kind]
    return Display(found.glyph, word.format_map(about), found.sentence.format_map(about))


def _signal_name(number: int | None) -> str:
    try:
        return signal.Signals(number).name if number is not None else ""
    except ValueError:  # a real-time signal
        return f"signal {number}"
