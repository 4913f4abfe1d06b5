"""Syncing a project: editable, with its dependencies, pinned by its lock."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest
from envs_support import (
    empty_store,
    fruit_environ,
    fruit_wheels,
    installed,
    interpreter_path,
    make_wheel,
    python_says,
    request,
    script,
)

from envs import EnvError, EnvironmentRequest, EnvironmentStore
from envs.projects import project_plan, required_python, requirements_of
from envs.uv_lock import unlocked

wheels = pytest.fixture(fruit_wheels)
environ = pytest.fixture(fruit_environ)
store = pytest.fixture(empty_store)


def project(folder: Path, body: str, build: bool = True, python: str = ">=3.7") -> Path:
    folder.mkdir(parents=True, exist_ok=True)
    text = f'[project]\nname = "grove"\nversion = "1.0"\nrequires-python = "{python}"\n{body}\n'
    if build:
        # In the tree and without requirements, so that building needs no index.
        text += '[build-system]\nrequires = []\nbuild-backend = "backend"\nbackend-path = ["."]\n'
    (folder / "pyproject.toml").write_text(text)
    (folder / "grove.py").write_text("VERSION = 'first'\n")
    script(
        folder / "backend.py",
        """
import os, zipfile
def get_requires_for_build_editable(config_settings=None):
    return []
def build_editable(wheel_directory, config_settings=None, metadata_directory=None):
    name = "grove-1.0-py3-none-any.whl"
    import pathlib, re
    text = pathlib.Path("pyproject.toml").read_text()
    listed = re.search(r"^dependencies = \\[(.*)\\]$", text, re.M)
    needed = "".join("Requires-Dist: %s\\n" % item for item in re.findall(r'"([^"]+)"', listed.group(1) if listed else ""))
    with zipfile.ZipFile(os.path.join(wheel_directory, name), "w") as archive:
        archive.writestr("grove.pth", os.getcwd() + "\\n")
        archive.writestr("grove-1.0.dist-info/METADATA", "Metadata-Version: 2.1\\nName: grove\\nVersion: 1.0\\n" + needed)
        archive.writestr("grove-1.0.dist-info/WHEEL", "Wheel-Version: 1.0\\nGenerator: t\\nRoot-Is-Purelib: true\\nTag: py3-none-any\\n")
        archive.writestr("grove-1.0.dist-info/RECORD", "grove.pth,,\\ngrove-1.0.dist-info/METADATA,,\\ngrove-1.0.dist-info/WHEEL,,\\ngrove-1.0.dist-info/RECORD,,\\n")
    return name
