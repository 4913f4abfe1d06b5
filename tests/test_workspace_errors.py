"""Every mistake is told with its place, key path, what was expected and what was meant."""

from __future__ import annotations

import os
from pathlib import Path
from textwrap import dedent

import pytest

from supervisor.errors import ConfigurationError, ConfigurationProblem
from supervisor.workspace import Selection, resolve

ENVIRON = {"HOME": "/home/ops", "TEAM_NAME": "x", "WORD": "secret-word", "EMPTY": ""}


def problems(
    directory: Path, *texts: str | bytes, names: tuple[str, ...] = ("w.yaml", "v.yaml")
) -> tuple[ConfigurationProblem, ...]:
    for name, text in zip(names, texts, strict=False):
        data = dedent(text).encode() if isinstance(text, str) else text
        (directory / name).write_bytes(data)
    files = tuple(Path(name) for name in names[: len(texts)])
    with pytest.raises(ConfigurationError) as caught:
        resolve(Selection(files=files), cwd=directory, environ=ENVIRON)
    for problem in caught.value.problems:
        assert problem.position.file.startswith(str(directory)), problem
        assert len(str(problem)) < 700, problem
    return caught.value.problems


def item(text: str) -> str:
    """One item of load_from; its selector stands in line 2, column 3."""
    return f"load_from:\n- {text}\n"


