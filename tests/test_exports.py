"""What the packages give away: ``__all__`` is true, and every module says what it owns."""

from __future__ import annotations

import ast
import importlib
from pathlib import Path

import pytest

from tests.test_layers import SOURCES, module_name

PACKAGES = [path for path in SOURCES if path.name == "__init__.py" and "__all__" in path.read_text()]


@pytest.mark.parametrize("path", PACKAGES, ids=module_name)
def test_all_is_what_the_package_imports_for_others(path: Path) -> None:
    module = importlib.import_module(module_name(path))
    assert [name for name in module.__all__ if not hasattr(module, name)] == []
    assert len(set(module.__all__)) == len(module.__all__)
    tree = ast.parse(path.read_text())
    given = {
        alias.asname or alias.name
        for node in tree.body
        if isinstance(node, ast.ImportFrom) and node.module and node.module.startswith(("toowl.", "toowld."))
        for alias in node.names
    }
    assert given - set(module.__all__) == set(), "imported for others, but not in __all__"


@pytest.mark.parametrize("path", SOURCES, ids=module_name)
def test_every_module_says_what_it_owns(path: Path) -> None:
    assert ast.get_docstring(ast.parse(path.read_text())), f"{path} has no docstring"
