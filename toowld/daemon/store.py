"""The records on disk: one file per session, replaced as a whole or not at all."""

from __future__ import annotations

import contextlib
import errno
import os
import re
import shutil
import stat
from collections.abc import Callable, Container
from pathlib import Path

from toowld.classes import frozen
from toowld.errors import ToowlError
from toowld.session import Record, record

_NAME = "record"
_ID = re.compile(r"[0-9a-f]{8}")

#: The folder of a session that is being removed has this behind its id.
_REMOVED = "~removed"

#: A record that could not be read has this behind its name.
_DAMAGED = "~damaged"

#: The record before, until the new one is safe.
_BEFORE = "~before"

#: The kernel takes at most 6 MiB of arguments and environment (execve(2)), so no record is larger.
_MAX_BYTES = 16 << 20


@frozen
class Skipped:
    """Something that the start found and left alone."""

    path: str
    reason: str


class StoreError(ToowlError):
    """A record could not be stored.

    Attributes:
        replaced: it is what the disk says nevertheless, for as long as the power stays on: the disk refused to make
            it last, and then to take it back. Store the old one again as soon as that works.
    """

    code = "store"

    def __init__(self, text: str, *, replaced: bool = False) -> None:
        super().__init__(text)
        self.replaced = replaced


class NotARecordFile(ToowlError):
    """What has the name of a record is none of ours."""

    code = "not-a-record"


class Store:
    """The folder of all sessions: ``sessions``."""

    def __init__(self, sessions: Path) -> None:
        self.sessions = sessions

    def folder(self, session_id: str) -> Path:
        """The session's own folder: its record and its log."""
        return self.sessions / session_id

    def save(self, changed: Record, *, durable: bool = True) -> None:
        """Store a record.

        Args:
            durable: also against a power cut (fsync). Without, only against a crash of ours.

        Raises:
            StoreError: it is not stored, and the old one still is; or see `StoreError.replaced`.
        """
        self.put(changed.id, changed.label, record.encode(changed), durable=durable)

    def put(self, session_id: str, label: str, data: bytes, *, durable: bool) -> None:
        """The part of `save` that takes the disk's time: ``data`` is the record, encoded. For any thread."""
        folder = self.folder(session_id)
        replacing = _Replacing(folder / _NAME)
        try:
            new = _make_private(folder)
            replacing.write(data, durable=durable)
            if new and durable:
                _sync_folder(folder.parent)
        except OSError as error:
            undone = replacing.undo()
            with contextlib.suppress(OSError):  # a session that has anything at all keeps its folder
                folder.rmdir()
            full = error.errno in (errno.ENOSPC, errno.EDQUOT)
            text = (
                f"can't store session {label}: {error.strerror}: {folder}: "
                f"{'make room and try again' if full else 'see `toowld doctor`'}"
            )
            raise StoreError(text, replaced=not undone) from error

    def load_all(self) -> tuple[list[Record], list[Skipped]]:
        """All records, whatever their state, and what could not be read."""
        records, skipped = [], []
        for folder in sorted(self.sessions.iterdir()):
            if folder.name.endswith(_REMOVED):
                shutil.rmtree(folder, ignore_errors=True)  # the daemon died over it
                continue
            try:
                records.append(self._load(folder))
            except FileNotFoundError:
                continue  # no record: a custodian that is alive may still know it
            except NotARecordFile as error:
                skipped.append(Skipped(str(folder / _NAME), str(error)))
            except (OSError, ToowlError) as error:
                reason = error.strerror if isinstance(error, OSError) else str(error)
                skipped.append(Skipped(str(folder), reason or "unreadable"))
        return records, skipped

    def _load(self, folder: Path) -> Record:
        fd = os.open(folder / _NAME, os.O_RDONLY | os.O_CLOEXEC | os.O_NOFOLLOW | os.O_NONBLOCK)
        with os.fdopen(fd, "rb") as file:
            about = os.fstat(fd)
            if not stat.S_ISREG(about.st_mode) or about.st_uid != os.getuid():
                raise NotARecordFile("not a file of ours")
            if about.st_size > _MAX_BYTES:
                raise NotARecordFile(f"{about.st_size} bytes are too many for a record")
            found = record.decode(file.read())
        if found.id != folder.name:
            raise record.BadRecord(f"the record says session {found.id}")
        return found

    def stored(self) -> set[str]:
        """The ids of all sessions that have a record on disk, whatever it says.

        Raises:
            OSError: that can't be told.
        """
        names = os.listdir(self.sessions)  # noqa: PTH208 - at every tick, and each Path costs as much as a look
        return {name for name in names if _ID.fullmatch(name) and self.has_record(name)}

    def has_record(self, session_id: str) -> bool:
        """Whether there is a record.

        Raises:
            OSError: that can't be told.
        """
        try:
            os.lstat(f"{self.sessions}/{session_id}/{_NAME}")
        except (FileNotFoundError, NotADirectoryError):
            return False
        return True

    def load(self, session_id: str) -> Record:
        """The record of one session.

        Raises:
            OSError, ToowlError: there is none, or it can't be read.
        """
        return self._load(self.folder(session_id))

    def orphans(self, known: Container[str]) -> list[str]:
        """Sessions that have a log, but no record that can be read, and are not ``known`` otherwise."""
        found = []
        for folder in sorted(self.sessions.iterdir()):
            if not _ID.fullmatch(folder.name) or folder.name in known or not any(folder.glob("*.log")):
                continue
            try:
                self._load(folder)
            except (FileNotFoundError, record.BadRecord):
                found.append(folder.name)
            except (OSError, NotARecordFile):
                continue  # not ours to judge
        return found

    def set_aside(self, session_id: str) -> None:
        """Keep a damaged record under another name, for whoever wants to look at it."""
        path = self.folder(session_id) / _NAME
        with contextlib.suppress(OSError):  # there is none, or the next save tells what is wrong
            path.rename(f"{path}{_DAMAGED}")

    def sweep(self, known: Container[str]) -> list[Skipped]:
        """Remove what was begun for a session that never was: a folder with neither record nor log.

        Returns:
            logs that belong to none of the ``known`` sessions; they are left alone.
        """
        strange = []
        for folder in sorted(self.sessions.iterdir()):
            if not _ID.fullmatch(folder.name) or folder.name in known:
                continue
            try:
                left = {path.name for path in folder.iterdir()}
                if left <= {f"{_NAME}~", f"{_NAME}{_BEFORE}"}:
                    shutil.rmtree(folder)
                elif _NAME not in left:
                    strange.append(Skipped(str(folder), "a log without a record, and nobody who keeps it"))
            except OSError as error:
                strange.append(Skipped(str(folder), error.strerror or "unreadable"))
        return strange

    def forget(self, session_id: str) -> None:
        """Remove a session's folder: at once for everybody who looks, piece by piece on the disk.

        Raises:
            StoreError: something is left.
        """
        folder = self.folder(session_id)
        doomed = folder.with_name(f"{session_id}{_REMOVED}")
        try:
            with contextlib.suppress(FileNotFoundError):  # gone already is as good
                folder.rename(doomed)
                shutil.rmtree(doomed)
        except OSError as error:
            raise StoreError(f"can't remove {folder}: {error.strerror}: remove it by hand") from error


