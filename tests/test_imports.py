"""Which package may import which, what runner_shim may use, and that names are declared."""

from __future__ import annotations

import ast
import importlib
import subprocess
from pathlib import Path

import pytest
from loading import interpreter

from runner_shim.frameworks import registry

ROOT = Path(__file__).parent.parent
MODULES = {
    ".".join(path.relative_to(ROOT).with_suffix("").parts).removesuffix(".__init__"): path
    for package in ("supervisor", "envs", "runner_shim")
    for path in sorted((ROOT / package).rglob("*.py"))
}

# From the outside in: a module may import its own folder and those after it. The modules that lie in
# supervisor/ itself are below all folders.
FOLDERS = (
    "cli",
    "web",
    "presentation",
    "client",
    "server",
    "dagster",
    "runs",
    "access",
    "fleet",
    "locations",
    "watching",
    "processes",
    "snapshots",
    "drafts",
    "workspace_files",
    "protocol",
    "",
)
# What is reached over the control socket only, but for the commands that run it.
BEHIND_THE_SOCKET = ("server", "dagster", "runs", "fleet", "locations", "watching", "processes")
RUN_IT = (
    *("supervisor.cli.run", "supervisor.cli.check", "supervisor.cli.environments"),
    *("supervisor.cli.standalone", "supervisor.cli.dagster", "supervisor.cli.options"),
)

SHIM_FOLDERS = {
    # A folder, and those of the others that it may import; all may import runner_shim itself.
    "definitions": ("loading",),
    "loading": ("frameworks",),
    "execution": ("definitions", "loading"),
    "frameworks": ("definitions", "execution", "loading"),
    "process": ("execution", "loading", "frameworks", "preloading"),
    "preloading": ("loading", "frameworks", "process"),
}

# What decides without an operating system, an event loop or a clock of its own.
PURE = (
    "supervisor.dagster.sockets",
    "supervisor.fleet.merge",
    "supervisor.locations.lifecycle",
    "supervisor.locations.restart",
    "supervisor.locations.shim_connection",
    "supervisor.runs.firing",
    "supervisor.runs.queue",
    "supervisor.runs.retries",
    "supervisor.runs.timetable",
    "supervisor.snapshots.msgpack_reader",
    "supervisor.snapshots.selection",
    "supervisor.snapshots.snapshot",
)
NOT_PURE = {"asyncio", "os", "random", "secrets", "socket", "time"}


