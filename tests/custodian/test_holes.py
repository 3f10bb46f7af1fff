"""Filling the holes of a process's memory: what is made afterwards lies side by side."""

from __future__ import annotations

import subprocess
import sys

import pytest

#: Prints how many pages some new blocks lie on, where one of fifty older ones had just been freed.
_PROGRAM = """
import sys
from toowld.custodian import holes

size, fill = int(sys.argv[1]), sys.argv[2] == "filled"
old = [bytes(size) for _ in range(1500)]
del old[::50]
if fill:
    holes.fill()
new = [bytes(size) for _ in range(20)]
print(len({id(block) // 4096 for block in new}))
"""


@pytest.mark.parametrize("size", [60, 200, 400, 700, 3000])
def test_new_objects_lie_side_by_side(size: int) -> None:
    pages = {
        how: int(subprocess.check_output([sys.executable, "-c", _PROGRAM, str(size), how], timeout=30))
        for how in ("filled", "as it is")
    }
    # In a row, or in two: the first holds 12 KiB at least.
    assert pages["filled"] <= 20 * (size + 64) // 4096 + 3
    assert pages["as it is"] >= 18  # so there were holes
