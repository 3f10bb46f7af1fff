"""Records on disk: as a whole or not at all, and readable whatever happened to their neighbours."""

from __future__ import annotations

import errno
import os
from pathlib import Path
from typing import Any

import pytest

from toowld.daemon.store import Store, StoreError
from toowld.session import Record, State

RECORD = Record(
    id="aa11aa11", name="dev", argv=("sh", "-c", "\udcff"), env={"K": "\udcfe"}, cwd="/tmp/\udcfd"
)


@pytest.fixture
def store(tmp_path: Path) -> Store:
    return Store(tmp_path)


def test_round_trip(store: Store) -> None:
    """Also of what is not UTF-8."""
    store.save(RECORD)
    assert store.load_all() == ([RECORD], [])
    folder = store.folder(RECORD.id)
    assert folder.stat().st_mode & 0o777 == 0o700
    assert (folder / "record").stat().st_mode & 0o777 == 0o600
    assert [path.name for path in folder.iterdir()] == ["record"]


def test_the_umask_of_a_child_that_is_just_being_started_does_no_harm(store: Store) -> None:
    """It is lent to it by the whole process."""
    before = os.umask(0o777)
    try:
        store.save(RECORD)
        store.save(RECORD.changed(name="other"))
    finally:
        os.umask(before)
    folder = store.folder(RECORD.id)
    assert folder.stat().st_mode & 0o777 == 0o700
    assert (folder / "record").stat().st_mode & 0o777 == 0o600