# text, line, column, path, part of the message, part of what was expected, what was meant
CASES: dict[str, tuple[str, int, int, str, str, str, str]] = {
    # the whole file
    "empty": ("", 1, 1, "", "the file is empty", "load_from", ""),
    "comment only": ("# x\n", 1, 1, "", "the file is empty", "load_from", ""),
    "null": ("~\n", 1, 1, "", "the file is empty", "load_from", ""),
    "empty map": ("{}\n", 1, 1, "", "load_from is missing", "load_from", ""),
    "list": ("- a\n", 1, 1, "", "a list", "a map with load_from", ""),
    "scalar": ("hello\n", 1, 1, "", 'the text "hello"', "a map with load_from", ""),
    "near miss": ("load_form: []\n", 1, 1, "load_form", "unknown key", "load_from", "load_from"),
    "selector at the top": (
        "python_file: a.py\n",
        1,
        1,
        "python_file",
        "an item of load_from",
        "",
        "",
    ),
    "load_from null": ("load_from:\n", 1, 11, "load_from", "no value", "a list of locations", ""),
    "load_from map": ("load_from: {}\n", 1, 12, "load_from", "an empty map", "a list", ""),
    "environments alone": ("environments: {}\n", 1, 1, "", "load_from is missing", "", ""),
    # text that is no YAML
    "unclosed": ("load_from: [\n", 2, 1, "", "not valid YAML", "", ""),
    "tab": ("load_from:\n\t- a\n", 2, 1, "", "a tab cannot indent", "", ""),
    "colon": ("load_from: a: b\n", 1, 13, "", "not valid YAML", "", ""),
    "duplicate key": ("load_from: []\nload_from: []\n", 2, 1, "", "twice", "", ""),
    "cycle": ("load_from: &a [*a]\n", 1, 16, "", "contains itself", "", ""),
    "no anchor": ("load_from: *a\n", 1, 12, "", "names no anchor", "", ""),
    "tag": ("load_from: !!python/name:os.system x\n", 1, 12, "", "the tag", "", ""),
    "two documents": ("load_from: []\n---\na: b\n", 2, 1, "", "second document", "", ""),
    "key is a list": ("? [a]\n: b\nload_from: []\n", 1, 3, "", "cannot be a key", "", ""),
    "NUL escape": ('load_from: "\\0"\n', 1, 12, "", "U+0000", "", ""),
    "merge of a text": ("load_from: []\n<<: x\n", 2, 1, "", "<< merges", "a map", ""),
    # items
    "item null": ("load_from:\n-\n", 2, 2, "load_from[0]", "no value", "one of python_file", ""),
    "item text": (item("a.py"), 2, 3, "load_from[0]", "a.py", "one of python_file", ""),
    "item empty": (item("{}"), 2, 3, "load_from[0]", "no selector", "python_file", ""),
    "item unknown": (
        item("python_files: a.py"),
        2,
        3,
        "load_from[0].python_files",
        "unknown key",
        "python_module",
        "python_file",
    ),
    "two selectors": (
        item("{python_file: a.py, python_module: b}"),
        2,
        23,
        "load_from[0]",
        "second selector beside python_file",
        "one",
        "",
    ),
    "our key beside the selector": (
        item("{python_file: a.py, env: {A: b}}"),
        2,
        23,
        "load_from[0].env",
        "in the map of the selector",
        "",
        "",
    ),
    # selectors
    "file empty": (item("python_file: ''"), 2, 16, "load_from[0].python_file", "empty", "a path", ""),
    "file list": (item("python_file: [a]"), 2, 16, "load_from[0].python_file", "a list", "path", ""),
    "file null": (item("python_file:"), 2, 15, "load_from[0].python_file", "no value", "path", ""),
    "file number": (
        item("python_file: {relative_path: 5}"),
        2,
        32,
        "load_from[0].python_file.relative_path",
        "the number 5",
        "a path",
        '"5" in quotes',
    ),
    "missing": (
        item("python_module: {attribute: a}"),
        2,
        18,
        "load_from[0].python_module",
        "module_name is missing",
        "dotted module name",
        "",
    ),
    "misspelt": (
        item("python_module: {modulename: a}"),
        2,
        19,
        "load_from[0].python_module.modulename",
        "unknown key",
        "attribute",
        "module_name",
    ),
    "module path": (
        item("python_module: a/b.py"),
        2,
        18,
        "load_from[0].python_module",
        "is a path",
        "dotted",
        "python_file",
    ),
    "module dots": (
        item("python_package: .a..b"),
        2,
        19,
        "load_from[0].python_package",
        "not a dotted",
        "dotted",
        "a.b",
    ),
    "attribute": (
        item("python_module: {module_name: m, attribute: a.b}"),
        2,
        46,
        "load_from[0].python_module.attribute",
        "not the name of an object",
        "an object in the module",
        "",
    ),
    "autoload attribute": (
        item("autoload_defs_module: {module_name: m, attribute: a}"),
        2,
        42,
        "load_from[0].autoload_defs_module.attribute",
        "use python_module",
        "",
        "",
    ),
    "python beside a file": (
        item("python_file: {relative_path: a.py, python: '3.8'}"),
        2,
        38,
        "load_from[0].python_file.python",
        "python_environment",
        "",
        "",
    ),
    # names
    "slash": (
        item("python_file: {relative_path: a.py, location_name: a/b}"),
        2,
        53,
        "load_from[0].python_file",
        "holds a slash",
        "",
        "",
    ),
    "dots": (
        item("python_file: {relative_path: a.py, location_name: ..}"),
        2,
        53,
        "load_from[0].python_file",
        "cannot be a file name",
        "",
        "",
    ),
    "control": (
        item('python_file: {relative_path: a.py, location_name: "a\\nb"}'),
        2,
        53,
        "load_from[0].python_file",
        "control character",
        "",
        "",
    ),
    "long": (
        item(f"python_file: {{relative_path: a.py, location_name: {'é' * 101}}}"),
        2,
        53,
        "load_from[0].python_file",
        "longer than 200 bytes",
        "",
        "",
    ),
    "twice": (
        "load_from:\n- python_file: a/b.py\n- python_file: b.py\n",
        3,
        3,
        "load_from[1].python_file",
        "taken already, at",
        "location_name",
        "",
    ),
    # environment variables
    "unset": (
        item("python_file: {relative_path: {env: TEAM_NAMES}}"),
        2,
        38,
        "load_from[0].python_file.relative_path.env",
        "TEAM_NAMES is not set",
        "",
        "TEAM_NAME",
    ),
    "unset scalar form": (
        item("python_file: {env: NOPE}"),
        2,
        22,
        "load_from[0].python_file.env",
        "NOPE is not set",
        "",
        "",
    ),
    "empty value": (
        item("python_file: {env: EMPTY}"),
        2,
        22,
        "load_from[0].python_file.env",
        "cannot be used here",
        "a path",
        "",
    ),
    "not a number": (
        item("grpc_server: {port: {env: WORD}}"),
        2,
        29,
        "load_from[0].grpc_server.port.env",
        "WORD holds a value",
        "whole number",
        "",
    ),
    "env with more": (
        item("grpc_server: {port: {env: WORD, x: 1}}"),
        2,
        23,
        "load_from[0].grpc_server.port",
        "one environment variable",
        "{env: NAME}",
        "",
    ),
    # grpc_server
    "quoted port": (
        item("grpc_server: {port: '4266'}"),
        2,
        23,
        "load_from[0].grpc_server.port",
        '"4266"',
        "whole number",
        "4266 without quotes",
    ),
    "port too big": (item("grpc_server: {port: 70000}"), 2, 23, "load_from[0].grpc_server.port", "70000", "65535", ""),
    "port true": (item("grpc_server: {port: true}"), 2, 23, "load_from[0].grpc_server.port", "true", "whole number", ""),
    "neither": (item("grpc_server: {}"), 2, 3, "load_from[0].grpc_server", "neither", "port", ""),
    "both": (
        item("grpc_server: {port: 1, socket: s}"),
        2,
        3,
        "load_from[0].grpc_server",
        "a port and a socket",
        "one of",
        "",
    ),
    "ssl text": (item("grpc_server: {port: 1, ssl: 'true'}"), 2, 31, "load_from[0].grpc_server.ssl", "true", "true or false", ""),
    "ssl env": (item("grpc_server: {port: 1, ssl: {env: WORD}}"), 2, 31, "load_from[0].grpc_server.ssl", "a map", "true or false", ""),
    "limits of a remote": (
        item("grpc_server: {port: 1, limits: {nice: 1}}"),
        2,
        26,
        "load_from[0].grpc_server.limits",
        "served elsewhere",
        "",
        "",
    ),
    # python_environment and environments
    "no target": (
        item("python_environment: {executable_path: p}"),
        2,
        23,
        "load_from[0].python_environment",
        "target is missing",
        "python_file",
        "",
    ),
    "name inside the wrong map": (
        item("python_environment: {target: {python_module: m}, location_name: n}"),
        2,
        52,
        "load_from[0].python_environment.location_name",
        "inside the target's map",
        "",
        "",
    ),
    "our key inside the target": (
        item("python_environment: {target: {python_module: {module_name: m, env: {}}}}"),
        2,
        65,
        "load_from[0].python_environment.target.python_module.env",
        "beside `target`",
        "",
        "",
    ),
    "unknown environment": (
        "environments: {risk: {}}\nload_from:\n- python_module: {module_name: m, environment: rsik}\n",
        3,
        48,
        "load_from[0].python_module.environment",
        'named "rsik"',
        "risk",
        "risk",
    ),
    "no environments": (
        item("python_module: {module_name: m, environment: risk}"),
        2,
        48,
        "load_from[0].python_module.environment",
        'named "risk"',
        "an entry of `environments`",
        "",
    ),
    "unknown default environment": (
        "defaults: {environment: x}\nload_from: []\n",
        1,
        25,
        "defaults.environment",
        'named "x"',
        "",
        "",
    ),
    "executable and requirements": (
        "environments: {e: {executable_path: p, requirements: [a]}}\nload_from: []\n",
        1,
        40,
        "environments.e",
        "cannot stand beside executable_path",
        "",
        "python",
    ),
    "name and python": (
        "environments: {e: {}}\nload_from:\n- python_environment: {name: e, python: '3', target: {python_module: m}}\n",
        3,
        33,
        "load_from[0].python_environment",
        "cannot stand beside name",
        "",
        "",
    ),
    "option as requirement": (
        "environments: {e: {requirements: [-r x.txt]}}\nload_from: []\n",
        1,
        35,
        "environments.e.requirements",
        "is an option",
        "requirements_file",
        "",
    ),
    "no requirements file": (
        "environments: {e: {requirements_file: no.txt}}\nload_from: []\n",
        1,
        39,
        "environments.e.requirements_file",
        "no.txt does not exist",
        "",
        "",
    ),
    "no project": (
        "environments: {e: {project: nope}}\nload_from: []\n",
        1,
        29,
        "environments.e.project",
        "nope does not exist",
        "",
        "",
    ),
    "environment name": (
        "environments: {a/b: {}}\nload_from: []\n",
        1,
        16,
        "environments",
        'the name "a/b"',
        "",
        "",
    ),
    # our own keys
    "duration unit": (
        item("python_module: {module_name: m, load_timeout: 5 mins}"),
        2,
        49,
        "load_from[0].python_module.load_timeout",
        "5 mins",
        "a duration",
        "5m",
    ),
    "duration without end": (item(f"python_module: {{module_name: m, load_timeout: {'1m' * 30}}}"), 2, 49, "load_from[0].python_module.load_timeout", "1m1m", "a duration", ""),
    "duration zero": (item("python_module: {module_name: m, load_timeout: 0}"), 2, 49, "load_from[0].python_module.load_timeout", "0", "at least", ""),
    "duration endless": (item("python_module: {module_name: m, load_timeout: .inf}"), 2, 49, "load_from[0].python_module.load_timeout", ".inf", "a duration", ""),
    "duration nan": (item("python_module: {module_name: m, load_timeout: .nan}"), 2, 49, "load_from[0].python_module.load_timeout", ".nan", "a duration", ""),
    "duration negative": (item("python_module: {module_name: m, stop_timeout: -1}"), 2, 49, "load_from[0].python_module.stop_timeout", "-1", "a duration", ""),
    "size too small": (
        item("python_module: {module_name: m, limits: {memory: 512}}"),
        2,
        52,
        "load_from[0].python_module.limits.memory",
        "512",
        "a size",
        "512MiB",
    ),
    "size unit": (
        item("python_module: {module_name: m, limits: {memory: 2g}}"),
        2,
        52,
        "load_from[0].python_module.limits.memory",
        "2g",
        "a size",
        "2GiB",
    ),
    "policy": (
        item("python_module: {module_name: m, restart: on_failure}"),
        2,
        44,
        "load_from[0].python_module.restart",
        "on_failure",
        "always, on-failure or never",
        "on-failure",
    ),
    "policy no": (item("python_module: {module_name: m, restart: no}"), 2, 44, "load_from[0].python_module.restart", "no (true or false)", "never", ""),
    "delays": (
        item("python_module: {module_name: m, restart: {initial_delay: 1m}}"),
        2,
        35,
        "load_from[0].python_module.restart",
        "longer than max_delay",
        "",
        "",
    ),
    "nice": (item("python_module: {module_name: m, limits: {nice: 30}}"), 2, 50, "load_from[0].python_module.limits.nice", "30", "-20 to 19", ""),
    "limit name": (
        item("python_module: {module_name: m, limits: {mem: 1GB}}"),
        2,
        44,
        "load_from[0].python_module.limits.mem",
        "unknown key mem",
        "memory",
        "",
    ),
    "start method": (
        item("python_module: {module_name: m, start_method: fork-server}"),
        2,
        49,
        "load_from[0].python_module.start_method",
        "fork-server",
        "auto, forkserver or spawn",
        "forkserver",
    ),
    "preload true": (
        item("python_module: {module_name: m, preload: true}"),
        2,
        44,
        "load_from[0].python_module.preload",
        "true (true or false) does not belong here",
        "a list of installed modules, or false",
        "",
    ),
    "env name": (
        item("python_module: {module_name: m, env: {'A=1': x}}"),
        2,
        41,
        "load_from[0].python_module.env",
        'the name "A=1"',
        "",
        "A",
    ),
    "env null": (item("python_module: {module_name: m, env: {A: }}"), 2, 44, "load_from[0].python_module.env.A", "no value", "a text", ""),
    "env list": (item("python_module: {module_name: m, env: [A=1]}"), 2, 40, "load_from[0].python_module.env", "a list", "a map", ""),
    "env file": (
        item("python_module: {module_name: m, env_file: [no.env]}"),
        2,
        46,
        "load_from[0].python_module.env_file",
        "no.env does not exist",
        "",
        "",
    ),
    "metadata": (item("python_module: {module_name: m, metadata: x}"), 2, 45, "load_from[0].python_module.metadata", '"x"', "a map", ""),
    # the legacy block
    "repository neither": ("repository: {fn: a}\n", 1, 1, "repository", "neither a module nor a file", "", ""),
    "repository both": ("repository: {module: a, file: b, fn: c}\n", 1, 1, "repository", "a module and a file", "", ""),
    "repository without fn": ("repository: {module: a}\n", 1, 13, "repository", "fn is missing", "", ""),
    "repository text": ("repository: team\n", 1, 13, "repository", '"team"', "module or file", ""),
}  # fmt: skip


