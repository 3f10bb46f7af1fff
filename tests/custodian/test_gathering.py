"""Code that is used, moved together: it does what it did, and lies on few pages."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Callable
from types import CodeType
from typing import Any

from toowld.custodian.gathering import called_by, gather


def functions() -> tuple[Callable[..., Any], ...]:
    """Made anew: those of a module are as old as the tests, and out of the collector's sight."""

    def doubled(numbers: list[int]) -> list[int]:
        return [2 * number for number in numbers]

    def summed(numbers: list[int], *, first: int = 0) -> int:
        def added(one: int) -> int:
            return one + total

        total = first
        for number in sorted(doubled(numbers), key=lambda one: -one):
            total = added(number)
        return total

    def idle() -> None:
        raise AssertionError("not called")

    return summed, doubled, idle


def test_what_is_called_is_noted_in_order() -> None:
    summed, doubled, idle = functions()
    codes = called_by(lambda: summed([1, 2]))
    assert codes.index(summed.__code__) < codes.index(doubled.__code__)
    assert idle.__code__ not in codes
    assert sys.getprofile() is None


def test_copies_do_what_the_code_did() -> None:
    summed, doubled, idle = functions()
    before = [one.__code__ for one in (summed, doubled, idle)]
    gather(called_by(lambda: summed([1, 2])))
    assert summed([1, 2, 3], first=1) == 13
    after = [one.__code__ for one in (summed, doubled, idle)]
    assert after == before
    assert [one is other for one, other in zip(after, before, strict=True)] == [False, False, True]
    nested = [one for one in after[0].co_consts if isinstance(one, CodeType)]
    assert nested and not any(one is other for one in nested for other in before[0].co_consts)


#: Prints on how many pages the code of fifty of 1500 functions lies, before and after.
_PROGRAM = """
from toowld.custodian import holes
from toowld.custodian.gathering import called_by, gather

functions = []
for number in range(1500):
    exec(f"def f(x):\\n for one in ({number}, 2):\\n  x += one + {number + 1000}\\n  x -= one\\n return x")
    functions.append(f)
used = functions[::30]

def pages():
    return len({id(function.__code__) // 4096 for function in used})

print(pages())
codes = called_by(lambda: [function(1) for function in used])
holes.fill()
gather(codes)
print(pages())
"""


def test_copies_lie_side_by_side() -> None:
    done = subprocess.check_output([sys.executable, "-c", _PROGRAM], text=True, timeout=30)
    before, after = map(int, done.split())
    assert before >= 40
    assert after <= 50 * 512 // 4096 + 3
