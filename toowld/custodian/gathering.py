"""The code that sessions run, side by side.

A call of a function writes to its code object, as that counts its users, and so copies the page where it lies. What
sessions run is a tenth of what there is and lies all over the heap, each page with some that they don't. Copies of
it, made one after the other, fill a few pages.
"""

from __future__ import annotations

import gc
import sys
from types import CodeType, FunctionType

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable
    from types import FrameType


def called_by(play: Callable[[], object]) -> list[CodeType]:
    """The code of all functions that ``play`` calls, in the order in which it does so first."""
    called: dict[CodeType, None] = {}

    def note(frame: FrameType, event: str, argument: object) -> None:
        if event == "call":
            called[frame.f_code] = None

    sys.setprofile(note)
    try:
        play()
    finally:
        sys.setprofile(None)
    return list(called)


def gather(codes: list[CodeType]) -> None:
    """Give each function that has one of these codes a copy of it.

    Fill the `holes` first, or the copies lie in them.
    """
    wanted = set(codes)
    functions = [one for one in gc.get_objects() if type(one) is FunctionType and one.__code__ in wanted]
    found = {function.__code__ for function in functions}
    copies = {code: _copied(code) for code in codes if code in found}
    for function in functions:
        function.__code__ = copies[function.__code__]


def _copied(code: CodeType) -> CodeType:
    """With what is defined in it: a comprehension is a function too."""
    constants = (_copied(one) if isinstance(one, CodeType) else one for one in code.co_consts)
    return code.replace(co_consts=tuple(constants))
