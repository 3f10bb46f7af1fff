"""What a scrollback log looks like as bytes. PURE.

A segment file is a run of records: a header of 40 bytes, big-endian, then the payload::

    offset  0  magic "tOwl"
            4  CRC32 of everything after it, payload included
            8  type        1 OUTPUT, 2 RESIZE, 3 MARK; readers skip types that they don't know
            9  flags       0
           10  reserved    0
           12  payload length
           16  seq         of the first byte of an OUTPUT, else of the next output byte
           24  wall clock, µs since the epoch
           32  monotonic clock, µs (comparable within one boot only)

Within one segment ``seq`` has no holes: output that was lost always leads to a new segment. So a record is
believed only where its CRC *and* its seq fit. That matters because a child may print anything, even the bytes
of a log (``cat *.log``): after damage, a reader that searches for the next magic must not take such
output for a record.
"""

from __future__ import annotations

import struct
import zlib

from toowld import cbor
from toowld.classes import frozen
from toowld.wire.messages import Size

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterator
    from typing import Any

MAGIC = b"tOwl"

OUTPUT = 1  #: bytes that the child wrote
RESIZE = 2  #: rows u16, cols u16
MARK = 3  #: a CBOR map with "kind"

#: Version in the mark that begins every segment.
FORMAT = 1

#: No payload is longer, so that a damaged length can't make a reader skip far. PTY reads are 4 to 64 KiB.
MAX_PAYLOAD = 256 << 10

HEADER_BYTES = 40
MAX_RECORD = HEADER_BYTES + MAX_PAYLOAD

#: Where the child is gets noted again after so many bytes of output: a reader finds it near the end, or not at all.
FOLDER_EVERY = 1 << 20

#: Seqs are signed 64-bit on the wire.
SEQ_LIMIT = 1 << 63

_HEADER = struct.Struct(">4sIBBHIQQQ")
_AFTER_CRC = struct.Struct(">BBHIQQQ")
_MAGIC_CRC = struct.Struct(">4sI")
_SIZE = struct.Struct(">HH")

#: Deepest nesting of a mark: map > argv.
_MARK_DEPTH = 8


@frozen
class LogRecord:
    """One record. ``type`` may be one that we don't know."""

    type: int
    seq: int
    wall_us: int
    mono_us: int
    payload: bytes

    @property
    def end(self) -> int:
        """The seq that the next record has."""
        return self.seq + len(self.payload) if self.type == OUTPUT else self.seq

    @property
    def size(self) -> Size | None:
        """The terminal's size that a RESIZE or a segment's first mark tells; None for all else."""
        try:
            if self.type == RESIZE:
                rows, cols = _SIZE.unpack_from(self.payload)
            elif self.type == MARK and (fields := self.fields).get("kind") == "segment":
                rows, cols = fields["rows"], fields["cols"]
            else:
                return None
            return Size(rows=rows, cols=cols)
        except (struct.error, KeyError, TypeError, ValueError):
            return None

    @property
    def fields(self) -> dict[str, Any]:
        """The map of a MARK; empty for all else, and for a map that makes no sense."""
        if self.type != MARK:
            return {}
        try:
            found = cbor.loads(
                self.payload, max_depth=_MARK_DEPTH, allow_indefinite=False, allow_duplicate_keys=False
            )
        except Exception:  # noqa: BLE001 - a hostile payload reaches more than CBORDecodeError
            return {}
        return {str(key): value for key, value in found.items()} if isinstance(found, dict) else {}


def header(record_type: int, seq: int, wall_us: int, mono_us: int, payload: bytes) -> bytes:
    """The header that goes before ``payload``, which is not copied: the two make one ``writev``."""
    rest = _AFTER_CRC.pack(record_type, 0, 0, len(payload), seq, wall_us, mono_us)
    return _MAGIC_CRC.pack(MAGIC, zlib.crc32(payload, zlib.crc32(rest))) + rest


def pack(record: LogRecord) -> bytes:
    """One record as bytes.

    Raises:
        ValueError: the payload is longer than MAX_PAYLOAD.
    """
    if len(record.payload) > MAX_PAYLOAD:
        raise ValueError(f"payload of {len(record.payload)} bytes is over {MAX_PAYLOAD}")
    return header(record.type, record.seq, record.wall_us, record.mono_us, record.payload) + record.payload


def pack_size(size: Size) -> bytes:
    """The payload of a RESIZE."""
    return _SIZE.pack(size.rows, size.cols)


