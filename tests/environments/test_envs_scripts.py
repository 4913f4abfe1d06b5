"""A script whose block (PEP 723) is its environment: its Python, its dependencies, its lock."""

from __future__ import annotations

import subprocess
from pathlib import Path

import pytest
from envs_support import (
    empty_store,
    fruit_environ,
    fruit_wheels,
    installed,
    interpreter_path,
    make_wheel,
    private_environ,
)
from uv import find_uv_bin

from envs import EnvError, EnvironmentRequest, EnvironmentStore
from envs.scripts import has_block, read_script

wheels = pytest.fixture(fruit_wheels)
environ = pytest.fixture(fruit_environ)
store = pytest.fixture(empty_store)


def script(path: Path, *lines: str) -> Path:
    block = "".join(f"# {line}".rstrip() + "\n" for line in lines)
    path.write_text(f"'''Docs.'''\n# /// script\n{block}# ///\nimport lemon\n")
    return path


@pytest.mark.parametrize("installer", ["uv", pytest.param("pip", marks=pytest.mark.slow)])
def test_the_block_is_what_is_installed(
    installer: str, tmp_path: Path, environ: dict[str, str]
) -> None:
    store = EnvironmentStore(tmp_path / "envs", environ, installer=installer)  # type: ignore[arg-type]
    path = script(tmp_path / "a.py", 'dependencies = ["tree"]')
    made = store.sync(EnvironmentRequest(script=path))
    assert installed(made) == {"lemon": "1.0", "tree": "1.0"}
    # Another line of the script is no reason to make another; its block is.
    path.write_text(path.read_text() + "print()\n")
    assert not store.sync(EnvironmentRequest(script=path)).created
    script(path, 'dependencies = ["lemon"]')
    assert installed(store.sync(EnvironmentRequest(script=path))) == {"lemon": "2.0"}


def test_the_block_chooses_the_python(tmp_path: Path, environ: dict[str, str]) -> None:
    places = [interpreter_path("3.8").parent]
    store = EnvironmentStore(tmp_path / "w" / ".supervise" / "envs", environ, search_dirs=places)
    path = script(tmp_path / "a.py", 'requires-python = "==3.8.*"')
    assert store.sync(EnvironmentRequest(script=path)).interpreter.version[:2] == (3, 8)
    script(path, 'requires-python = ">=3.99"')
    with pytest.raises(EnvError) as caught:
        store.sync(EnvironmentRequest(script=path))
    assert caught.value.message.startswith(f"{path} takes python >=3.99: ")


def test_a_lock_beside_it_pins_it(
    tmp_path: Path, environ: dict[str, str], wheels: Path, store: EnvironmentStore
) -> None:
    path = script(tmp_path / "a.py", 'dependencies = ["lemon<2"]')
    subprocess.run([find_uv_bin(), "lock", "-q", "--script", path], env=environ, check=True)
    make_wheel(wheels, "lemon", "1.5")
    made = store.sync(EnvironmentRequest(script=path))
    assert installed(made) == {"lemon": "1.0"}
    assert made.pinned == f"versions of {tmp_path}/a.py.lock"
    (tmp_path / "a.py.lock").unlink()
    made = store.sync(EnvironmentRequest(script=path))
    assert (installed(made), made.pinned) == ({"lemon": "1.5"}, "")


def test_its_own_index_and_sources(tmp_path: Path, wheels: Path) -> None:
    settings = ("[tool.uv]", "no-index = true", 'find-links = ["wheels"]')
    store = EnvironmentStore(tmp_path / "envs", private_environ(tmp_path / "home"))
    path = script(tmp_path / "a.py", 'dependencies = ["lemon"]', *settings)
    assert installed(store.sync(EnvironmentRequest(script=path))) == {"lemon": "2.0"}
    source = f'lemon = {{path = "wheels/{next(wheels.glob("lemon-1*")).name}"}}'
    script(path, 'dependencies = ["lemon"]', *settings, "[tool.uv.sources]", source)
    assert installed(store.sync(EnvironmentRequest(script=path))) == {"lemon": "1.0"}


@pytest.mark.parametrize(
    ("lines", "expected"),
    [
        (['[[tool.uv.index]]', 'url = "https://a"', "default = true"], "--default-index https://a"),
        (['[tool.uv]', 'extra-index-url = ["https://a"]'], "--extra-index-url https://a"),
        (
            ['[[tool.uv.index]]', 'name = "b"', 'url = "https://a"', "explicit = true"],
            "--index b=https://a --index-strategy unsafe-best-match",
        ),
        ([], ""),
    ],
)  # fmt: skip
def test_where_its_packages_come_from(tmp_path: Path, lines: list[str], expected: str) -> None:
    assert " ".join(read_script(script(tmp_path / "a.py", *lines)).index) == expected


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("# /// script\n# dependencies = [\n# ///\n", "{}:1: the block of script metadata is not"),
        ("# /// script\n# dependencies = 1\n# ///\n", "{}:1: dependencies is not a list"),
        (
            "# /// script\n# [tool.uv]\n# index = 1\n# ///\n",
            "{}:1: [tool.uv] in the block of script metadata is not in uv's form",
        ),
        ("# /// script\n# requires-python = 3\n# ///\n", "{}:1: requires-python is not a text"),
        (
            "# /// script\n# a = 1\n# ///\n\n# /// script\n# a = 1\n# ///\n",
            "{}:5: this is a second",
        ),
    ],
)
def test_a_block_that_cannot_be_read(
    tmp_path: Path, store: EnvironmentStore, text: str, message: str
) -> None:
    path = tmp_path / "a.py"
    path.write_text(text)
    assert has_block(text)
    with pytest.raises(EnvError) as caught:
        store.sync(EnvironmentRequest(script=path))
    assert caught.value.message.startswith(message.format(path))


@pytest.mark.parametrize("text", ["", "# /// pyproject\n# a = 1\n# ///\n", "# /// script\na = 1\n"])
def test_a_file_without_a_block(text: str) -> None:
    assert not has_block(text)


@pytest.mark.parametrize(
    "lines",
    [("tool = 5",), ("[tool]", "uv = 3"), ("[tool.uv]", "index = [3]"), ("[[tool.uv.index]]", "name = 'x'"),
     ("[tool.uv]", "find-links = 3")],
)  # fmt: skip
def test_settings_in_another_form_are_told(lines: tuple[str, ...], tmp_path: Path) -> None:
    path = script(tmp_path / "a.py", "dependencies = []", *lines)
    with pytest.raises(EnvError, match=r"a\.py:2: \[tool\.uv\] .* is not in uv's form"):
        read_script(path)
