"""What is said about a target that cannot be loaded."""

from __future__ import annotations

import sys

import pytest
from loading import every_interpreter, failure, interpreter, keys, load

OLDEST_AND_NEWEST = [every_interpreter()[0], every_interpreter()[7]]


@pytest.mark.parametrize("python", every_interpreter())
def test_missing_library_three_modules_deep(tmp_path, python):
    found = failure(
        load(
            tmp_path,
            {
                "defs.py": "import one\n",
                "one.py": "import pkg.two\n",
                "pkg/__init__.py": "",
                "pkg/two.py": "\n\ndef f():\n    import pandsa.core\nf()\n",
            },
            python=python,
        )
    )
    assert found["kind"] == "import_error"
    assert found["message"] == "pandsa is not installed (imported by pkg/two.py line 4)"
    assert (found["file"], found["line"]) == ("pkg/two.py", 4)
    assert found["exception"] == {
        "type": "ModuleNotFoundError",
        "message": "No module named 'pandsa'",
        "module": "pandsa",
        "not_installed": "pandsa",
    }
    assert found["frames"] == [
        frame("defs.py", 1, "<module>", "import one"),
        frame("one.py", 1, "<module>", "import pkg.two"),
        frame("pkg/two.py", 5, "<module>", "f()"),
        frame("pkg/two.py", 4, "f", "import pandsa.core"),
    ]
    # Repairing any of them is a reason to try again, and so is a file that appears.
    names = ["defs.py", "one.py", "pkg/__init__.py", "pkg/two.py"]
    assert found["files"] == [str(tmp_path / name) for name in names]
    assert str(tmp_path / "pandsa.py") in found["missing"]
    assert "runner_shim" not in found["traceback"]
    assert "importlib" not in found["traceback"]


def frame(file, line, function, code, user=True):
    return {"file": file, "line": line, "function": function, "code": code, "user": user}


def test_missing_module_of_the_teams_own_package(tmp_path):
    found = failure(
        load(
            tmp_path,
            {
                "defs.py": "from risk import model\nimport risk.modle\n",
                "risk/__init__.py": "",
                "risk/model.py": "",
            },
        )
    )
    assert found["kind"] == "import_error"
    assert found["message"] == "module risk.modle does not exist (imported by defs.py line 2)"
    assert found["hint"] == "did you mean model?"
    assert "not_installed" not in found["exception"]
    looked = {"risk/modle", "risk/modle.py", "risk.py"}
    assert {str(tmp_path / one) for one in looked} <= set(found["missing"])
    assert str(tmp_path / "modle.py") not in found["missing"]


def test_module_beside_the_file_but_not_on_the_path(tmp_path):
    found = failure(
        load(
            tmp_path / "top",
            {"sub/defs.py": "import helper\n", "sub/helper.py": ""},
            name="sub/defs.py",
        )
    )
    assert "module helper is not on the path, although sub/helper.py is there" in found["message"]
    assert found["hint"] == f"set working_directory to {tmp_path / 'top' / 'sub'}"


def test_missing_submodule_of_a_library(tmp_path):
    found = failure(load(tmp_path, {"defs.py": "import json.decoderr\n"}))
    assert found["message"] == "module json.decoderr does not exist (imported by defs.py line 1)"
    assert "not_installed" not in found["exception"]


def test_cannot_import_name_and_a_circle(tmp_path):
    found = failure(
        load(
            tmp_path,
            {
                "defs.py": "import a\n",
                "a.py": "from b import x\n",
                "b.py": "from a import y\nx = 1\n",
            },
        )
    )
    assert found["kind"] == "import_error"
    assert "two modules import each other" in found["hint"]
    assert (found["file"], found["line"]) == ("b.py", 1)


@pytest.mark.parametrize("python", every_interpreter())
def test_relative_import_says_which_target_to_use(tmp_path, python):
    files = {
        "top/risk/__init__.py": "",
        "top/risk/sub/__init__.py": "",
        "top/risk/sub/defs.py": "from .other import thing\n",
        "top/risk/sub/other.py": "thing = 1\n",
    }
    found = failure(load(tmp_path, files, name="top/risk/sub/defs.py", python=python))
    assert found["kind"] == "relative_import"
    assert found["hint"] == (
        f"load it with python_module: risk.sub.defs and working_directory: {tmp_path / 'top'}"
    )
    assert (found["file"], found["line"]) == ("top/risk/sub/defs.py", 1)


