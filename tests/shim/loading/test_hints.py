"""What is said of an import that fails for what this Python, this system or this environment has not."""

from __future__ import annotations

import sys

import pytest
from loading import failure, interpreter, load

from runner_shim.nearest import slip


@pytest.mark.skipif(interpreter("3.6") is None, reason="no python 3.6 here")
@pytest.mark.parametrize(
    ("line", "message", "hint"),
    [
        (
            "import tomllib",
            "tomllib is part of python from 3.11 on, and this is python 3.6 (imported by defs.py line 1)",
            "load it with another python: `python` of its environment says which",
        ),
        (
            "from typing import Literal, override",
            None,
            "typing.Literal needs python 3.8, and this is",
        ),
        (
            "import functools; functools.cache",
            None,
            "functools.cache needs python 3.9, and this is",
        ),
        ("from json import lods", None, None),
    ],
)
def test_what_the_standard_library_has_in_another_python(tmp_path, line, message, hint):
    found = failure(load(tmp_path, {"defs.py": line}, python=interpreter("3.6")))
    if message is not None:
        assert found["message"] == message
    assert "not_installed" not in found["exception"]
    assert found.get("hint", "").startswith(hint) if hint else "hint" not in found


@pytest.mark.skipif(interpreter("3.13") is None, reason="no python 3.13 here")
@pytest.mark.parametrize(
    ("line", "text"),
    [
        ("import imp", "imp is no part of python since 3.12, and this is python 3.13"),
        (
            "import collections; collections.Mapping",
            "it is collections.abc.Mapping since python 3.10",
        ),
        ("from collections import Mapping", "it is collections.abc.Mapping since python 3.10"),
    ],
)
def test_what_the_standard_library_has_no_longer(tmp_path, line, text):
    found = failure(load(tmp_path, {"defs.py": line}, python=interpreter("3.13")))
    assert text in found["message"] + found["hint"]
    assert "load it with an older python" in found["hint"]


def test_what_is_nearly_ours_is_not_to_be_installed(tmp_path):
    found = failure(load(tmp_path, {"defs.py": "from runner_shims import job"}))
    assert found["message"] == "module runner_shims does not exist (imported by defs.py line 1)"
    assert found["hint"] == "did you mean runner_shim?"
    assert "not_installed" not in found["exception"]


def test_metadata_that_is_missing_is_no_package_that_is_missing(tmp_path):
    text = "from importlib.metadata import version\nversion('no-such-thing')\n"
    found = failure(load(tmp_path, {"defs.py": text}, python=sys.executable))
    assert found["message"].startswith(
        "PackageNotFoundError: No package metadata was found for no-"
    )
    assert "not_installed" not in found["exception"]
    assert found["hint"].endswith("is not in the environment: reinstall no-such-thing")


@pytest.mark.parametrize(
    ("files", "hinted"),
    [
        ({"old/__init__.py": "import new\nnew.gone\n", "new.py": ""}, True),
        ({"old/__init__.py": "from new import gone\n", "new.py": ""}, True),
        (
            {"old/__init__.py": "def f(x): return x.gone\n", "defs.py": "import old\nold.f(1)\n"},
            False,
        ),
        ({"old/__init__.py": "raise ValueError('no')\n"}, False),
    ],
)
def test_a_library_that_does_not_go_with_another(tmp_path, files, hinted):
    place = tmp_path / "lib" / "site-packages"
    for name, text in files.items():
        path = (tmp_path if name == "defs.py" else place) / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
    start = f"import sys; sys.path.insert(0, {str(place)!r})\n"
    text = start + files.get("defs.py", "import old\n")
    found = failure(load(tmp_path, {"defs.py": text}, python=sys.executable))
    said = (
        "old cannot be imported with the releases of other libraries that are installed beside it"
    )
    assert found.get("hint", "").startswith(said) is hinted


@pytest.mark.parametrize(
    ("library", "hint"),
    [
        ("libodbc.so.2", "install it (on Debian: apt install unixodbc)"),
        ("libteam-1.so.0.3", "install it, or a wheel that brings it"),
    ],
)
def test_a_library_of_the_operating_system(tmp_path, library, hint):
    said = f"{library}: cannot open shared object file: No such file or directory"
    found = failure(load(tmp_path, {"defs.py": f"raise ImportError({said!r})\n"}))
    assert found["hint"] == f"{library} is a library of the operating system, not of Python: {hint}"


