"""The numbers that we give to the library are those that it was built with."""

from __future__ import annotations

import importlib.metadata
import importlib.util
import re
import tomllib
from pathlib import Path

import pytest

from tests.harness import REPOSITORY
from toowld.errors import ScreenUnavailable
from toowld.screen import PYGHOSTTY, library
from toowld.screen.decode import MODE_BITS
from toowld.screen.model import Model
from toowld.wire.messages import Size

_SPEC = importlib.util.find_spec("pyghostty")
assert _SPEC is not None and _SPEC.submodule_search_locations
_DECLARATIONS = Path(next(iter(_SPEC.submodule_search_locations)), "_cdef.py").read_text()


@pytest.mark.parametrize("name", [name for name in vars(library) if "OPT_" in name])
def test_options_have_the_declared_numbers(name: str) -> None:
    declared = name.replace("DECODER_OPT", "GHOSTTY_SNAPSHOT_DECODER_OPT")
    declared = declared if declared.startswith("GHOSTTY") else f"GHOSTTY_TERMINAL_{declared}"
    found = re.search(rf"\b{declared} = (\d+)", _DECLARATIONS)
    assert found is not None
    assert int(found[1]) == getattr(library, name)


def test_the_version_is_the_pinned_one() -> None:
    project = tomllib.loads((REPOSITORY / "pyproject.toml").read_text())["project"]
    pinned = [need for need in project["dependencies"] if need.startswith("pyghostty")]
    assert [need.partition(";")[0] for need in pinned] == [f"pyghostty=={PYGHOSTTY}"]


@pytest.mark.parametrize("mode", [mode for mode in MODE_BITS if mode is not None])
def test_each_mode_is_found_at_its_bit(mode: int) -> None:
    with Model(Size(rows=4, cols=20)) as model:
        assert model.state().modes == {}
        sequence = b"\x1b[%s%d" % (b"" if mode < 0 else b"?", abs(mode))
        model.feed(sequence + b"h")
        on = model.state().modes
        model.feed(sequence + b"l")
        off = model.state().modes
        assert (on, off) in (({mode: True}, {}), ({}, {mode: False}))


@pytest.mark.parametrize(
    ("version", "says"),
    [("0.0.9", "pyghostty is 0.0.9, and only 0.1.3 is known"), (None, "is not installed")],
)
def test_another_version_or_none_is_said(
    monkeypatch: pytest.MonkeyPatch, version: str | None, says: str
) -> None:
    def found(name: str) -> str:
        if version is None:
            raise importlib.metadata.PackageNotFoundError(name)
        return version

    monkeypatch.setattr(importlib.metadata, "version", found)
    library.load.cache_clear()
    with pytest.raises(ScreenUnavailable, match=says):
        Model(Size(rows=4, cols=20))
    monkeypatch.undo()
    library.load.cache_clear()
