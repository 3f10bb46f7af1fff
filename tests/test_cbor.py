"""cbor2 by its extension alone, and as it comes where that can't be had."""

from __future__ import annotations

import importlib.util
import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from tests.harness import REPOSITORY
from toowld import cbor

#: What a process says of itself: whether a frame comes back as it was, and which of these modules it has.
_REPORT = """
import sys
from toowld import cbor
value = [1, "name", {"data": b"x"}, None]
assert cbor.loads(cbor.dumps(value), max_depth=3) == value
try:
    cbor.loads(b"\\x9f")
except cbor.CBORError:
    pass
else:
    raise AssertionError("an unfinished item was taken")
print(*{"cbor2", "typing", "re"} & set(sys.modules))
"""


def run(script: str, *path: Path) -> list[str]:
    """The words that a fresh process prints; ``path`` is searched before everything else."""
    folders = os.pathsep.join(map(str, (*path, REPOSITORY)))
    done = subprocess.run(
        [sys.executable, "-c", script],
        env={**os.environ, "PYTHONPATH": folders}, capture_output=True, text=True, check=True,
    )  # fmt: skip
    return sorted(done.stdout.split())


def test_brings_nothing_along() -> None:
    assert run(_REPORT) == []


@pytest.mark.parametrize("first", ["import cbor2", "from toowld import cbor"])
def test_whoever_imports_cbor2_has_the_same(first: str) -> None:
    same = "print(all(getattr(cbor, name) is getattr(cbor2, name) for name in cbor.__all__))"
    assert run(f"{first}\nimport cbor2\nfrom toowld import cbor\n{same}") == ["True"]


@pytest.mark.parametrize("decoy", [None, "", "raise ImportError('built for another machine')"])
def test_takes_the_package_where_it_is_laid_out_differently(tmp_path: Path, decoy: str | None) -> None:
    """The extension is elsewhere; and at its place is nothing, something else, or something broken."""
    package = tmp_path / "cbor2"
    native = package / "native"
    native.mkdir(parents=True)
    extension = importlib.util.find_spec("cbor2._cbor2")
    assert extension is not None and extension.origin is not None
    shutil.copy(extension.origin, native)
    names = ", ".join(cbor.__all__)
    (package / "__init__.py").write_text(f"from cbor2.native._cbor2 import {names}\n")
    if decoy is not None:
        (package / "_cbor2.py").write_text(decoy)
    assert run(_REPORT, tmp_path) == ["cbor2"]
