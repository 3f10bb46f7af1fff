"""How output is numbered where part of it was lost and nobody knows how much. PURE.

``seq`` counts bytes of output, and no two bytes of a session ever have the same one: a client that comes back with "I
have all up to N" must not get others. After a power cut the log may lack its last bytes, which clients have seen. So
the output goes on a leap further up, which is far more than a terminal prints between two syncs, and a gap of that
size tells everybody that its length is no number of bytes.
"""

from __future__ import annotations

#: Output goes on at a multiple of this after such a loss. 2^23 of them fit below 2^63.
SEQ_LEAP = 1 << 40


def seq_after_loss(seq: int) -> int:
    """Where output goes on when what is known of ends at ``seq``, and more was seen: at least half a leap later."""
    return (seq + SEQ_LEAP // 2) // SEQ_LEAP * SEQ_LEAP + SEQ_LEAP


def gap_bytes(start: int, end: int) -> int | None:
    """How much output is missing in ``[start, end)``; None if nobody knows."""
    return end - start if end - start < SEQ_LEAP // 2 else None
