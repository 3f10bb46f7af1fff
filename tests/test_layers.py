"""Who may import whom: read from the source, and for the custodian from a real process too.

::

    toowl → wire ← session ← log ← host ← {custodian, daemon}
                               ← screen ← {daemon, toowl}

A part may use what stands before it in that chain (the arrow points at what is imported). `toowld.errors`,
`toowld.paths`, `toowld.place`, `toowld.classes` and `toowld.cbor` are for all. Custodian and daemon speak
`toowld.wire` with each other and share no code. `toowld.settings` stands beside all that.
"""

from __future__ import annotations

import ast
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.harness import REPOSITORY

#: Part → the parts of toowld that it may import besides itself.
ALLOWED: dict[str, set[str]] = {
    "toowld": set(),
    "toowld.__main__": {"toowld.daemon", "toowld.custodian"},
    "toowld.cbor": set(),
    "toowld.classes": set(),
    "toowld.errors": set(),
    "toowld.paths": set(),
    "toowld.place": set(),
    "toowld.wire": set(),
    "toowld.session": {"toowld.wire"},
    "toowld.log": {"toowld.wire", "toowld.session"},
    "toowld.screen": {"toowld.wire", "toowld.session", "toowld.log"},
    "toowld.host": {"toowld.wire", "toowld.session", "toowld.log"},
    "toowld.client": {"toowld.wire"},
    "toowld.settings": set(),
    "toowld.custodian": {"toowld.wire", "toowld.session", "toowld.log", "toowld.host"},
    "toowld.daemon": {
        "toowld.wire",
        "toowld.session",
        "toowld.log",
        "toowld.host",
        "toowld.client",
        "toowld.screen",
        "toowld.settings",
    },
    "toowl": {"toowld.wire", "toowld.client", "toowld.log", "toowld.screen", "toowld.settings"},
}
FOR_ALL = {"toowld", "toowld.cbor", "toowld.classes", "toowld.errors", "toowld.paths", "toowld.place"}

#: No input, output, clock or chance: the same input gives the same result.
PURE = [
    "toowld/classes.py",
    "toowld/wire/*.py",
    "toowld/session/*.py",
    "toowld/log/format.py",
    "toowld/log/text.py",
    "toowld/log/plain.py",
    "toowld/daemon/attendance.py",
    "toowld/daemon/differences.py",
    "toowld/screen/state.py",
    "toowld/screen/decode.py",
    "toowld/screen/pages.py",
    "toowld/screen/sgr.py",
    "toowld/screen/paint.py",
    "toowld/screen/render.py",
    "toowld/settings/schema.py",
    "toowld/settings/values.py",
    "toowld/settings/file.py",
    "toowld/settings/example.py",
    "toowl/api/executing.py",
    "toowl/api/plans.py",
    "toowl/api/values.py",
    "toowl/api/waiting.py",
    "toowl/keys.py",
    "toowl/attachment.py",
    "toowl/outcomes.py",
    "toowl/drawing.py",
    "toowl/markup.py",
    "toowl/banner.py",
    "toowl/board.py",
    "toowl/reconnect.py",
    "toowl/literal.py",
    "toowl/execution.py",
    "toowl/when.py",
    "toowl/commands/_filter.py",
    "bench/figures.py",
    "bench/stats.py",
    "bench/targets.py",
    "bench/compare.py",
    "bench/report.py",
    "bench/tables.py",
    "bench/charts.py",
]
IMPURE = {
    "asyncio",
    "socket",
    "os",
    "threading",
    "random",
    "logging",
    "time",
    "select",
    "subprocess",
    "secrets",
}

SOURCES = sorted([*REPOSITORY.glob("toowl/**/*.py"), *REPOSITORY.glob("toowld/**/*.py")])


def module_name(path: Path) -> str:
    parts = path.relative_to(REPOSITORY).with_suffix("").parts
    return ".".join(parts[:-1] if parts[-1] == "__init__" else parts)


def part_of(module: str) -> str:
    """The row of `ALLOWED` that a module belongs to."""
    names = module.split(".")
    return "toowl" if names[0] == "toowl" else ".".join(names[:2])


def type_checking_blocks(tree: ast.AST) -> set[ast.AST]:
    """Everything below ``if TYPE_CHECKING:``, which no process ever runs."""
    blocks = [
        node
        for node in ast.walk(tree)
        if isinstance(node, ast.If) and isinstance(node.test, ast.Name) and node.test.id == "TYPE_CHECKING"
    ]
    return {inner for block in blocks for statement in block.body for inner in ast.walk(statement)}


