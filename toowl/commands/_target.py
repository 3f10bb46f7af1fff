"""The file that a command writes: complete or not there, for our user alone, and nobody's file replaced unasked."""

from __future__ import annotations

import os
import signal
import stat
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from typing import BinaryIO

from toowl.commands._text import safe
from toowld.errors import RefusedError, ToowlError


def check_target(path: str, *, force: bool) -> None:
    """Refuse early what would be refused at the end.

    Raises:
        RefusedError: something is there that must not be replaced.
    """
    try:
        found = os.stat(path)  # noqa: PTH116 - the path is shown as it was typed
    except FileNotFoundError:
        return
    if not stat.S_ISREG(found.st_mode):
        # Also with --force: to replace /dev/stdout by a file is what nobody ever meant.
        raise RefusedError(
            f"{safe(path)} is not a file: give another name, or `-o -` for the standard output"
        )
    if not force:
        raise _exists(path)


def _exists(path: str) -> RefusedError:
    return RefusedError(f"{safe(path)} exists: give another name, or --force to replace it")


@contextmanager
def atomic(path: str, *, force: bool) -> Iterator[BinaryIO]:
    """A file that appears under ``path`` when it is complete and on the disk, or not at all."""
    folder, name = os.path.split(os.path.abspath(path))  # noqa: PTH100 - Path would not keep what was typed
    temporary = os.path.join(folder, f".{name[:200]}.{os.urandom(4).hex()}.tmp")  # noqa: PTH118
    with _ending_cleanly():
        try:
            fd = os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600)
        except OSError as error:
            raise ToowlError(
                f"can't write in {safe(folder)}: {error.strerror}: give another -o FILE"
            ) from error
        try:
            with open(fd, "wb", buffering=1 << 18) as out:
                yield out
                out.flush()
                os.fsync(fd)
            _put(temporary, path, force=force)
        except OSError as error:
            raise ToowlError(f"can't write {safe(path)}: {error.strerror}: give another -o FILE") from error
        finally:
            with suppress(FileNotFoundError):  # renamed: the good end
                os.unlink(temporary)  # noqa: PTH108
        _sync_folder(folder)


def _put(temporary: str, path: str, *, force: bool) -> None:
    if force:
        os.replace(temporary, path)  # noqa: PTH105
        return
    try:
        os.link(temporary, path)  # unlike a rename, it fails if somebody else was faster
    except FileExistsError:
        raise _exists(path) from None
    except OSError:  # a file system without hard links
        os.rename(temporary, path)  # noqa: PTH104


def _sync_folder(folder: str) -> None:
    fd = os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        with suppress(OSError):  # some file systems can't; the file itself is on the disk
            os.fsync(fd)
    finally:
        os.close(fd)


@contextmanager
def _ending_cleanly() -> Iterator[None]:
    """Make a SIGTERM or SIGHUP take the way out that removes the temporary file."""

    def leave(number: int, _: object) -> None:
        raise SystemExit(128 + number)

    numbers = (signal.SIGTERM, signal.SIGHUP)
    before = {number: signal.signal(number, leave) for number in numbers}
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