""",
    )
    return folder


GROVE = "import grove; print(grove.VERSION)"


@pytest.mark.slow
@pytest.mark.parametrize("installer", ["uv", "pip"])
def test_a_project_is_installed_editable(
    installer: str, tmp_path: Path, environ: dict[str, str]
) -> None:
    folder = project(tmp_path / "risk", 'dependencies = ["tree"]')
    store = EnvironmentStore(tmp_path / "envs", environ, installer=installer)  # type: ignore[arg-type]
    wanted = request("3.11", name="risk", project=folder)
    made = store.sync(wanted)
    assert installed(made) == {"grove": "1.0", "lemon": "1.0", "tree": "1.0"}
    assert python_says(made.interpreter.executable, GROVE) == "first"
    # An edit is there without a sync, and is no reason for one; a dependency is.
    (folder / "grove.py").write_text("VERSION = 'second edition'\n")
    assert not store.sync(wanted).created
    assert python_says(made.interpreter.executable, GROVE) == "second edition"
    project(folder, 'dependencies = ["lemon"]')
    assert installed(store.sync(wanted)) == {"grove": "1.0", "lemon": "2.0"}


@pytest.mark.slow
@pytest.mark.parametrize("installer", ["uv", "pip"])
def test_a_project_that_is_no_package_has_its_dependencies_installed(
    installer: str, tmp_path: Path, environ: dict[str, str]
) -> None:
    folder = project(tmp_path / "risk", 'dependencies = ["lemon<2"]', build=False)
    store = EnvironmentStore(tmp_path / "envs", environ, installer=installer)  # type: ignore[arg-type]
    made = store.sync(request("3.11", name="risk", project=folder))
    assert installed(made) == {"lemon": "1.0"}


@pytest.mark.parametrize(
    ("text", "files", "expected"),
    [
        ('name = "risk-desk"\n', ["risk_desk/__init__.py"], "editable"),
        ('name = "risk-desk"\n', ["src/risk_desk/__init__.py"], "editable"),
        ('name = "risk-desk"\n', ["risk_desk.py"], "editable"),
        ('name = "risk-desk"\npackages = [{include = "jobs"}]\n', ["jobs/__init__.py"], "editable"),
        ('name = "risk-desk"\n', ["week_1/defs.py"], "dependencies"),
        ('name = "risk-desk"\npackage-mode = true\n', [], "editable"),
    ],
)  # fmt: skip
def test_a_poetry_project_without_a_module_is_no_package(
    text: str, files: list[str], expected: str, tmp_path: Path
) -> None:
    backend = (
        '[build-system]\nrequires = ["poetry-core"]\nbuild-backend = "poetry.core.masonry.api"\n'
    )
    (tmp_path / "pyproject.toml").write_text(f"{backend}[tool.poetry]\n{text}")
    for name in files:
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).touch()
    assert project_plan(tmp_path) == expected


@pytest.mark.parametrize("text", ["dependencies = 5", "dynamic = true"])
def test_dependencies_in_no_known_form_are_said_to_be_so(text: str, tmp_path: Path) -> None:
    (tmp_path / "uv.lock").write_text("version = 1\n")
    (tmp_path / "pyproject.toml").write_text(f'[project]\nname = "x"\n{text}\n')
    with pytest.raises(EnvError, match="dependencies are in no form that is known"):
        unlocked(tmp_path, tmp_path / "uv.lock")


@pytest.mark.slow
def test_a_lock_that_was_made_for_other_dependencies_is_refused(
    tmp_path: Path, environ: dict[str, str], wheels: Path
) -> None:
    other = project(tmp_path / "shared", "dependencies = []") / "pyproject.toml"
    other.write_text(other.read_text().replace("grove", "shared"))
    given = 'dependencies = ["lemon >= 1.0.0, <2", "shared>=0", "lemon; python_version > \'3\'"]\n'
    sources = '[tool.uv.sources]\nshared = {path = "../shared", editable = true}\n'
    folder = project(tmp_path / "risk", given + sources)
    subprocess.run([uv(), "lock", "--quiet", "--project", str(folder)], env=environ, check=True)
    lock = folder / "uv.lock"
    assert unlocked(folder, lock) == []
    declaration = (folder / "pyproject.toml").read_text()
    changed = declaration.replace("<2", "<3").replace('"shared', '"grapes[x]", "shared')
    (folder / "pyproject.toml").write_text(changed)
    assert unlocked(folder, lock) == ["lemon >= 1.0.0, <3", "grapes[x]"]
    with pytest.raises(
        EnvError, match="uv.lock was not made for lemon >= 1.0.0, <3, grapes"
    ) as caught:
        EnvironmentStore(tmp_path / "envs", environ).sync(
            request("3.8", name="risk", project=folder)
        )
    assert caught.value.hint == f"run `uv lock --project {folder}`"
    (folder / "pyproject.toml").write_text(declaration)
    with pytest.raises(EnvError, match="risk takes python >=3.7") as caught:
        EnvironmentStore(tmp_path / "envs", environ).sync(
            request("3.6", name="risk", project=folder)
        )
    assert caught.value.kind == "interpreter"


@pytest.mark.slow
def test_a_lock_is_honoured_and_not_changed(
    tmp_path: Path, environ: dict[str, str], wheels: Path
) -> None:
    folder = project(tmp_path / "risk", 'dependencies = ["lemon<2"]')
    subprocess.run([uv(), "lock", "--quiet", "--project", str(folder)], env=environ, check=True)
    locked = (folder / "uv.lock").read_bytes()
    # What the declaration would allow now is not what was locked.
    make_wheel(wheels, "lemon", "1.5")
    store = EnvironmentStore(tmp_path / "envs", environ)
    made = store.sync(request("3.8", name="risk", project=folder))
    assert installed(made) == {"grove": "1.0", "lemon": "1.0"}
    assert python_says(made.interpreter.executable, GROVE) == "first"
    assert (folder / "uv.lock").read_bytes() == locked
    assert not (folder / ".venv").exists()
    with pytest.raises(EnvError) as caught:
        EnvironmentStore(tmp_path / "pips", environ, installer="pip").sync(
            request("3.8", name="risk", project=folder)
        )
    assert "needs uv" in str(caught.value)


@pytest.mark.slow
def test_a_member_of_a_uv_workspace_is_pinned_by_the_workspaces_lock(
    tmp_path: Path, environ: dict[str, str], wheels: Path
) -> None:
    root = tmp_path / "repo"
    member = project(root / "teams" / "risk", 'dependencies = ["lemon<2"]')
    (root / "pyproject.toml").write_text(
        '[project]\nname = "repo"\nversion = "1"\nrequires-python = ">=3.7"\n'
        '[tool.uv.workspace]\nmembers = ["teams/*"]\n'
    )
    subprocess.run([uv(), "lock", "--quiet", "--project", str(root)], env=environ, check=True)
    make_wheel(wheels, "lemon", "1.5")
    store = EnvironmentStore(tmp_path / "envs", environ)
    wanted = request("3.11", name="risk", project=member)
    made = store.sync(wanted)
    assert installed(made) == {"grove": "1.0", "lemon": "1.0"}
    subprocess.run([uv(), "lock", "-U", "--quiet", "--project", str(root)], env=environ, check=True)
    assert installed(store.sync(wanted)) == {"grove": "1.0", "lemon": "1.5"}


def uv() -> str:
    from uv import find_uv_bin

    return str(find_uv_bin())


@pytest.mark.slow
def test_a_project_gets_a_python_that_it_takes(tmp_path: Path, environ: dict[str, str]) -> None:
    places = [interpreter_path("3.8").parent]
    store = EnvironmentStore(tmp_path / "w" / ".supervise" / "envs", environ, search_dirs=places)
    older = project(tmp_path / "older", "", build=False, python=">=3.8,<3.9")
    made = store.sync(EnvironmentRequest(name="older", project=older))
    assert made.interpreter.version[:2] == (3, 8)
    own = tuple(sys.version_info[:2])
    other = project(tmp_path / "own", "", build=False, python=">=3.7")
    assert store.sync(EnvironmentRequest(name="own", project=other)).interpreter.version[:2] == own
    said = store.sync(request("3.9", project=older))
    assert said.interpreter.version[:2] == (3, 9)  # what is written wins
    none = project(tmp_path / "none", "", build=False, python=">=3.99")
    with pytest.raises(EnvError) as caught:
        store.sync(EnvironmentRequest(name="none", project=none))
    assert caught.value.kind == "interpreter"
    assert caught.value.message.startswith(f"{none} takes python >=3.99: ")


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ('[project]\nrequires-python = ">=3.9,<4"\n', ">=3.9,<4"),
        ('[tool.poetry.dependencies]\npython = "^3.9"\n', ">=3.9,<4"),
        ('[tool.poetry.dependencies]\npython = "~3.9"\n', ">=3.9,<3.10"),
        ('[tool.poetry.dependencies]\npython = "^3.9.2"\n', ">=3.9.2,<4"),
        ('[tool.poetry.dependencies]\npython = ">=3.8"\n', ">=3.8"),
        ('[tool.poetry.dependencies]\npython = "~3.8 || ^3.10"\n', ">=3.8,<3.9"),
        ("[tool.poetry]\ndependencies = 1\n", None),
        ("", None),
    ],
)
def test_which_python_a_project_takes(tmp_path: Path, text: str, expected: str | None) -> None:
    (tmp_path / "pyproject.toml").write_text(text)
    assert required_python(tmp_path) == expected


@pytest.mark.parametrize(
    ("files", "expected"),
    [
        ({"setup.py": "setup(name='a', python_requires='>=3.9,<3.10')\n"}, ">=3.9,<3.10"),
        ({"setup.py": "setup(python_requires=PYTHON)\n"}, None),
        ({"setup.py": "setup(\n"}, None),
        ({"setup.cfg": "[options]\npython_requires = >=3.8\n", "setup.py": "setup()\n"}, ">=3.8"),
        ({"setup.cfg": "not ini\n", "setup.py": "setup(python_requires='>3')\n"}, ">3"),
        ({"pyproject.toml": "[build-system]\n", "setup.py": "setup(python_requires='>3')\n"}, ">3"),
    ],
)  # fmt: skip
def test_which_python_a_project_of_setuptools_takes(
    files: dict[str, str], expected: str | None, tmp_path: Path
) -> None:
    for name, text in files.items():
        (tmp_path / name).write_text(text)
    assert required_python(tmp_path) == expected


def test_a_directory_that_is_no_project(tmp_path: Path, store: EnvironmentStore) -> None:
    (tmp_path / "empty").mkdir()
    for folder in (tmp_path / "empty", tmp_path / "absent"):
        with pytest.raises(EnvError) as caught:
            store.sync(request("3.11", name="risk", project=folder))
        assert caught.value.kind == "requirements"
        assert str(folder) in str(caught.value)
    (tmp_path / "empty" / "pyproject.toml").write_text("[project\n")
    with pytest.raises(EnvError) as caught:
        store.sync(request("3.11", name="risk", project=tmp_path / "empty"))
    assert "pyproject.toml cannot be read" in str(caught.value)


@pytest.mark.parametrize(
    "text",
    ["[project]\ndependencies = 3\n", "[dependency-groups]\ntest = 3\n",
     "[project.optional-dependencies]\nmore = 3\n", '[tool.poetry.dependencies]\npython = "^any"\n'],
)  # fmt: skip
def test_a_declaration_in_another_form_is_told(text: str, tmp_path: Path) -> None:
    (tmp_path / "pyproject.toml").write_text(text)
    with pytest.raises(EnvError, match=r"pyproject\.toml cannot be read"):
        required_python(tmp_path)
        requirements_of(tmp_path, ["more"] if "more" in text else [], [])