@pytest.mark.parametrize(
    ("files", "hint"),
    [
        (
            {"utils/setup.py": "", "utils/utils/__init__.py": "helper = 1\n"},
            "utils is the directory utils here, a project that is not installed: install it into the "
            "environment (`requirements: [./utils]`)",
        ),
        ({"utils/a.py": ""}, "utils is the directory utils here, which has no __init__.py"),
    ],
)
def test_a_directory_that_is_taken_for_a_package(tmp_path, files, hint):
    found = failure(load(tmp_path, {"defs.py": "from utils import helper\n", **files}))
    assert found["kind"] == "import_error"
    assert found["hint"] == hint


# Before 3.7 an error does not say which module lacks a name.
OLD_AND_NEW = [one for one in ("3.7", "3.13") if interpreter(one)]


@pytest.mark.parametrize("version", OLD_AND_NEW)
@pytest.mark.parametrize(
    ("files", "message", "hint"),
    [
        # A file that is run from within its own package.
        (
            {"__init__.py": "", "defs.py": "import {here}.tools", "tools.py": ""},
            "module {here} is not on the path, although __init__.py is there",
            "set working_directory to {above}",
        ),
        # The project has its packages in src.
        (
            {"defs.py": "import team.x", "src/team/__init__.py": ""},
            "module team is not on the path, although src/team/__init__.py is there",
            "set working_directory to {directory}/src, or install the project into the environment",
        ),
        ({"defs.py": "import tolos", "tools.py": ""}, "tolos is not installed", "did you mean tools?"),
        ({"defs.py": "from tools import lod", "tools.py": "load = 1"}, None, "did you mean load?"),
        ({"defs.py": "from json import dupms"}, None, "did you mean dumps?"),
        (
            {"defs.py": "import os\nint(os.environ.get('NO_SUCH_PORT'))"},
            None,
            "the environment variable NO_SUCH_PORT is not set",
        ),
        ({"defs.py": "import os\nint(os.environ.get('HOME') and None)"}, None, None),
        (
            {"defs.py": "x = 1\0"},
            "defs.py is no source text: there are null bytes in it",
            "save it as UTF-8",
        ),
        (
            {"defs.py": "import bad", "bad.py": "x = 1\0"},
            "an imported file is no source text: there are null bytes in it (imported by defs.py line 1)",
            "save it as UTF-8",
        ),
    ],
)  # fmt: skip
def test_what_lies_around_says_what_was_meant(tmp_path, version, files, message, hint):
    directory = tmp_path / "place"
    names = {"here": "place", "above": str(tmp_path), "directory": str(directory)}
    written = {name: text.replace("{here}", "place") for name, text in files.items()}
    found = failure(load(directory, written, python=interpreter(version)))
    if message is not None:
        assert found["message"].startswith(message.format(**names))
    if hint is None:
        assert "hint" not in found
    else:
        assert found["hint"].startswith(hint.format(**names))


def test_a_file_in_another_encoding_says_how_to_save_it(tmp_path):
    (tmp_path / "defs.py").write_bytes(b'x = "\xe9"\n')
    found = failure(load(tmp_path, python=sys.executable))
    assert found["kind"] == "syntax_error"
    assert found["hint"].startswith("save the file as UTF-8, or name its encoding")


@pytest.mark.parametrize(
    ("name", "message", "hint"),
    [
        ("team.nothing", "module team.nothing does not exist", "team is there, and has no nothing"),
        ("tools.part", "module tools.part does not exist", "tools is one module, and no package"),
        ("lost", "module lost does not exist", "set working_directory to {0}/src"),
    ],
)
def test_a_module_that_is_named_wrong(tmp_path, name, message, hint):
    files = {"team/__init__.py": "", "tools.py": "", "src/lost/__init__.py": ""}
    found = failure(load(tmp_path, files, kind="python_module", name=name, python=sys.executable))
    assert found["message"] == message
    assert found["hint"].startswith(hint.format(tmp_path))


def test_a_part_of_a_namespace_of_several_distributions(tmp_path):
    place = tmp_path / "lib" / "site-packages"
    (place / "shared" / "one").mkdir(parents=True)
    files = {"defs.py": f"import sys; sys.path.append({str(place)!r})\nimport shared.other"}
    found = failure(load(tmp_path / "w", files, python=sys.executable))
    assert found["hint"] == (
        "several distributions have a part of shared: install the one that has shared.other"
    )


@pytest.mark.parametrize(
    ("name", "other", "is_one"),
    [
        ("helpres", "helpers", True),
        ("dagstr", "dagster", True),
        ("numpi", "numpy", True),
        ("reqquests", "requests", True),
        ("pandas", "panda", False),
        ("dagster_aws", "dagster_dbt", False),
        ("yaml", "yaml", False),
        ("sets", "gets", True),
        ("abc", "abd", False),
    ],
)
def test_a_slip_of_the_fingers(name, other, is_one):
    assert slip(name, other) is is_one
    assert slip(other, name) is is_one