def test_relative_import_in_a_folder_without_init(tmp_path):
    found = failure(load(tmp_path, {"risk/defs.py": "from . import other\n"}, name="risk/defs.py"))
    assert found["hint"] == (
        f"load it with python_module: risk.defs and working_directory: {tmp_path}"
    )


@pytest.mark.parametrize("python", every_interpreter())
def test_syntax_error_in_an_imported_module(tmp_path, python):
    found = failure(
        load(
            tmp_path,
            {"defs.py": "import broken\n", "broken.py": "x = 1\nif x:\n    y = = 2\n"},
            python=python,
        )
    )
    assert found["kind"] == "syntax_error"
    first, code, caret = found["message"].splitlines()
    assert first == "syntax error in broken.py line 3: invalid syntax"
    assert code == "    y = = 2"
    assert caret.strip() == "^"
    assert caret.index("^") - 4 == len("y = ")
    assert (found["file"], found["line"]) == ("broken.py", 3)
    assert [f["file"] for f in found["frames"]] == ["defs.py", "broken.py"]
    assert found["frames"][-1]["code"] == "y = = 2"
    assert found["files"] == [str(tmp_path / "broken.py"), str(tmp_path / "defs.py")]


@pytest.mark.skipif(interpreter("3.6") is None, reason="no python 3.6 here")
@pytest.mark.parametrize(
    ("line", "what"),
    [
        ("match x:\n    case 1: pass", "the match statement needs python 3.10, this is python 3.6"),
        ("if (n := 1): pass", "assignment expressions (:=) needs python 3.8"),
        ("def f(a, /): pass", "positional-only parameters needs python 3.8"),
        ("def f[T](a): pass", "type parameter syntax needs python 3.12"),
        ("from __future__ import annotations", "needs python 3.7, this is python 3.6"),
        ("print 'x'", "this is python 2 syntax"),
        ("try: pass\nexcept ValueError, e: pass", "this is python 2 syntax"),
    ],
)
def test_syntax_of_another_python(tmp_path, line, what):
    found = failure(load(tmp_path, {"defs.py": line}, python=interpreter("3.6")))
    assert found["kind"] == "syntax_error"
    assert what in found["hint"]


def test_indentation(tmp_path):
    found = failure(load(tmp_path, {"defs.py": "if 1:\nx = 1\n"}))
    assert found["message"].startswith("indentation error in defs.py line 2: expected an indented")


@pytest.mark.parametrize(
    "line",
    [
        "os.environ['RISK_REGION']",
        "os.environb[b'RISK_REGION']",
        "del os.environ['RISK_REGION']",
        "int(os.environ.pop('RISK_REGION'))",
    ],
)
def test_a_variable_that_is_not_set_has_a_remedy(tmp_path, line):
    found = failure(load(tmp_path, {"defs.py": f"import os\n{line}\n"}))
    assert found["hint"] == (
        "the environment variable RISK_REGION is not set: set it in the location's env or env_file, "
        "or in a .env beside the workspace"
    )


def test_a_variable_that_is_not_set_as_the_cause_of_another_error(tmp_path):
    text = "import os\ntry:\n    os.environ['A_B']\nexcept KeyError as e:\n    raise ValueError('no region') from e\n"
    assert "variable A_B is not set" in failure(load(tmp_path, {"defs.py": text}))["hint"]


@pytest.mark.parametrize(
    "said",
    [
        "Environment variable 'REGION_OF_RISK' is not set",
        "REGION_OF_RISK environment variable is required",
        "Missing required env var: REGION_OF_RISK",
        'You have attempted to fetch the environment variable \\"REGION_OF_RISK\\" which is not set.',
        "missing key\\n\\tIn Environment Variables key REGION_OF_RISK was not found.",
    ],
)
def test_a_variable_that_an_error_speaks_of_has_a_remedy(tmp_path, said):
    found = failure(load(tmp_path, {"defs.py": f'raise ValueError("{said}")\n'}))
    assert found["hint"].startswith("the environment variable REGION_OF_RISK is not set: set it in")


