"""Which sessions are meant, and in what order: ``-f KEY=VALUE`` and ``--sort``. PURE.

A filter looks at what the daemon says of a session: its name, id, state, folder, command, whether it is persistent,
or one of its tags. Values are patterns as a shell has them. All of several filters must fit.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Mapping, Sequence
from difflib import get_close_matches
from fnmatch import fnmatchcase
from typing import TYPE_CHECKING, Any

from toowld.classes import frozen, replace
from toowld.errors import UsageError

if TYPE_CHECKING:
    import argparse

Session = Mapping[str, Any]

#: What ``state=`` may be: the words of `display`, and running for whatever is not at its end.
STATES = (
    "awaiting", "starting", "running", "attached", "detached", "degraded", "unreachable", "ended", "exited", "killed",
    "timeout", "signal", "lost", "failed",
)  # fmt: skip

_TEXTS = ("id", "name", "cwd", "command")
KEYS = (*_TEXTS, "state", "persistent")
_TAG = "tag."

#: The states from those that somebody uses to those that are over.
_ORDER = ("attached", "detached", "starting", "awaiting", "unreachable", "ended")

SORTS: Mapping[str, Callable[[Session], Any]] = {
    "active": lambda session: -_number(session, "last_active_at"),
    "created": lambda session: -_number(session, "created_at"),
    "name": lambda session: (
        _text(session, "name") == "",
        _text(session, "name").lower(),
        _text(session, "id"),
    ),
    "state": lambda session: next(
        (place for place, word in enumerate(_ORDER) if word in words_of(session)), len(_ORDER)
    ),
}


@frozen
class Filter:
    """One ``-f``: what it looks at, and the pattern for that. ``tag``: a tag, though it may be that of no session."""

    key: str
    pattern: str
    tag: bool = False


def add_filter(parser: argparse.ArgumentParser, what: str) -> None:
    """The option ``-f``."""
    parser.add_argument(
        "-f",
        "--filter",
        metavar="KEY=VALUE",
        action="append",
        default=[],
        help=f"{what}: KEY is {', '.join(KEYS)} or a tag (tag.KEY for one that is called like these); VALUE may hold "
        "* and ?; may be given more than once, then all must fit",
    )


def parse(texts: Iterable[str]) -> list[Filter]:
    """What was given with ``-f``.

    Raises:
        UsageError: that is no filter.
    """
    return [_parse(text) for text in texts]


def _parse(text: str) -> Filter:
    key, equals, pattern = text.partition("=")
    if not equals or not key:
        raise UsageError(
            f"-f {text!r} is no KEY=VALUE: for example -f state=detached, -f 'name=web*' or -f ci=main"
        )
    if key.startswith(_TAG):
        return Filter(key.removeprefix(_TAG), pattern, tag=True)
    if key == "state" and pattern not in STATES:
        raise UsageError(f"there is no state {pattern!r}: {nearest(pattern, STATES)}")
    if key == "persistent" and pattern not in ("yes", "no"):
        raise UsageError(f"-f persistent={pattern}: say yes or no")
    return Filter(key, pattern)


def nearest(word: str, known: Sequence[str]) -> str:
    """What may have been meant by a word that is not known."""
    found = get_close_matches(word, known, 1)
    return f"did you mean {found[0]!r}?" if found else f"it is one of {', '.join(known)}"


def chosen(sessions: Sequence[Session], filters: Iterable[Filter]) -> list[Session]:
    """The sessions that all filters fit, in the order in which they come.

    Raises:
        UsageError: a key is none of ours, and no session has such a tag.
    """
    found = list(sessions)
    for one in filters:
        if not one.tag and one.key not in KEYS:
            tags = sorted({key for session in sessions for key in session.get("tags") or {}})
            if one.key not in tags:
                hint = nearest(one.key, list(dict.fromkeys((*KEYS, *tags))))
                raise UsageError(
                    f"no session has a tag {one.key!r}, and there is no such filter: {hint}; "
                    f"tag.{one.key} is a tag all the same"
                )
        found = [session for session in found if _fits(session, one)]
    return found


def for_later(filters: Iterable[Filter]) -> list[Filter]:
    """The same for a list that changes: a tag that no session has any more is no mistake then."""
    return [replace(one, tag=one.tag or one.key not in KEYS) for one in filters]


def ordered(sessions: Iterable[Session], sort: str) -> list[Session]:
    """By one of `SORTS`; what is equal by that stays in its order."""
    return sorted(sessions, key=SORTS[sort])


def _fits(session: Session, one: Filter) -> bool:
    if one.tag or one.key not in KEYS:
        value = (session.get("tags") or {}).get(one.key)
        return isinstance(value, str) and fnmatchcase(value, one.pattern)
    if one.key == "state":
        return one.pattern in words_of(session)
    if one.key == "persistent":
        return bool(session.get("persistent")) is (one.pattern == "yes")
    return fnmatchcase(_text(session, one.key), one.pattern)


def words_of(session: Session) -> set[str]:
    """All words for the state of a session."""
    words = set(re.findall("[a-z]+", f"{session.get('state')} {session.get('display')}"))
    return words | {"degraded"} if session.get("degraded") else words


def _text(session: Session, key: str) -> str:
    value = session.get(key)
    if isinstance(value, bytes):  # text that is not UTF-8 (`toowld.wire.text`)
        return value.decode("utf-8", "surrogateescape")
    return value if isinstance(value, str) else ""


def _number(session: Session, key: str) -> float:
    value = session.get(key)
    return float(value) if isinstance(value, int | float) else 0.0
