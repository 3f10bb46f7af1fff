"""Every command tells how it is used, and the manual says the same."""

from __future__ import annotations

import argparse
import importlib.util
import re
import shutil
import subprocess
import sys
from types import ModuleType

import pytest

from tests.harness import REPOSITORY, Sandbox, need_program
from toowl.cli import main
from toowl.commands import ALIASES, COMMANDS
from toowl.commands import help as helping


def _generator() -> ModuleType:
    spec = importlib.util.spec_from_file_location("generate", REPOSITORY / "docs/generate.py")
    assert spec is not None and spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.mark.parametrize("name", COMMANDS)
def test_help_of_every_command(capsys: pytest.CaptureFixture[str], name: str) -> None:
    """In this process: there are many of them. (`test_overview` starts one.)"""
    assert main([name, "--help"]) == 0
    by_option = capsys.readouterr().out
    assert by_option.startswith(f"usage: toowl {name}")
    assert main(["help", name]) == 0
    assert capsys.readouterr().out == by_option


@pytest.mark.parametrize("name", COMMANDS)
def test_usage_names_every_option(name: str) -> None:
    parser = helping.command(name)
    usage = parser.usage or ""
    for action in parser._actions:
        if action.help == argparse.SUPPRESS or "--help" in action.option_strings:
            continue
        if action.option_strings and not {"--yes", "-o", "-n", "-d", "-f", "-i", "-C"} & set(
            action.option_strings
        ):
            assert action.option_strings[-1] in usage
        elif action.option_strings:
            assert any(re.search(rf"(^|\W){re.escape(flag)}\b", usage) for flag in action.option_strings)
        else:
            assert str(action.metavar).strip("[]").split("]")[0] in usage.replace("bash|zsh|fish", "SHELL")


def test_overview(sandbox: Sandbox) -> None:
    texts = {sandbox.toowl(*argv).stdout for argv in (["help"], ["--help"], ["-h"])}
    assert len(texts) == 1
    text = texts.pop()
    for name in COMMANDS:
        assert re.search(rf"^  toowl {name} +\S", text, re.MULTILINE)
    assert max(map(len, text.splitlines())) <= 110


def test_help_for_what_is_not_there(sandbox: Sandbox) -> None:
    done = sandbox.toowl("help", "nothing", check=False)
    assert done.returncode == 2
    assert done.stderr.count("\n") == 1
    assert sandbox.toowl("help", "a").stdout == sandbox.toowl("help", ALIASES["a"]).stdout


def test_the_committed_manual_is_current() -> None:
    stale = [
        path.name for path, text in _generator().files().items() if path.read_text(encoding="utf-8") != text
    ]
    assert not stale, "run `make docs`"


def test_check_says_so() -> None:
    done = subprocess.run([sys.executable, "docs/generate.py", "--check"], cwd=REPOSITORY, check=False)
    assert done.returncode == 0


def test_manual_pages_are_good_roff() -> None:
    need_program("man")
    for page in ("toowl.1", "toowld.8"):
        done = subprocess.run(
            ["man", "--warnings", "-l", str(REPOSITORY / "docs/man" / page)],
            capture_output=True,
            text=True,
            check=True,
            env={"PATH": "/usr/bin:/bin", "LC_ALL": "C.UTF-8", "MANWIDTH": "100", "MAN_KEEP_FORMATTING": ""},
        )
        assert done.stderr == ""
        if page == "toowl.1":
            # An older man has no plain text: it overstrikes.
            text = re.sub(r".\x08", "", done.stdout)
            for name in COMMANDS:
                assert re.search(rf"^ +toowl {name}\b", text, re.MULTILINE), name
            assert "Ctrl-\\ d" in text
    if shutil.which("mandoc"):
        done = subprocess.run(
            ["mandoc", "-T", "lint", "-W", "error", str(REPOSITORY / "docs/man/toowl.1")],
            capture_output=True,
            text=True,
            check=False,
        )
        assert done.returncode == 0, done.stdout