@pytest.mark.parametrize("name", CASES)
def test_one_mistake_is_one_located_problem(tmp_path: Path, name: str) -> None:
    text, line, column, path, message, expected, meant = CASES[name]
    found = problems(tmp_path, text)
    assert len(found) == 1, [str(problem) for problem in found]
    problem = found[0]
    assert problem.position.file == str(tmp_path / "w.yaml")
    assert (problem.position.line, problem.position.column) == (line, column)
    assert problem.path == path
    assert message in problem.message
    assert expected in problem.expected
    assert problem.suggestion == meant
    assert "secret" not in str(problem)


def test_all_problems_of_all_files_come_at_once(tmp_path: Path) -> None:
    found = problems(
        tmp_path,
        """\
        environments: {e: {pithon: "3"}}
        load_from:
          - python_file: {relativ_path: a.py, load_timeout: soon}
          - python_module: {module_name: m, environment: f}
          - grpc_server: {}
        """,
        "load_from:\n- python_file: 5\n- nothing: x\n",
    )
    assert [(p.position.file[-6:], p.position.line) for p in found] == [
        ("w.yaml", 1),
        ("w.yaml", 3),
        ("w.yaml", 3),
        ("w.yaml", 4),
        ("w.yaml", 5),
        ("v.yaml", 2),
        ("v.yaml", 3),
    ]


