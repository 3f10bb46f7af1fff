"""Snapshots of a model on the disk, beside the log that they were made of: ``screen`` in the session's folder.

A snapshot saves reading 64 MiB of log for one attach, and keeps what the log no longer holds: the alternate screen
that a program entered a week ago. It is a cache all the same. One that is torn, damaged, of another version of the
model or of output that the log does not have counts as none, and the next one is made from the log.

The file: a header, the name of the model's version, the model's bytes compressed. Big-endian::

    offset  0  magic "tOwS"
            4  CRC32 of everything after it
            8  seq: of the first byte of output that is not in it
           16  rows u16, columns u16
           20  length of the version u16
"""

from __future__ import annotations

import contextlib
import os
import stat
import struct
import zlib
from pathlib import Path

from toowld.classes import frozen
from toowld.screen import MODEL_VERSION
from toowld.wire.messages import Size

NAME = "screen"
_MAGIC = b"tOwS"
_HEADER = struct.Struct(">4sIQHHH")
_AFTER_CRC = 8
#: Ten thousand lines of nothing but changing colours come to 20 MB; what is larger is none of ours.
_MAX_BYTES = 64 << 20
_FAST = 1  # zlib: text shrinks to a tenth even so


@frozen
class Snapshot:
    """The state of a model after all output before ``seq``."""

    seq: int
    size: Size
    data: bytes


def save(folder: Path, snapshot: Snapshot) -> None:
    """Put a snapshot in the place of the older one.

    Not synced to the disk: after a power cut, a torn one is known by its CRC.

    Raises:
        OSError: it is not stored; an older one still is.
    """
    version = MODEL_VERSION.encode()
    body = zlib.compress(snapshot.data, _FAST)
    header = _HEADER.pack(_MAGIC, 0, snapshot.seq, snapshot.size.rows, snapshot.size.cols, len(version))
    rest = header[_AFTER_CRC:] + version + body
    temporary = folder / f"{NAME}~{os.getpid()}"  # a client and the daemon may both have made one
    try:
        fd = os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_CLOEXEC | os.O_NOFOLLOW, 0o600)
        with os.fdopen(fd, "wb") as file:
            file.write(_MAGIC + struct.pack(">I", zlib.crc32(rest)) + rest)
        temporary.replace(folder / NAME)
    except BaseException:
        with contextlib.suppress(OSError):  # it was never there
            temporary.unlink()
        raise


def load(folder: Path) -> Snapshot | None:
    """The newest snapshot; None if there is none that can be used."""
    try:
        return _parse(_read(folder, _MAX_BYTES))
    except (OSError, struct.error, zlib.error, ValueError):
        return None


def seq_of(folder: Path) -> int:
    """How far the newest snapshot has come, as its header says; 0 if there is none."""
    try:
        magic, _, seq, *_ = _HEADER.unpack(_read(folder, _HEADER.size))
    except (OSError, struct.error):
        return 0
    return int(seq) if magic == _MAGIC else 0


def _read(folder: Path, limit: int) -> bytes:
    fd = os.open(folder / NAME, os.O_RDONLY | os.O_CLOEXEC | os.O_NOFOLLOW | os.O_NONBLOCK)
    with os.fdopen(fd, "rb") as file:
        about = os.fstat(fd)
        if not stat.S_ISREG(about.st_mode) or about.st_size > _MAX_BYTES:
            return b""
        return file.read(limit)


def _parse(found: bytes) -> Snapshot | None:
    magic, crc, seq, rows, cols, length = _HEADER.unpack_from(found)
    if magic != _MAGIC or zlib.crc32(memoryview(found)[_AFTER_CRC:]) != crc:
        return None
    body = _HEADER.size + length
    if found[_HEADER.size : body] != MODEL_VERSION.encode():
        return None
    return Snapshot(seq, Size(rows=rows, cols=cols), zlib.decompress(found[body:]))
