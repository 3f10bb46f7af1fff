"""Whether a folder has changed, by its time alone."""

from __future__ import annotations

import os
import time
from pathlib import Path

from toowld.daemon.stamp import Stamp

_HOUR = 3600


def aged(folder: Path) -> None:
    """As if its last change was long ago."""
    os.utime(folder, (time.time() - _HOUR, time.time() - _HOUR))


def test_what_was_seen_has_not_changed(tmp_path: Path) -> None:
    stamp = Stamp(tmp_path)
    aged(tmp_path)
    assert stamp.changed(), "nobody has looked yet"
    assert stamp.changed()
    stamp.looked()
    assert not stamp.changed()
    (tmp_path / "new").touch()
    assert stamp.changed()


def test_what_changes_while_somebody_looks_is_seen_the_next_time(tmp_path: Path) -> None:
    stamp = Stamp(tmp_path)
    aged(tmp_path)
    assert stamp.changed()
    (tmp_path / "new").touch()
    stamp.looked()
    assert stamp.changed()


def test_a_change_of_just_now_may_be_followed_by_one_with_the_same_time(tmp_path: Path) -> None:
    stamp = Stamp(tmp_path)
    (tmp_path / "new").touch()
    assert stamp.changed()
    stamp.looked()
    assert stamp.changed()


def test_one_that_can_not_be_read_may_have_changed(tmp_path: Path) -> None:
    stamp = Stamp(tmp_path / "none")
    stamp.looked()
    assert stamp.changed()
