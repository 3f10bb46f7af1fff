"""The free memory between a process's objects, taken before it is forked.

A fork shares its parent's pages until one of the two writes to them. What a process freed while it imported leaves
holes all over its heap, and the allocators use them first: each new object of a custodian, however small, would copy
another page. With the holes gone, new objects lie side by side on fresh pages: a tenth of a MB less for each
custodian.
"""

from __future__ import annotations

import array
import ctypes

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable

#: Blocks that lie side by side for so many bytes lie in no hole.
_ROOM = 12 << 10

#: Of one size, no more than so many blocks are taken; it is some hundred, in holes of half a MB in all.
_MOST = 1024


def fill() -> None:
    """Take every hole into which an object would fit, for good."""
    python, libc = ctypes.pythonapi, ctypes.CDLL(None)
    for size in range(48, 513, 16):  # Python's own allocator keeps blocks of each of these sizes apart
        _fill(size, python.PyObject_Malloc, python.PyObject_Free)
    for size in (
        *range(8192, 1024, -512),
        *range(1016, 16, -16),
    ):  # malloc(3) splits what it has: the largest first
        _fill(size, libc.malloc, libc.free)


def _fill(size: int, allocate: Callable[..., int], free: Callable[..., None]) -> None:
    """Take blocks until they come side by side; the last of them, which do, are given back."""
    allocate.argtypes, allocate.restype = [ctypes.c_size_t], ctypes.c_void_p  # type: ignore[attr-defined]
    free.argtypes, free.restype = [ctypes.c_void_p], None  # type: ignore[attr-defined]
    blocks = array.array("Q", bytes(8 * _MOST))  # of full length at once: growing, it would make holes
    count = row = 0
    while row * size < _ROOM and count < _MOST:
        blocks[count] = allocate(size)
        row = row + 1 if count and 0 < blocks[count] - blocks[count - 1] <= size + 32 else 1
        count += 1
    for block in blocks[count - row : count]:
        free(block)
