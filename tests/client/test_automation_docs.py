"""What docs/automation.md shows, works: its examples, one after the other, on a real daemon."""

from __future__ import annotations

import re
import subprocess
import sys

from tests.harness import REPOSITORY, Sandbox

_BLOCK = re.compile(r"^```(sh|python)\n(.*?)^```$", re.MULTILINE | re.DOTALL)


def test_the_examples(sandbox: Sandbox) -> None:
    sandbox.up()
    program = sandbox.root / "toowl"
    program.write_text(f'#!/bin/sh\nexec "{sys.executable}" -m toowl "$@"\n')
    program.chmod(0o755)
    env = {**sandbox.env, "PATH": f"{sandbox.root}:{sandbox.env['PATH']}"}
    blocks: list[tuple[str, str]] = _BLOCK.findall((REPOSITORY / "docs/automation.md").read_text())
    assert {kind for kind, _ in blocks} == {"sh", "python"}
    shell = "".join(text for kind, text in blocks if kind == "sh")
    programs = [text for kind, text in blocks if kind == "python"]
    for argv in (["sh", "-euxc", shell], *([sys.executable, "-c", text] for text in programs)):
        done = subprocess.run(argv, env=env, cwd=sandbox.root, capture_output=True, text=True, timeout=60)
        assert done.returncode == 0, f"{argv}\n{done.stdout}{done.stderr}"