def imports_of(path: Path) -> Iterator[tuple[int, str]]:
    """(line, full name) of all that a file imports, wherever in it. Our imports are absolute."""
    tree = ast.parse(path.read_text())
    skipped = type_checking_blocks(tree)
    for node in ast.walk(tree):
        if node in skipped:
            continue
        if isinstance(node, ast.Import):
            yield from ((node.lineno, alias.name) for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0 and node.module, f"{path}:{node.lineno}: relative import"
            # `from toowld import errors` imports toowld.errors
            yield from ((node.lineno, f"{node.module}.{alias.name}") for alias in node.names)


def imported_part(name: str) -> str | None:
    """The part of toowl(d) that an imported name belongs to, None for anything else."""
    names = name.split(".")
    if names[0] == "toowl":
        return "toowl"
    if names[0] != "toowld":
        return None
    part = ".".join(names[:2])
    return part if part in ALLOWED else "toowld"  # `from toowld import __version__`


def broken_rules(path: Path) -> list[str]:
    own = part_of(module_name(path))
    assert own in ALLOWED, f"{path}: no rule for {own}"
    allowed = ALLOWED[own] | FOR_ALL | {own}
    return [
        f"{path.relative_to(REPOSITORY)}:{line}: {own} must not import {name}"
        for line, name in imports_of(path)
        if (part := imported_part(name)) is not None and part not in allowed
    ]


def test_imports_follow_the_chain() -> None:
    assert [rule for path in SOURCES for rule in broken_rules(path)] == []


def test_session_uses_the_messages_never_the_codec() -> None:
    codec = {"FrameDecoder", "decode_body", "encode", "negotiate", "codec", "MAX_FRAME"}
    broken = [
        f"{path.name}:{line}: {name}"
        for path in REPOSITORY.glob("toowld/session/*.py")
        for line, name in imports_of(path)
        if name.startswith("toowld.wire") and codec & set(name.split("."))
    ]
    assert broken == []


@pytest.mark.parametrize("pattern", PURE)
def test_pure_modules_stay_pure(pattern: str) -> None:
    broken = [
        f"{path.relative_to(REPOSITORY)}:{line}: {name}"
        for path in REPOSITORY.glob(pattern)
        for line, name in imports_of(path)
        if name.split(".")[0] in IMPURE
    ]
    assert broken == []


def test_the_rules_see_a_broken_import(tmp_path: Path) -> None:
    """The checker itself: each form of import is seen."""
    path = tmp_path / "sample.py"
    path.write_text(
        "import os\nfrom toowld import daemon, errors\nfrom typing import TYPE_CHECKING\n"
        "def later():\n    from toowld.daemon.registry import Registry\n"
        "if TYPE_CHECKING:\n    import socket\n"
    )
    names = [name for _line, name in imports_of(path)]
    assert names == [
        "os", "toowld.daemon", "toowld.errors", "typing.TYPE_CHECKING", "toowld.daemon.registry.Registry",
    ]  # fmt: skip
    assert [imported_part(name) for name in names] == [
        None,
        "toowld.daemon",
        "toowld.errors",
        None,
        "toowld.daemon",
    ]


def loaded_by(statement: str) -> set[str]:
    """The modules that a fresh interpreter has after ``statement`` and had not before."""
    script = f"import sys; before = set(sys.modules); {statement}; print(*(set(sys.modules) - before))"
    done = subprocess.run(
        [sys.executable, "-c", script], cwd=REPOSITORY, capture_output=True, text=True, check=True
    )
    return set(done.stdout.split())


def test_a_custodian_loads_next_to_nothing() -> None:
    modules = [module_name(path) for path in REPOSITORY.glob("toowld/custodian/*.py")]
    assert modules, "there is a custodian"
    loaded = loaded_by("; ".join(f"import {module}" for module in modules))
    tops = {name.split(".")[0] for name in loaded}
    third_party = tops - sys.stdlib_module_names - {"toowld"}
    assert {name.lstrip("_") for name in third_party} <= {"cbor2", "setproctitle"}
    assert "asyncio" not in tops
    assert not {name for name in loaded if name.startswith(("toowld.daemon", "toowld.screen"))}


def test_the_client_loads_no_event_loop() -> None:
    loaded = loaded_by("import toowld.client")
    assert not {name for name in loaded if name.split(".")[0] in ("asyncio", "psutil", "argparse")}