def test_the_sentence_is_the_first_line_and_the_exception_has_all(tmp_path):
    found = failure(load(tmp_path, {"defs.py": "raise ValueError('one\\n  two')\n"}))
    assert found["message"] == "ValueError: one … (at defs.py line 1)"
    assert found["exception"]["message"] == "one\n  two"


@pytest.mark.parametrize("said", ["the environment variable HOME is wrong", "NO VARIABLE AT ALL"])
def test_what_is_set_or_no_variable_has_no_remedy(tmp_path, said):
    assert "hint" not in failure(load(tmp_path, {"defs.py": f'raise ValueError("{said}")\n'}))


def test_another_key_error_has_no_remedy(tmp_path):
    assert "hint" not in failure(load(tmp_path, {"defs.py": "{}['RISK_REGION']\n"}))


def test_plain_mistakes_get_no_version_hint(tmp_path):
    found = failure(load(tmp_path, {"defs.py": "def f(:\n    pass\n"}))
    assert "hint" not in found


@pytest.mark.parametrize("text", ["x = 'a\x00b'\n", "x = 1\n\tif x:\n", "# coding: nonsense\n"])
def test_unreadable_sources_are_located_in_their_file(tmp_path, text):
    found = failure(load(tmp_path, {"defs.py": "import broken\n", "broken.py": text}))
    assert found["kind"] in ("syntax_error", "exception")
    assert str(tmp_path / "defs.py") in found["files"]


@pytest.mark.parametrize("python", OLDEST_AND_NEWEST)
@pytest.mark.parametrize(
    ("code", "said"),
    [("3", "sys.exit(3)"), ("", "sys.exit()"), ("'bye'", "sys.exit('bye')")],
)
def test_system_exit(tmp_path, python, code, said):
    found = failure(load(tmp_path, {"defs.py": f"import sys\nsys.exit({code})\n"}, python=python))
    assert found["kind"] == "system_exit"
    assert found["message"] == f"{said} was called while loading (at defs.py line 2)"
    assert found["exception"]["type"] == "SystemExit"


def test_keyboard_interrupt_is_a_failure(tmp_path):
    found = failure(load(tmp_path, {"defs.py": "raise KeyboardInterrupt\n"}))
    assert (found["kind"], found["exception"]["type"]) == ("exception", "KeyboardInterrupt")


@pytest.mark.parametrize("python", OLDEST_AND_NEWEST)
def test_recursion_is_bounded(tmp_path, python):
    found = failure(
        load(tmp_path, {"defs.py": "def f():\n    f()\n\ndef g():\n    f()\ng()\n"}, python=python)
    )
    assert found["kind"] == "exception"
    assert found["exception"]["type"] == "RecursionError"
    assert len(found["frames"]) == 51
    assert found["frames"][1]["function"] == "g"
    assert "frames left out" in found["frames"][10]["file"]
    assert len(found["traceback"]) <= 65536 + 1


@pytest.mark.parametrize("python", OLDEST_AND_NEWEST)
def test_an_exception_that_cannot_be_printed(tmp_path, python):
    found = failure(
        load(
            tmp_path,
            {
                "defs.py": """\
                    class Bad(Exception):
                        def __str__(self):
                            raise ValueError
                        __repr__ = __str__
                    raise Bad()
                    """
            },
            python=python,
        )
    )
    assert found["message"] == "Bad: <unprintable Bad> (at defs.py line 5)"
    assert found["exception"]["type"] == "defs.Bad"


def test_huge_and_unencodable_messages_are_cut(tmp_path):
    found = failure(load(tmp_path, {"defs.py": "raise ValueError('\\udc80' + 'x' * 10**6)\n"}))
    assert len(found["message"]) < 20000
    assert len(found["traceback"]) <= 65536 + 1
    found["message"].encode()
    found["traceback"].encode()


def test_causes_and_contexts(tmp_path):
    found = failure(
        load(
            tmp_path,
            {
                "defs.py": """\
                    try:
                        try:
                            {}["key"]
                        except KeyError:
                            int("x")
                    except ValueError as error:
                        raise RuntimeError("no configuration") from error
                    """
            },
        )
    )
    assert found["message"] == "RuntimeError: no configuration (at defs.py line 7)"
    assert [(c["relation"], c["type"]) for c in found["causes"]] == [
        ("cause", "ValueError"),
        ("context", "KeyError"),
    ]
    assert found["causes"][1]["frames"] == [frame("defs.py", 3, "<module>", '{}["key"]')]