def test_duplicate_names_across_files_name_both_places(tmp_path: Path) -> None:
    (found,) = problems(
        tmp_path, "load_from: [python_file: a.py]\n", "\nload_from: [python_file: x/a.py]\n"
    )
    assert str(found) == (
        f'{tmp_path}/v.yaml:2:13: load_from[0].python_file: the location name "a.py" is taken '
        f"already, at {tmp_path}/w.yaml:1:13; expected names that differ; set location_name in one "
        "of them"
    )


def test_a_file_that_cannot_be_read_is_not_blamed_on_the_others(tmp_path: Path) -> None:
    text = "load_from: [python_module: {module_name: m, environment: e}]\n"
    (found,) = problems(tmp_path, text, "environments: {e: {}\n")
    assert found.position.file == str(tmp_path / "v.yaml")


def test_environment_names_are_unique_across_files(tmp_path: Path) -> None:
    (found,) = problems(
        tmp_path, "environments: {e: {}}\nload_from: []\n", "environments: {e: {}}\nload_from: []\n"
    )
    assert found.position.file == str(tmp_path / "v.yaml")
    assert f"taken already, at {tmp_path}/w.yaml:1:16" in found.message


def test_environments_alone_in_all_files(tmp_path: Path) -> None:
    (found,) = problems(tmp_path, "environments: {e: {}}\n", "environments: {f: {}}\n")
    assert "no file says what to load" in found.message


