"""Records as bytes: frozen form, round trip, damage."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from toowld.log.format import (
    HEADER_BYTES,
    MAGIC,
    MARK,
    MAX_PAYLOAD,
    OUTPUT,
    RESIZE,
    LogRecord,
    is_torn,
    pack,
    pack_mark,
    pack_size,
    scan,
)
from toowld.wire import Size

U64 = st.integers(min_value=0, max_value=2**63 - 1)
RECORDS = st.builds(LogRecord, st.integers(0, 255), U64, U64, U64, st.binary(max_size=200))


def chain(payloads: list[bytes], seq: int = 0) -> list[LogRecord]:
    """OUTPUT records that follow each other."""
    records = []
    for payload in payloads:
        records.append(LogRecord(OUTPUT, seq, 1, 2, payload))
        seq = records[-1].end
    return records


def found(buffer: bytes, **options: int) -> list[LogRecord | None]:
    return [record for _, _, record in scan(buffer, **options)]  # type: ignore[arg-type]


def test_frozen_form() -> None:
    # Logs outlive upgrades: these bytes must be read, and written, forever.
    assert pack(LogRecord(OUTPUT, 5, 6, 7, b"hi")).hex() == (
        "744f776c" "f2d162b1" "01" "00" "0000" "00000002"
        "0000000000000005" "0000000000000006" "0000000000000007" "6869"
    )  # fmt: skip


@given(RECORDS)
def test_round_trip(record: LogRecord) -> None:
    assert list(scan(pack(record))) == [(0, HEADER_BYTES + len(record.payload), record)]


def test_sizes_and_marks() -> None:
    size = Size(rows=50, cols=132)
    assert LogRecord(RESIZE, 0, 0, 0, pack_size(size)).size == size
    for payload in (b"", b"\0\0\0\0", b"\0"):
        assert LogRecord(RESIZE, 0, 0, 0, payload).size is None
    mark = LogRecord(MARK, 0, 0, 0, pack_mark("exit", {"code": 7}))
    assert mark.fields == {"kind": "exit", "code": 7} and mark.size is None
    for payload in (b"", b"\xff", b"\x01", b"\x81" * 100, bytes.fromhex("d8231b")):
        assert LogRecord(MARK, 0, 0, 0, payload).fields == {}
    with pytest.raises(ValueError, match="over"):
        pack(LogRecord(OUTPUT, 0, 0, 0, bytes(MAX_PAYLOAD + 1)))


@given(st.binary(max_size=300))
def test_anything_is_covered_and_never_raises(buffer: bytes) -> None:
    at = 0
    for start, end, _ in scan(buffer):
        assert start == at < end
        at = end
    assert at == len(buffer)


@given(st.lists(st.binary(max_size=60), max_size=8), st.data())
def test_a_flipped_byte_costs_its_record_only(payloads: list[bytes], data: st.DataObject) -> None:
    records = chain([payload or b"x" for payload in payloads])
    packed = b"".join(map(pack, records))
    if not packed:
        return
    at = data.draw(st.integers(0, len(packed) - 1))
    flipped = bytearray(packed)
    flipped[at] ^= data.draw(st.integers(1, 255))
    position = 0
    good = []
    for record in records:
        after = position + len(pack(record))
        if not position <= at < after:
            good.append(record)
        position = after
    assert [record for record in found(bytes(flipped)) if record is not None] == good


@given(st.lists(st.binary(min_size=1, max_size=60), max_size=6), st.data())
def test_pieces_do_not_matter(payloads: list[bytes], data: st.DataObject) -> None:
    """Fed with ``final=False`` and more and more bytes, the same records come out as from the whole."""
    buffer = bytearray(b"".join(map(pack, chain(payloads))))
    for _ in range(data.draw(st.integers(0, 3))):
        if buffer:
            buffer[data.draw(st.integers(0, len(buffer) - 1))] ^= 0x55
    whole = bytes(buffer)
    at, seq, slack, seen = 0, 0, 0, []
    for upto in sorted({*data.draw(st.lists(st.integers(0, len(whole)), max_size=6)), len(whole)}):
        part = whole[at:upto]
        base = at
        for start, end, record in scan(part, seq=seq, slack=slack, final=upto == len(whole)):
            at = base + end
            if record is None:
                slack += end - start
            else:
                seq, slack = record.end, 0
                seen.append(record)
    assert seen == [record for record in found(whole, seq=0, slack=0) if record is not None]


def test_a_log_printed_into_a_log_is_not_taken_for_records() -> None:
    inner = b"".join(map(pack, chain([b"secret one", b"secret two"])))
    records = [*chain([b"x" * 500, inner, b"after"])]
    good = b"".join(map(pack, records))
    second = HEADER_BYTES + 500
    for at in range(second, second + HEADER_BYTES + len(inner)):
        damaged = good[:at] + bytes([good[at] ^ 1]) + good[at + 1 :]
        assert found(damaged, slack=0) == [records[0], None, records[2]]
    # Also not where the seqs would fit, as long as the damaged record's length can be trusted.
    outer = LogRecord(OUTPUT, 0, 0, 0, b"x" * 50 + inner)
    damaged = pack(outer)[:60] + b"y" + pack(outer)[61:]
    assert found(damaged, slack=0) == [None]
    assert found(damaged + pack(LogRecord(OUTPUT, outer.end, 0, 0, b"z")), slack=0)[0] is None
    assert len(found(damaged + pack(LogRecord(OUTPUT, outer.end, 0, 0, b"z")), slack=0)) == 2


def test_a_record_with_a_seq_out_of_line_is_damage() -> None:
    first, second = chain([b"abc", b"def"])
    for seq in (0, 4, 100):
        stray = LogRecord(OUTPUT, seq, 0, 0, b"?")
        assert found(pack(first) + pack(stray) + pack(second), slack=0) == [first, None, second]


def test_damage_of_any_length_is_passed_in_bounded_pieces() -> None:
    record = LogRecord(OUTPUT, 1000, 0, 0, b"good")
    whole = bytes(3_000_000) + pack(record)
    at = slack = rounds = 0
    seen = []
    while at < len(whole):
        rounds += 1
        part = whole[at : at + (1 << 20)]
        base = at
        for start, end, found_record in scan(part, slack=slack, final=base + len(part) == len(whole)):
            at = base + end
            slack += end - start
            if found_record:
                seen.append(found_record)
        assert at > base
    assert seen == [record] and rounds < 8


def test_torn() -> None:
    packed = pack(LogRecord(OUTPUT, 9, 0, 0, b"hello"))
    assert all(is_torn(packed[:length]) for length in range(len(packed)))
    assert not is_torn(packed) and not is_torn(b"x") and not is_torn(MAGIC + bytes(40))
