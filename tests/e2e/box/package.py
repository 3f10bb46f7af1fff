"""toowl, installed in a box the way a package would be: from a folder of its own, with programs on the path."""

from __future__ import annotations

import shutil
import sys
from pathlib import Path

from tests.e2e.box import Box
from tests.harness import REPOSITORY

#: Where the box has toowl: a copy, so that a test can replace it.
PACKAGE = "/opt/toowl"


def install_package(box: Box) -> None:
    """Put the packages in place, and the two programs in /usr/local/bin. Replaces what is there."""
    for path in (REPOSITORY, Path(sys.prefix), Path(sys.executable).resolve().parent):
        box.open_to_users(path)
    for name in ("toowl", "toowld"):
        target = box.path(f"{PACKAGE}/{name}")
        shutil.rmtree(target, ignore_errors=True)
        shutil.copytree(REPOSITORY / name, target, ignore=shutil.ignore_patterns("__pycache__"))
        # exec: the program must be the main process of its unit. -P: what lies in the current folder is not ours.
        box.write(
            f"/usr/local/bin/{name}",
            f'#!/bin/sh\nexport PYTHONPATH={PACKAGE}\nexec "{sys.executable}" -P -m {name} "$@"\n',
            0o755,
        )