def test_a_record_is_found_after_a_power_cut(store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    """What is brought to the disk, in order: the file, the folder's names, and where the folder itself is a name."""
    synced: list[Path] = []
    real = os.fsync

    def fsync(fd: int) -> None:
        synced.append(Path(os.readlink(f"/proc/self/fd/{fd}")))  # noqa: PTH115 - of a descriptor
        real(fd)

    monkeypatch.setattr(os, "fsync", fsync)
    folder = store.folder(RECORD.id)
    store.save(RECORD)
    assert synced == [folder / "record~", folder, folder.parent]
    del synced[:]
    store.save(RECORD.changed(name="other"))
    assert synced == [folder / "record~", folder]


def failing(monkeypatch: pytest.MonkeyPatch, call: str, after: int = 0, code: int = errno.EIO) -> None:
    """Let a function of `os` fail, after some calls that work."""
    real, left = getattr(os, call), [after]

    def fail(*args: Any, **kwargs: Any) -> Any:
        if left[0]:
            left[0] -= 1
            return real(*args, **kwargs)
        raise OSError(code, os.strerror(code))

    monkeypatch.setattr(os, call, fail)


#: Before the record is replaced, and after: the folder's fsync is the last that can go wrong.
FAILURES = [("open", 0), ("fsync", 0), ("link", 0), ("replace", 0), ("fsync", 1)]


@pytest.mark.parametrize(("call", "after"), FAILURES)
def test_a_failed_save_keeps_the_old_record(
    store: Store, monkeypatch: pytest.MonkeyPatch, call: str, after: int
) -> None:
    store.save(RECORD)
    failing(monkeypatch, call, after)
    with pytest.raises(StoreError, match="can't store session other: Input/output error") as caught:
        store.save(RECORD.changed(name="other"))
    monkeypatch.undo()
    assert not caught.value.replaced
    assert store.load_all() == ([RECORD], [])
    assert [path.name for path in store.folder(RECORD.id).iterdir()] == ["record"]


def test_a_failed_save_that_can_not_be_undone_says_so(store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    """The folder's fsync fails, and then the disk lets nothing be renamed any more."""
    store.save(RECORD)
    failing(monkeypatch, "fsync", 1)
    failing(monkeypatch, "replace", 1, errno.EROFS)
    changed = RECORD.changed(name="other")
    with pytest.raises(StoreError, match="Input/output error") as caught:
        store.save(changed)
    monkeypatch.undo()
    assert caught.value.replaced
    assert store.load_all() == ([changed], [])
    store.save(RECORD)
    assert store.load_all() == ([RECORD], [])
    assert [path.name for path in store.folder(RECORD.id).iterdir()] == ["record"]


@pytest.mark.parametrize(("call", "after"), [failure for failure in FAILURES if failure[0] != "link"])
def test_a_first_save_that_fails_leaves_nothing(
    store: Store, monkeypatch: pytest.MonkeyPatch, call: str, after: int
) -> None:
    failing(monkeypatch, call, after, errno.ENOSPC)
    with pytest.raises(StoreError, match="make room"):
        store.save(RECORD)
    assert not store.folder(RECORD.id).exists()


def test_a_disk_without_hard_links(store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    """What was replaced can't be brought back there; all else is as everywhere."""
    store.save(RECORD)
    failing(monkeypatch, "link", code=errno.EPERM)
    changed = RECORD.changed(name="other")
    store.save(changed)
    assert store.load_all() == ([changed], [])
    failing(monkeypatch, "fsync", 1)
    with pytest.raises(StoreError) as caught:
        store.save(RECORD)
    assert caught.value.replaced
    assert store.load_all() == ([RECORD], [])


def test_a_save_that_was_cut_short(store: Store) -> None:
    """The daemon died between the write and the rename."""
    store.save(RECORD)
    temporary = store.folder(RECORD.id) / "record~"
    temporary.write_bytes(b"half")
    assert store.load_all() == ([RECORD], [])
    changed = RECORD.changed(state=State.ENDED)
    store.save(changed)
    assert store.load_all() == ([changed], [])
    assert not temporary.exists()


def test_a_folder_without_a_record_is_no_session(store: Store) -> None:
    """A removal that was cut short, or a log whose custodian is alive and tells more."""
    store.save(RECORD)
    (store.folder(RECORD.id) / "record").unlink()
    assert store.load_all() == ([], [])


def test_forget_removes_everything(store: Store) -> None:
    store.save(RECORD)
    (store.folder(RECORD.id) / "00000000000000000000.log").touch()
    store.forget(RECORD.id)
    assert not store.folder(RECORD.id).exists()
    store.forget(RECORD.id)  # gone already is as good


def test_a_removal_that_was_cut_short(store: Store, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Forgotten is forgotten, though the daemon died before all files were gone."""
    store.save(RECORD)
    (store.folder(RECORD.id) / "00000000000000000000.log").touch()

    def die(path: Path) -> None:
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr("shutil.rmtree", die)
        with pytest.raises(KeyboardInterrupt):
            store.forget(RECORD.id)
    assert store.load_all() == ([], [])
    assert list(tmp_path.iterdir()) == []


def test_what_was_begun_and_never_was_is_swept_away(store: Store, tmp_path: Path) -> None:
    """The daemon died before the first record was whole. A log is another matter: somebody's output is in it."""
    store.save(RECORD)
    for name, files in (("0000000a", []), ("0000000b", ["record~"]), ("0000000c", ["1.log"]), ("notes", [])):
        (tmp_path / name).mkdir()
        for file in files:
            (tmp_path / name / file).write_text("x")
    [strange] = store.sweep({RECORD.id})
    assert Path(strange.path).name == "0000000c"
    assert {path.name for path in tmp_path.iterdir()} == {RECORD.id, "0000000c", "notes"}


def test_what_is_no_file_of_ours_is_not_read(store: Store, tmp_path: Path) -> None:
    """Neither waits for a pipe, nor follows a link, nor fills the memory."""
    paths = [tmp_path / f"0000000{letter}" / "record" for letter in "abcde"]
    for path in paths:
        path.parent.mkdir()
    pipe, link, folder, huge, empty = paths
    os.mkfifo(pipe)
    link.symlink_to("/etc/passwd")
    folder.mkdir()
    huge.touch()
    os.truncate(huge, 1 << 30)
    empty.touch()
    (tmp_path / "file").touch()
    (tmp_path / "link").symlink_to("/nowhere")
    loaded, skipped = store.load_all()
    assert loaded == []
    found = {Path(item.path).relative_to(tmp_path).parts[0] for item in skipped}
    assert found == {"file", *(path.parent.name for path in paths)}
    assert all(item.reason for item in skipped)


@pytest.mark.skipif(os.getuid() != 0, reason="machine cannot: only root may give files away")
def test_a_foreign_record_is_not_read(store: Store) -> None:
    store.save(RECORD)
    os.chown(store.folder(RECORD.id) / "record", 65534, 65534)
    loaded, [skipped] = store.load_all()
    assert loaded == []
    assert skipped.reason == "not a file of ours"