def pack_mark(kind: str, fields: dict[str, Any]) -> bytes:
    """The payload of a MARK. One that is too long (an argv of megabytes) keeps only its kind."""
    fields = {"kind": kind, **fields}
    try:
        payload: bytes = cbor.dumps(fields)
    except UnicodeEncodeError:  # undecodable bytes of an argv or a path are lone surrogates in Python
        payload = cbor.dumps(_encodable(fields))
    return payload if len(payload) <= 64 << 10 else cbor.dumps({"kind": kind, "shortened": True})


def _encodable(value: Any) -> Any:
    if isinstance(value, str):
        return value.encode("utf-8", "surrogateescape").decode("utf-8", "replace")
    if isinstance(value, dict):
        return {_encodable(key): _encodable(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [_encodable(item) for item in value]
    return value


_INCOMPLETE = -1  # may become a record when more bytes come
_BAD = -2


def _check(buffer: bytes, view: memoryview, at: int, low: int, high: int) -> int:
    """The end of the record at ``at`` if it is whole, right, and its seq is from ``low`` to ``high``."""
    if len(buffer) - at < HEADER_BYTES:
        return _INCOMPLETE if MAGIC.startswith(buffer[at : at + 4]) else _BAD
    magic, crc, _, _, _, length, seq, _, _ = _HEADER.unpack_from(buffer, at)
    if magic != MAGIC or length > MAX_PAYLOAD or not low <= seq <= high:
        return _BAD
    end: int = at + HEADER_BYTES + length
    if end > len(buffer):
        return _INCOMPLETE
    return end if zlib.crc32(view[at + 8 : end]) == crc else _BAD


def _resume(buffer: bytes, view: memoryview, at: int, seq: int, slack: int, final: bool) -> int:
    """Where the next good record begins after damage at ``at``.

    ``len(buffer)`` if there is none, _INCOMPLETE if only more bytes can tell.
    """
    # Most often only the payload is damaged: then the length still leads to the next record, and the payload is
    # not searched for what may look like one.
    if buffer.startswith(MAGIC, at) and len(buffer) - at >= HEADER_BYTES:
        beyond: int = at + HEADER_BYTES + _HEADER.unpack_from(buffer, at)[5]
        if beyond == len(buffer) and final:
            return beyond
        if beyond < len(buffer):
            found = _check(buffer, view, beyond, seq, seq + slack + beyond - at)
            if found >= 0:
                return beyond
            if found == _INCOMPLETE and not final:
                return _INCOMPLETE
    candidate = at
    while (candidate := buffer.find(MAGIC, candidate + 1)) >= 0:
        found = _check(buffer, view, candidate, seq, seq + slack + candidate - at)
        if found >= 0:
            return candidate
        if found == _INCOMPLETE and not final:
            # Wait for the rest, but not without end: a caller keeps no more than some records in memory.
            return candidate if candidate - at > MAX_RECORD else _INCOMPLETE
    if final:
        return len(buffer)
    return len(buffer) - len(MAGIC) + 1 if len(buffer) - at > MAX_RECORD else _INCOMPLETE


def scan(
    buffer: bytes, *, seq: int = 0, slack: int | None = None, final: bool = True
) -> Iterator[tuple[int, int, LogRecord | None]]:
    """Find the records in ``buffer``: triples (start, end, record), without holes between them.

    A record of None is a damaged stretch. With ``final`` the triples cover the whole buffer; without, they stop
    where more bytes are needed to tell.

    Args:
        seq: of the first record, if nothing is damaged before it.
        slack: how much more than ``seq`` the first record may have: the length of the damage before the
            buffer. None: the first record found may have any seq.
    """
    view = memoryview(buffer)
    at, room = 0, len(buffer)
    if slack is None:
        slack = SEQ_LIMIT
    while at < room:
        # What `_check` does, without a call: of good records there may be millions.
        if at + HEADER_BYTES <= room:
            magic, crc, kind, _, _, length, found, wall_us, mono_us = _HEADER.unpack_from(buffer, at)
            end = at + HEADER_BYTES + length
            if (
                magic == MAGIC
                and length <= MAX_PAYLOAD
                and seq <= found <= seq + slack
                and end <= room
                and zlib.crc32(view[at + 8 : end]) == crc
            ):
                yield at, end, LogRecord(kind, found, wall_us, mono_us, buffer[at + HEADER_BYTES : end])
                seq = found + length if kind == OUTPUT else found
                slack = 0
                at = end
                continue
        end = _check(buffer, view, at, seq, seq + slack)
        if end == _INCOMPLETE and not final:
            return
        end = _resume(buffer, view, at, seq, slack, final)
        if end == _INCOMPLETE:
            return
        yield at, end, None
        slack += end - at
        at = end


def is_torn(tail: bytes) -> bool:
    """Is this the beginning of a record whose rest was never written, or is not yet?"""
    return _check(tail, memoryview(tail), 0, 0, SEQ_LIMIT) == _INCOMPLETE