def test_a_broken_environment_is_told_once(tmp_path: Path) -> None:
    (found,) = problems(
        tmp_path,
        "environments: {e: 5}\nload_from:\n- python_module: {module_name: m, environment: e}\n",
    )
    assert found.path == "environments.e"


def test_a_broken_env_file_is_told_at_its_own_line(tmp_path: Path) -> None:
    (tmp_path / "x.env").write_text("A=1\n=secret\nB='unclosed secret\n")
    found = problems(tmp_path, item("python_module: {module_name: m, env_file: x.env}"))
    assert {p.position.file for p in found} == {str(tmp_path / "x.env")}
    assert 2 in {p.position.line for p in found}
    assert "secret" not in "".join(map(str, found))


@pytest.mark.parametrize(
    ("data", "line", "column", "message"),
    [
        (b"load_from: []\n# \xff\xfe\n", 2, 3, "byte 0xff is not valid UTF-8"),
        ("load_from: []\n# é\x00\n".encode(), 2, 4, "control character U+0000"),
        (b"\x1b[31m", 1, 1, "control character U+001B"),
        ("load_from: []".encode("utf-16"), 1, 1, "not valid UTF-8"),
        (b"x: " + b"[" * 60, 1, 53, "deeper than 50"),
        (b"[" * 900, 1, 51, "deeper than 50"),
        (b"- " * 100_000, 1, 101, "deeper than 50"),
        (b'x: "' + b"y" * 200_000 + b'"', 1, 4, "too long"),
        (b"x: " + b"9" * 10_000, 1, 4, "cannot be read as int"),
    ],
)
def test_hostile_bytes(tmp_path: Path, data: bytes, line: int, column: int, message: str) -> None:
    found = problems(tmp_path, data)
    assert (found[0].position.line, found[0].position.column) == (line, column)
    assert message in found[0].message