def imported(path: Path, *, everywhere: bool = True) -> set[str]:
    """The modules of ours and of others that ``path`` imports; under TYPE_CHECKING does not count."""
    name = next(one for one, other in MODULES.items() if other == path)
    package = name if path.name == "__init__.py" else name.rpartition(".")[0]
    found: set[str] = set()

    def visit(node: ast.AST) -> None:
        if isinstance(node, ast.If) and "TYPE_CHECKING" in ast.unparse(node.test):
            return
        if isinstance(node, ast.Import):
            found.update(alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            base = node.module or ""
            if node.level:
                above = package.split(".")[: len(package.split(".")) - node.level + 1]
                base = ".".join([*above, *([base] if base else [])])
            for alias in node.names:
                inner = f"{base}.{alias.name}"
                found.add(inner if inner in MODULES else base)
        if everywhere or not isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
            for child in ast.iter_child_nodes(node):
                visit(child)

    visit(ast.parse(path.read_text()))
    return found


def folder_of(name: str) -> str:
    """The folder of its package that a module lies in, "" for the package itself."""
    parts = name.split(".")
    is_folder = len(parts) == 2 and MODULES[name].name == "__init__.py"
    return parts[1] if len(parts) > 2 or is_folder else ""


@pytest.mark.parametrize("name", [one for one in MODULES if one.startswith("supervisor.")])
def test_the_supervisor_imports_downwards(name):
    folder = folder_of(name)
    for other in imported(MODULES[name]):
        if not other.startswith("supervisor."):
            continue
        target = folder_of(other)
        assert FOLDERS.index(target) >= FOLDERS.index(folder), f"{name} imports {other}"
        assert (folder, target) != ("watching", "processes"), f"{name} imports {other}"
        if target in BEHIND_THE_SOCKET and FOLDERS.index(folder) < FOLDERS.index("server"):
            assert name in RUN_IT, f"{name} imports {other}"


@pytest.mark.parametrize("name", [one for one in MODULES if one.startswith("runner_shim.")])
def test_the_shim_imports_as_its_folders_say(name):
    folder = folder_of(name)
    for other in imported(MODULES[name]):
        if other.startswith("runner_shim.") and name != "runner_shim.boot":
            target = folder_of(other)
            allowed = ("", folder, *SHIM_FOLDERS.get(folder, ()))
            assert target in allowed, f"{name} imports {other}"


@pytest.mark.parametrize("name", PURE)
def test_what_is_pure_asks_nothing_of_the_system(name):
    assert not imported(MODULES[name]) & NOT_PURE


@pytest.mark.slow
def test_no_modules_import_each_other():
    found = {name: imported(path) & MODULES.keys() for name, path in MODULES.items()}
    done: set[str] = set()

    def follow(name: str, way: tuple[str, ...]) -> None:
        assert name not in way, " -> ".join((*way[way.index(name) :], name))
        if name not in done:
            for other in found[name]:
                follow(other, (*way, name))
            done.add(name)

    for name in found:
        follow(name, ())


@pytest.mark.parametrize("package", ["supervisor", "runner_shim"])
def test_each_folder_says_what_it_may_import(package):
    folders = {folder_of(one) for one in MODULES if one.startswith(f"{package}.")} - {""}
    known = FOLDERS if package == "supervisor" else SHIM_FOLDERS
    assert folders == set(known) - {""}
    for folder in folders:
        text = ast.get_docstring(ast.parse(MODULES[f"{package}.{folder}"].read_text())) or ""
        assert "import" in text.lower(), f"{package}/{folder}/__init__.py"


@pytest.mark.parametrize("name", list(MODULES))
def test_packages_import_one_way(name):
    package = name.partition(".")[0]
    for other in imported(MODULES[name]):
        top = other.partition(".")[0]
        if package == "envs":
            assert top != "supervisor", other
            assert top != "runner_shim" or other == "runner_shim.lifeline", other
        if package == "runner_shim":
            assert top not in ("supervisor", "envs"), other
        if package == "supervisor" and top == "runner_shim":
            shared = (
                "",
                ".wire",
                ".lifeline",
                ".masking",
                ".nearest",
                ".records",
                ".cron_words",
                ".nearest",
                ".frameworks.dagster.served",
            )
            assert other in [f"runner_shim{one}" for one in shared], other


def standard_names() -> frozenset[str]:
    import sys

    return sys.stdlib_module_names


@pytest.mark.parametrize("name", [one for one in MODULES if one.startswith("runner_shim")])
def test_the_shim_needs_nothing_but_zmq_and_msgpack(name):
    allowed = {"runner_shim.process.channel": {"zmq"}, "runner_shim.wire": {"msgpack"}}
    parts = name.split(".")  # a framework's folder may import the framework
    frameworks = set(parts[2:3]) if parts[1:2] == ["frameworks"] and len(parts) > 3 else set()
    if name == "runner_shim.frameworks.dagster.server":
        frameworks.add("grpc")  # which its server is made with
    for other in imported(MODULES[name]):
        top = other.partition(".")[0]
        if top in standard_names() or top == "runner_shim":
            continue
        assert top in allowed.get(name, set()) | frameworks, f"{name} imports {other}"


@pytest.mark.slow
def test_nothing_of_a_framework_is_imported_before_user_code_imports_it():
    frameworks = {entry.presence.partition(".")[0] for entry in registry.entries()} - {
        "runner_shim"
    }
    for name, path in MODULES.items():
        if name.startswith("runner_shim"):
            tops = {one.partition(".")[0] for one in imported(path, everywhere=False)}
            assert not tops & frameworks, name


@pytest.mark.slow
@pytest.mark.parametrize("version", ["3.6", "3.7", "3.8"])
def test_the_shim_compiles_on_old_pythons(version):
    python = interpreter(version)
    if python is None:
        pytest.skip(f"no python {version} on this machine")
    code = (
        "import sys\n"
        "for path in sys.argv[1:]:\n"
        "    with open(path, encoding='utf-8') as file:\n"
        "        compile(file.read(), path, 'exec')\n"
    )
    paths = [str(path) for name, path in MODULES.items() if name.startswith("runner_shim")]
    done = subprocess.run(
        [python, "-W", "error", "-c", code, *paths], capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr


@pytest.mark.slow
@pytest.mark.parametrize("name", list(MODULES))
def test_public_names_are_declared_and_exist(name):
    tree = ast.parse(MODULES[name].read_text())
    targets = {
        target.id
        for node in tree.body
        if isinstance(node, ast.Assign | ast.AnnAssign)
        for target in (node.targets if isinstance(node, ast.Assign) else [node.target])
        if isinstance(target, ast.Name)
    }
    scripts = {"runner_shim.boot", "supervisor.__main__", "supervisor.cli.__main__"}
    if name in scripts:
        return
    assert "__all__" in targets, f"{name} declares no __all__"
    module = importlib.import_module(name)
    missing = [one for one in module.__all__ if not hasattr(module, one)]
    assert missing == []
    assert len(set(module.__all__)) == len(module.__all__)


@pytest.mark.parametrize("name", list(MODULES))
def test_every_module_says_what_it_is_for_and_is_short_enough(name):
    text = MODULES[name].read_text()
    assert ast.get_docstring(ast.parse(text)), f"{name} has no docstring"
    assert text.count("\n") <= 500, f"{name} has {text.count(chr(10))} lines"