@pytest.mark.skipif(sys.version_info < (3, 11), reason="exception groups")
def test_members_of_an_exception_group(tmp_path):
    found = failure(
        load(
            tmp_path, {"defs.py": "raise ExceptionGroup('two', [ValueError('a'), OSError('b')])\n"}
        )
    )
    assert [(c["relation"], c["type"]) for c in found["causes"]] == [
        ("member", "ValueError"),
        ("member", "OSError"),
    ]


def test_a_chain_that_is_a_circle_ends(tmp_path):
    text = "a, b = ValueError('a'), ValueError('b')\na.__cause__, b.__cause__ = b, a\nraise a\n"
    found = failure(load(tmp_path, {"defs.py": text}))
    assert [c["message"] for c in found["causes"]] == ["b"]


def test_frames_of_libraries_are_not_the_users(tmp_path):
    found = failure(load(tmp_path, {"defs.py": "import json\njson.loads('{')\n"}))
    assert [f["user"] for f in found["frames"]][0] is True
    assert not any(f["user"] for f in found["frames"][1:])
    assert (found["file"], found["line"]) == ("defs.py", 2)


def test_a_module_that_replaces_what_we_use(tmp_path):
    text = "import os, sys\nsys.path[:] = [None, 5, '']\nsys.modules['odd'] = 5\nimport nope\n"
    found = failure(load(tmp_path, {"defs.py": text}))
    assert found["exception"]["not_installed"] == "nope"


@pytest.mark.parametrize("name", ["traceback", "linecache", "difflib", "json", "re", "types"])
def test_files_named_as_the_modules_we_need(tmp_path, name):
    text = f"import {name}\n{name}.MARK\nfrom runner_shim import job\n@job(tags={{'a': 1}})\ndef a(): pass\nimport nope\n"
    found = failure(load(tmp_path, {"defs.py": text, f"{name}.py": "MARK = 1\n"}))
    if "not_installed" in found["exception"]:
        assert found["exception"]["not_installed"] == "nope"
        assert found["frames"][-1]["code"] == "import nope"
        assert "Traceback" in found["traceback"]
    else:  # the interpreter had the real one before, as it would have for any program
        assert found["message"].startswith("AttributeError")


def test_a_file_that_hides_the_library_it_imports(tmp_path):
    text = "import json\njson.loads\nraise AttributeError('x')\n"
    found = failure(load(tmp_path, {"json.py": text}, name="json.py"))
    assert [w["code"] for w in found["warnings"]] == ["module_name_taken"]


def test_a_target_that_breaks_the_interpreter(tmp_path):
    text = "import os\nos.path.realpath = None\nraise ValueError('x')\n"
    found = failure(load(tmp_path, {"defs.py": text}))
    assert found["kind"] == "exception"
    assert "judging it raised TypeError" in found["message"]


def test_names_that_are_no_text_can_be_sent(tmp_path):
    text = (
        "from runner_shim import *\nodd = '\\udc80'\n"
        "d = Definitions(jobs=[JobDefinition('j' + odd, tags={odd: odd})], resources={odd: 1})\n"
        "r = RepositoryDefinition('r' + odd, {'jobs': {odd: len}})\n"
    )
    name = "d\udcff.py"
    (tmp_path / name).write_text(text)
    answer = load(tmp_path, name=name, attribute="d")
    assert keys(answer) == ["job:j\\udc80", "resource:\\udc80"]
    str(answer).encode()
    answer = load(tmp_path, name=name, attribute="r")
    assert keys(answer) == ["job:\\udc80"]
    str(answer).encode()


def test_a_compiled_librarys_own_source_is_not_the_teams(tmp_path):
    """Cython names the .pyx file that it was compiled from, relative to a directory elsewhere."""
    library = "exec(compile('raise ImportError(1)', 'pandas/_libs/interval.pyx', 'exec'))\n"
    defs = f"import sys\nsys.path.append('{tmp_path}/site-packages')\nimport pandas\n"
    files = {"defs.py": defs, "site-packages/pandas.py": library}
    found = failure(load(tmp_path, files))
    assert (found["file"], found["line"]) == ("defs.py", 3)
    assert found["message"].endswith("(at defs.py line 3)")