def _make_private(folder: Path) -> bool:
    """Returns whether it is a new one."""
    try:
        folder.mkdir(mode=0o700)
    except FileExistsError:
        return False
    folder.chmod(0o700)  # whatever the umask is: that of a child that is just being started, perhaps
    return True


class _Replacing:
    """One file that is replaced by another, all of it or not at all."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._temporary = path.with_name(f"{path.name}~")
        self._before = path.with_name(f"{path.name}{_BEFORE}")
        self._replaced = False
        self._take_back: Callable[[], object] = _no_way_back

    def write(self, data: bytes, *, durable: bool) -> None:
        """Put ``data`` in the file's place.

        Raises:
            OSError: it may be there, or not; call `undo`.
        """
        fd = os.open(self._temporary, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_CLOEXEC, 0o600)
        with os.fdopen(fd, "wb") as file:
            os.fchmod(fd, 0o600)  # the umask may be that of a child that is just being started
            file.write(data)
            if durable:
                file.flush()
                os.fsync(fd)
        if durable:
            self._keep()
        self._temporary.replace(self._path)
        self._replaced = True
        if durable:
            _sync_folder(self._path.parent)
            with contextlib.suppress(OSError):  # the next save removes it
                self._before.unlink(missing_ok=True)

    def _keep(self) -> None:
        """Give the old file a second name: whether the new one lasts is known only when it is in its place."""
        self._before.unlink(missing_ok=True)  # of a daemon that died over it
        try:
            os.link(self._path, self._before)
        except FileNotFoundError:
            self._take_back = self._path.unlink  # it is the first
        except OSError as error:
            if error.errno not in (errno.EPERM, errno.EOPNOTSUPP):  # no hard links there (link(2))
                raise
        else:
            self._take_back = lambda: self._before.replace(self._path)

    def undo(self) -> bool:
        """Leave nothing of a `write` that failed. Returns whether the old file, or none, is there again."""
        with contextlib.suppress(OSError):  # nothing was created, or the disk is gone altogether
            self._temporary.unlink()
        try:
            if self._replaced:
                self._take_back()
            else:
                self._before.unlink(missing_ok=True)
        except OSError:
            return not self._replaced
        return True


def _no_way_back() -> None:
    raise OSError(errno.EOPNOTSUPP, os.strerror(errno.EOPNOTSUPP))


def _sync_folder(folder: Path) -> None:
    fd = os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        os.fsync(fd)
    finally:
        os.close(fd)
