"""Answers to what a program asks while nobody's terminal is there. PURE.

Most are known at once. For some the screen has to be computed by somebody else (`Answers.questions`), who may take
his time or not be there at all; so each has a deadline, and an answer for that case. They are given in the order of
the questions: programs take the answer to one that every terminal knows for the sign that there is none to those
before it.
"""

from __future__ import annotations

from collections import deque

from toowld.classes import define
from toowld.session import queries
from toowld.session.queries import Kind, Query
from toowld.wire import Size

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Sequence
    from typing import Any

#: How long the screen may take (seconds). Ten times what it takes with an idle processor, and half of what the
#: programs that wait give their terminal.
PATIENCE = 1.0

#: Questions that wait. A program that asks on and on does not wait for answers, and need not get any.
MOST = 32


#: With so much input waiting (bytes) the program gets no answers: it asks, and does not read.
MAX_UNREAD = 4 << 10


@define
class _Pending:
    query: Query
    otherwise: bytes
    answer: bytes | None
    deadline: float


class Answers:
    """One session's.

    Attributes:
        waiting: the questions whose answers were not given yet, in order.
    """

    def __init__(self) -> None:
        self.waiting: deque[_Pending] = deque()

    def freeze(self) -> list[list[Any]]:
        """As plain values, for `thaw`."""
        return [
            [one.query.kind.name, one.query.text, one.query.end, one.otherwise, one.answer, one.deadline]
            for one in self.waiting
        ]

    @classmethod
    def thaw(cls, state: Sequence[Sequence[Any]]) -> Answers:
        """The opposite of `freeze`."""
        answers = cls()
        for kind, text, end, otherwise, answer, deadline in state:
            answers.waiting.append(_Pending(Query(Kind[kind], text, end), otherwise, answer, deadline))
        return answers

    def ask(self, query: Query, size: Size, now: float) -> bool:
        """Take a question; whether the screen has to be looked at for it."""
        if len(self.waiting) >= MOST:
            return False
        otherwise = queries.answer(query, size)
        looks = query.kind in queries.OF_THE_SCREEN
        self.waiting.append(_Pending(query, otherwise, None if looks else otherwise, now + PATIENCE))
        return looks

    @property
    def questions(self) -> list[Query]:
        """Those that somebody who knows the screen should answer."""
        return [pending.query for pending in self.waiting if pending.answer is None]

    def answered(self, end: int, data: bytes) -> None:
        """What the screen says to the question that ended at ``end``; empty: it does not know.

        One that has been answered already is left at that.
        """
        for pending in self.waiting:
            if pending.query.end == end and pending.answer is None:
                pending.answer = data or pending.otherwise

    def take(self, now: float, unread: int) -> bytes:
        """What is to be typed now; ``unread``: so much input the program has not read yet (bytes)."""
        ready = []
        while self.waiting and (self.waiting[0].answer is not None or now >= self.waiting[0].deadline):
            pending = self.waiting.popleft()
            ready.append(pending.otherwise if pending.answer is None else pending.answer)
        return b"".join(ready) if unread <= MAX_UNREAD else b""

    @property
    def deadline(self) -> float | None:
        """When to call `take` at the latest."""
        return self.waiting[0].deadline if self.waiting else None

    def forget(self) -> None:
        """Whoever asked is gone."""
        self.waiting.clear()
