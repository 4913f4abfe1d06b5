"""What holds for the tests themselves: public seams only, the folders of the product, short files."""

from __future__ import annotations

import ast
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from places import PROGRAMS, ROOT, TESTS

FILES = [path for path in sorted(TESTS.rglob("*.py")) if "broken" not in path.parts]

# Folders that test no one folder of the product: programs that tests start, real libraries, faults.
OF_ALL = {"docs", "faults", "programs", "real"}
# A folder of tests, and the package that it stands for.
PACKAGES = {"environments": "envs", "shim": "runner_shim", "docs": "docs"}


def private(name: str) -> bool:
    return name.startswith("_") and not name.startswith("__")


def private_uses(tree: ast.Module) -> Iterator[tuple[int, str]]:
    """(line, name) of each private name of something else that ``tree`` reads, sets or replaces."""
    modules = {}
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            for alias in node.names:
                modules[alias.asname or alias.name.partition(".")[0]] = alias.name
        elif isinstance(node, ast.ImportFrom):
            for alias in node.names:
                modules[alias.asname or alias.name] = node.module or ""
                if private(alias.name):
                    yield node.lineno, alias.name

    def is_ours(owner: ast.expr) -> bool:
        """True for what is neither the object itself nor of the standard library."""
        if isinstance(owner, ast.Name) and owner.id in ("self", "cls"):
            return False
        while isinstance(owner, ast.Attribute):
            owner = owner.value
        module = modules.get(owner.id, "") if isinstance(owner, ast.Name) else ""
        return module.partition(".")[0] not in sys.stdlib_module_names

    for node in ast.walk(tree):
        if isinstance(node, ast.Attribute) and private(node.attr) and is_ours(node.value):
            yield node.lineno, node.attr
        elif isinstance(node, ast.Call) and ast.unparse(node.func).endswith("attr"):
            for one in node.args[:2]:
                if isinstance(one, ast.Constant) and isinstance(one.value, str):
                    found = [part for part in one.value.split(".") if private(part)]
                    yield from ((node.lineno, part) for part in found)


@pytest.mark.parametrize("path", FILES, ids=lambda path: str(path.relative_to(TESTS)))
def test_only_what_is_public_is_used(path: Path) -> None:
    if path.is_relative_to(PROGRAMS):
        return  # user code, which does what it wants
    assert list(private_uses(ast.parse(path.read_text()))) == []


def test_private_names_are_found() -> None:
    text = (
        "import os, asyncio\n"
        "from supervisor.cli import _one\n"
        "os._exit(1); asyncio.Handle._run; self._mine; one.__class__\n"
        "self.daemon._two; made()._three\n"
        "monkeypatch.setattr(module, '_four', 1)\n"
        "monkeypatch.setattr('supervisor.module._five', 1)\n"
    )
    found = [name for _, name in private_uses(ast.parse(text))]
    assert sorted(found) == ["_five", "_four", "_one", "_three", "_two"]


def test_each_folder_is_that_of_what_it_tests() -> None:
    for path in {path.parent.relative_to(TESTS) for path in FILES}:
        if not path.parts or path.parts[0] in OF_ALL:
            continue
        package = PACKAGES.get(path.parts[0])
        place = (
            Path("supervisor", *path.parts) if package is None else Path(package, *path.parts[1:])
        )
        assert (ROOT / place).is_dir(), f"tests/{path} tests no folder of the product"


@pytest.mark.parametrize("path", FILES, ids=lambda path: str(path.relative_to(TESTS)))
def test_every_file_is_short_enough(path: Path) -> None:
    lines = path.read_text().count("\n")
    assert lines <= 500, f"{path} has {lines} lines"