def test_what_the_parser_itself_finds_too_deep(tmp_path: Path) -> None:
    (found,) = problems(tmp_path, b"[" * 100_000)
    assert found.position.line == 1
    assert found.message == "nested deeper than 50 levels"


def test_alias_bombs_are_bounded(tmp_path: Path) -> None:
    lines = ["a0: &a0 [x, x, x, x, x, x, x, x, x, x]"]
    lines += [f"a{i}: &a{i} [{', '.join([f'*a{i - 1}'] * 10)}]" for i in range(1, 30)]
    (found,) = problems(tmp_path, "\n".join(lines))
    assert "aliases expanded" in found.message


def test_merge_bombs_are_bounded(tmp_path: Path) -> None:
    lines = ["a0: &a0 {k: [" + "x, " * 1000 + "]}"]
    lines += [f"a{i}: &a{i} {{<<: *a{i - 1}, k{i}: *a{i - 1}}}" for i in range(1, 30)]
    (found,) = problems(tmp_path, "\n".join(lines))
    assert "aliases expanded" in found.message


def test_problems_are_bounded(tmp_path: Path) -> None:
    found = problems(tmp_path, "load_from:\n" + "- x\n" * 5000)
    assert 100 <= len(found) <= 1000


def test_a_file_too_large(tmp_path: Path) -> None:
    (found,) = problems(tmp_path, b"#" * (4 * 2**20 + 1))
    assert "larger than 4 MiB" in found.message


def test_files_that_are_not_there_or_not_files(tmp_path: Path) -> None:
    (tmp_path / "directory.yaml").mkdir()
    os.mkfifo(tmp_path / "pipe.yaml")
    (tmp_path / "dangling.yaml").symlink_to("nowhere")
    (tmp_path / "loop.yaml").symlink_to("loop.yaml")
    (tmp_path / "plain").write_text("")
    expected = {
        "missing.yaml": "does not exist",
        "directory.yaml": "is a directory",
        "pipe.yaml": "is not a regular file",
        "dangling.yaml": "does not exist",
        "loop.yaml": "cannot be read",
        "plain/x.yaml": "leads through a file",
        "nul\0.yaml": "no file can have",
        "x" * 300 + ".yaml": "cannot be read",
        "missing.toml": "does not exist",
    }
    with pytest.raises(ConfigurationError) as caught:
        resolve(Selection(files=tuple(map(Path, expected))), cwd=tmp_path, environ={})
    messages = {p.position.file: p.message for p in caught.value.problems}
    assert len(messages) == len(expected)
    for name, message in expected.items():
        assert message in messages[str(tmp_path / name.replace("\0", "\\x00"))]


@pytest.mark.skipif(os.geteuid() == 0, reason="root may read everything")
def test_an_unreadable_file(tmp_path: Path) -> None:
    (tmp_path / "w.yaml").touch(mode=0)
    with pytest.raises(ConfigurationError, match="permission denied"):
        resolve(Selection(files=(Path("w.yaml"),)), cwd=tmp_path, environ={})


def test_a_loop_of_directories(tmp_path: Path) -> None:
    (tmp_path / "a").symlink_to("b")
    (tmp_path / "b").symlink_to("a")
    with pytest.raises(ConfigurationError):
        resolve(Selection(files=(Path("a/w.yaml"),)), cwd=tmp_path, environ={})


def test_values_that_cannot_be_encoded(tmp_path: Path) -> None:
    (tmp_path / "w.yaml").write_text(item("python_file: {env: BAD}"))
    with pytest.raises(ConfigurationError, match="BAD holds a value"):
        resolve(Selection(files=(Path("w.yaml"),)), cwd=tmp_path, environ={"BAD": "a\udcff"})
