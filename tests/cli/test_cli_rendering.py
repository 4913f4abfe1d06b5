"""How the commands say things: tables, failures, events. Documents in, text out."""

from __future__ import annotations

import io
from pathlib import Path
from typing import Any

import pytest

from supervisor.cli.events import Seen, events
from supervisor.cli.outcome import outcome_line, outcome_lines
from supervisor.cli.status import location_row
from supervisor.cli.terminal import Terminal
from supervisor.presentation import failures
from supervisor.presentation.runs import Steps
from supervisor.presentation.text import clean, paint, visible_width


def location(name: str = "risk", **fields: Any) -> Any:
    """One entry of a status document."""
    return {
        "name": name,
        "state": "ready",
        "reason": "loaded in 0.10 s",
        "since": 100.0,
        "generation": 1,
        "serving": None,
        "failure": None,
        "process": None,
        "restarts": 0,
        "restart_reason": "",
        "next_restart": None,
        "environment": {
            "name": "risk",
            "python": "3.8.18",
            "executable": "/envs/risk/bin/python",
            "prefix": "/envs/risk",
            "managed": True,
            "adding": "",
            "lacks": None,
        },
        "target": {"kind": "python_file", "name": "/w/risk.py", "attribute": None},
        "remote": None,
        "form": "python_file",
        "origin": None,
        "metadata": {},
        "warnings": [],
        "conditions": [],
        "log": {"path": "/w/risk.log"},
        **fields,
    }


def serving(**fields: Any) -> dict[str, Any]:
    return {
        "generation": 1,
        "fingerprint": "0" * 64,
        "loaded_at": 100.0,
        "load_seconds": 0.3,
        "start_seconds": 0.1,
        "alive": True,
        "counts": {"job": 3, "schedule": 2},
        "size": 10,
        "python": "3.7.16",
        "frameworks": [{"name": "dagster", "version": "0.9.22"}],
        **fields,
    }


def document(*locations: Any, **supervisor: Any) -> Any:
    return {
        "format": 1,
        "revision": 1,
        "supervisor": {
            "warnings": [],
            "conditions": [],
            "configuration_problems": [],
            **supervisor,
        },
        "locations": list(locations),
    }


MISSING = {
    "kind": "import_error",
    "message": "pandas is not installed",
    "exception": {
        "type": "ModuleNotFoundError",
        "message": "No module named 'pandas'",
        "module": "pandas",
        "not_installed": "pandas",
    },
    "frames": [
        {"file": "risk.py", "line": 1, "function": "<module>", "code": "import a", "user": True},
        {"file": "/lib/x.py", "line": 9, "function": "f", "code": "x()", "user": False},
        {"file": "a.py", "line": 2, "function": "load", "code": "import pandas", "user": True},
    ],
    "traceback": "Traceback (most recent call last):\n  whole\n",
}


# -- the terminal -------------------------------------------------------------------------------


class Tty(io.StringIO):
    def isatty(self) -> bool:
        return True


@pytest.mark.parametrize(
    ("stream", "environ", "colour"),
    [
        (io.StringIO, {}, False),
        (Tty, {}, True),
        (Tty, {"NO_COLOR": "1"}, False),
        (Tty, {"NO_COLOR": ""}, True),
        (Tty, {"TERM": "dumb"}, False),
        (io.StringIO, {"FORCE_COLOR": "1"}, True),
        (io.StringIO, {"FORCE_COLOR": "0"}, False),
        (io.StringIO, {"FORCE_COLOR": "1", "NO_COLOR": "1"}, False),
    ],
)
def test_when_there_are_colours(
    stream: type[io.StringIO], environ: dict[str, str], colour: bool
) -> None:
    assert Terminal(stream(), stream(), environ).colour is colour


def test_ci_is_not_interactive() -> None:
    assert Terminal(Tty(), Tty(), {}).interactive
    assert not Terminal(Tty(), Tty(), {"CI": "true"}).interactive
    assert not Terminal(io.StringIO(), Tty(), {}).interactive


def test_a_table_leaves_out_empty_columns_and_aligns_painted_cells() -> None:
    out = io.StringIO()
    Terminal(out, out, {}).table(
        ("A", "B", "NUMBER"),
        [[paint("x", "green"), "", "1"], ["longer", "", "22"]],
        right=frozenset({2}),
    )
    lines = out.getvalue().splitlines()
    assert [visible_width(line) for line in lines] == [14, 14, 14]
    assert lines[2] == "longer      22"


def test_a_narrow_table_drops_spare_columns_and_cuts_the_last(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv("COLUMNS", "40")
    out = io.StringIO()
    terminal = Terminal(out, out, {"COLUMNS": "40"})
    terminal.table(("NAME", "SPARE", "TEXT"), [["n" * 10, "s" * 12, "t" * 60]], spare=(1,))
    head, row = out.getvalue().splitlines()
    assert head.split() == ["NAME", "TEXT"]
    assert len(row) == 40
    assert row.endswith("t…")


def test_control_characters_of_user_code_do_not_reach_the_terminal() -> None:
    assert clean("a\x1b[2Jb\rc\x9bd\te") == "a\ufffd[2Jb\ufffdc\ufffdd\te"
    assert "\x1b" not in "".join(
        failures.render(location(failure={**MISSING, "message": "\x1b[31mred"}))
    )


def test_errors_have_a_line_each_and_a_hint() -> None:
    err = io.StringIO()
    Terminal(io.StringIO(), err, {}).error("one\ntwo", "do this")
    assert err.getvalue() == "error: one\ntwo\nhint: do this\n"


# -- failures -----------------------------------------------------------------------------------


def test_a_missing_library_names_environment_and_remedy(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    one = location(state="failed", failure=MISSING)
    one["environment"]["requirements_file"] = str(tmp_path / "risk" / "requirements.txt")
    assert failures.headline(one) == ("pandas is not installed in environment risk (python 3.8.18)")
    assert failures.remedy(one) == "add pandas to risk/requirements.txt"


def test_the_remedy_knows_what_kind_of_environment_it_is() -> None:
    one = location("my risk", failure=MISSING)
    one["environment"]["name"] = "env-0a1b2c"
    assert failures.remedy(one) == (
        "add pandas to the requirements of its environment in the workspace file"
    )
    adding = "/envs/risk/bin/python -m pip install"
    one["environment"] = {**one["environment"], "managed": False, "adding": adding}
    assert failures.remedy(one) == ("install it there: /envs/risk/bin/python -m pip install pandas")
    near = {**MISSING, "hint": "did you mean pandra?"}
    assert failures.remedy({**one, "failure": near}) == (
        "install it there: /envs/risk/bin/python -m pip install pandas; or did you mean pandra?"
    )
    old = {"kind": "import_error", "message": "pkg_resources is not installed"}
    assert str(failures.remedy({**one, "failure": old})).endswith("pip install 'setuptools<81'")
    brief = {"kind": "import_error", "message": "yaml is not installed (imported by a.py line 2)"}
    assert str(failures.remedy({**one, "failure": brief})).endswith("pip install pyyaml")
    slipped = {**one["failure"], "hint": "did you mean pandsa?"}
    assert str(failures.remedy({**one, "failure": slipped})).startswith(
        "did you mean pandsa? if not, install it there: "
    )
    system = {**one, "environment": {**one["environment"], "adding": ""}}
    assert failures.remedy(system) == (
        'give it an environment: `environments: {"my risk": {requirements: [pandas]}}` at the top of the '
        'workspace file, and `environment: "my risk"` in its entry'
    )
    lacking = {**one["environment"], "lacks": "/w/risk/.venv", "adding": "uv sync"}
    project = {**one, "environment": lacking}
    assert failures.remedy(project) == (
        "no .venv in /w/risk: run `uv sync` there; or SUPERVISE_ENVIRONMENTS=managed has one made"
    )
    absent = {"kind": "missing_module", "message": "module risk does not exist", "hint": "look"}
    assert failures.remedy({**project, "failure": absent}) == failures.remedy(project)
    assert str(
        failures.remedy({**project, "failure": {**absent, "hint": "did you mean x?"}})
    ).endswith("=managed has one made; or did you mean x?")
    undeclared = {**project, "environment": {**lacking, "adding": ""}}
    assert str(failures.remedy(undeclared)).endswith("supervise.yaml`, which has one made")
    here = {**project["environment"], "lacks": str(Path.cwd() / ".venv"), "adding": "pdm install"}
    assert str(failures.remedy({**project, "environment": here})).startswith(
        "no .venv here: run `pdm install`; or "
    )
    assert failures.headline({**one, "failure": brief}) == (
        "yaml is not installed (imported by a.py line 2) in environment env-0a1b2c (python 3.8.18)"
    )
    assert failures.remedy({**one, "failure": {**brief, "hint": "did you mean b?"}}) == (
        f"install it there: {adding} pyyaml; or did you mean b?"
    )


def test_the_users_own_frames_come_first_and_libraries_not_at_all() -> None:
    lines = failures.render(location(state="failed", failure=MISSING))
    assert lines[1:6] == [
        "  risk.py:1",
        "    import a",
        "  a.py:2 in load",
        "    import pandas",
        "ModuleNotFoundError: No module named 'pandas'",
    ]
    assert not any("x.py" in line for line in lines)
    whole = failures.render(location(state="failed", failure=MISSING), traceback=True)
    assert "  whole" in whole


def test_causes_are_shown_with_how_they_are_related() -> None:
    chained = {
        **MISSING,
        "causes": [{"relation": "cause", "type": "OSError", "message": "gone", "frames": []}],
    }
    text = "\n".join(failures.render(location(failure=chained)))
    assert text.index("ModuleNotFoundError") < text.index("caused by:\nOSError: gone")


def test_the_words_of_an_exception_are_indented_and_cut_in_the_middle() -> None:
    exception = {"type": "ValueError", "message": "\n".join(f"{n}" for n in range(30))}
    lines = failures.render(location(failure={**MISSING, "exception": exception}))
    at = lines.index("ValueError: 0")
    assert lines[at + 1 : at + 18] == [
        *(f"  {n}" for n in range(1, 9)),
        "  … 13 more lines",
        *(f"  {n}" for n in range(22, 30)),
    ]


def test_a_cause_with_the_same_words_is_told_once() -> None:
    again = {"relation": "context", "type": "OSError", "message": "gone", "frames": []}
    text = "\n".join(failures.render(location(failure={**MISSING, "causes": [again, again]})))
    assert text.count("OSError: gone") == 1


def test_a_deep_traceback_is_cut_in_the_middle() -> None:
    frame = {"function": "f", "code": "f()", "user": True}
    many = [{**frame, "file": "deep.py", "line": n} for n in range(1, 21)]
    lines = failures.render(location(failure={**MISSING, "frames": many}))
    assert "  deep.py:1 in f" in lines
    assert "  … 14 more frames" in lines
    assert "  deep.py:20 in f" in lines


def test_the_end_of_an_installers_words_is_where_the_reason_stands() -> None:
    lines = [*("Downloading x" for _ in range(50)), *(f"line {n}" for n in range(60)), "the reason"]
    failed = {"kind": "environment", "message": "cannot be installed", "detail": "\n".join(lines)}
    shown = failures.render(location(failure=failed))[1:]
    assert (shown[0], shown[-1], len(shown)) == ("  line 0", "  the reason", 40)
    assert "  … 22 more lines" in shown
    assert len(failures.render(location(failure=failed), traceback=True)) == 112


def test_an_installers_own_words_are_kept() -> None:
    failed = {
        "kind": "environment",
        "message": "environment risk (python 3.8.18) cannot be resolved",
        "hint": "change its requirements, or its python",
        "detail": "No solution found:\n  because a needs b",
    }
    assert failures.render(location(failure=failed)) == [
        "environment risk (python 3.8.18) cannot be resolved",
        "  No solution found:",
        "    because a needs b",
        "hint: change its requirements, or its python",
    ]


def test_last_log_lines_leave_out_the_supervisors_own() -> None:
    tail = [
        {"time": 0.1, "stream": "out", "text": "said by an earlier process"},
        {"time": 0.2, "stream": "sup", "text": "generation 1 started as pid 5"},
        {"time": 1.0, "stream": "out", "text": "said this"},
        {"time": 2.0, "stream": "sup", "text": "generation 1 failed"},
    ]
    lines = failures.render(location(failure=MISSING, log={"path": "", "tail": tail}), log_lines=5)
    assert lines[-2:] == ["last log lines:", "  said this"]


def test_a_stack_in_the_log_has_the_frames_of_the_team_alone() -> None:
    stack = [
        "Current thread 0x1:", '  File "/srv/risk.py", line 3 in connect',
        '  File "/opt/overlay/runner_shim/loading/target.py", line 80 in load',
        '  File "<frozen importlib._bootstrap>", line 241 in _call_with_frames_removed',
    ]  # fmt: skip
    tail = [{"time": 1.0, "stream": "err", "text": text} for text in stack]
    timeout = {"kind": "timeout", "message": "starting took longer than 5 s"}
    lines = failures.render(location(failure=timeout, log={"path": "", "tail": tail}), log_lines=5)
    assert lines[-2:] == ["  " + line for line in stack[:2]]


def test_what_died_too_often_says_how_often() -> None:
    died = {"kind": "died", "message": "the process was killed by SIGSEGV while loading"}
    one = location(state="crashed", failure=died, reason="died 6 times within 60 s; the last …")
    assert failures.headline(one) == "died 6 times within 60 s; the last …"
    assert outcome_line(one) == "risk: crashed — died 6 times within 60 s; the last …"


def test_an_exception_that_the_sentence_has_whole_is_not_told_again() -> None:
    words = "got <Job object at 0x7eff10>"
    failure = {
        "kind": "exception",
        "message": f"CheckError: {words} (at a.py line 3)",
        "exception": {"type": "CheckError", "message": words},
        "frames": [{"file": "a.py", "line": 3, "code": "Definitions()", "user": True}],
    }
    one = location(state="failed", failure=failure)
    assert "\n".join(failures.render(one)).count(words) == 1
    failure["exception"] = {"type": "CheckError", "message": f"{words}\nand more"}
    assert failures.render(one)[-1] == "  and more"


@pytest.mark.parametrize(("alive", "word"), [(True, "still serving"), (False, "last served")])
def test_only_what_runs_is_still_serving(alive: bool, word: str) -> None:
    """Also of one whose new process loads already."""
    one = location(state="loading", process={"memory": None}, serving=serving(alive=alive))
    terminal = Terminal(io.StringIO(), io.StringIO(), {})
    assert location_row(terminal, one, 100.0)[-1].startswith(f"{word} generation 1: 3 jobs")


def test_no_failure_no_lines() -> None:
    assert failures.render(location()) == []
    assert failures.remedy(location()) is None


# -- outcomes and events ------------------------------------------------------------------------


def test_outcome_lines() -> None:
    ready = location(serving=serving())
    assert outcome_line(ready) == (
        "risk: ready in 0.40s — 3 jobs, 2 schedules (python 3.7.16, dagster 0.9.22)"
    )
    diff: Any = {"added": ["job:new"], "removed": [], "changed": []}
    assert outcome_line(ready, diff=diff) == "risk: ready in 0.40s, generation 1 — added job:new"
    failed = location(state="failed", failure=MISSING, serving=serving())
    first, *rest = outcome_lines(failed)
    assert first.endswith("; generation 1 is still served")
    assert all(line.startswith("  ") for line in rest)
    gone = location(state="backoff", reason="died", serving=serving(alive=False))
    assert outcome_line(gone) == "risk: backoff — died"
    message = "syntax error in a.py\n    def f(\n         ^"
    caret: Any = {**MISSING, "kind": "syntax_error", "message": message, "exception": None}
    wrong = location(state="failed", failure=caret, serving=serving())
    first, *source = outcome_line(wrong).split("\n")
    assert first == "risk: failed — syntax error in a.py; generation 1 is still served"
    assert source == ["    def f(", "         ^"]
    frames = [{"file": "a.py", "line": 1, "code": "def f(", "user": True}]
    caret |= {"frames": frames, "exception": {"type": "SyntaxError", "message": "…"}}
    assert outcome_lines(wrong) == [outcome_line(wrong)], "said once"
    stopped = location(state="stopped", reason="stopped by the operator")
    assert outcome_lines(stopped) == ["risk: stopped — stopped by the operator"]


def test_events_of_a_life() -> None:
    starting = location(state="starting", reason="the supervisor started", environment=None)
    ready = location(serving=serving(), since=101.0)
    (first,) = events(None, document(starting))
    assert first.text == "risk: starting — the supervisor started"
    (second,) = events(Seen(document(starting)), document(ready))
    assert (second.location, second.before) == ("risk", None)
    assert "diff" not in second.wants
    assert events(Seen(document(ready)), document(ready)) == []
    again = location(serving=serving(generation=2), generation=2, since=102.0)
    (third,) = events(Seen(document(ready)), document(again))
    assert third.wants == {"diff"}
    assert third.before == 1
    assert third.notable
    failed = location(state="failed", generation=3, failure=MISSING, serving=serving())
    (fourth,) = events(Seen(document(again)), document(failed))
    assert fourth.wants == {"failure"}
    (fifth,) = events(Seen(document(failed)), document())
    assert fifth.text == "risk: removed from the workspace"


@pytest.mark.parametrize(
    ("state", "lines"), [("starting", 1), ("loading", 1), ("ready", 2), ("backoff", 1)]
)
def test_a_death_is_told_however_late_it_is_looked_at(state: str, lines: int) -> None:
    before = location(serving=serving())
    why = "the process was killed by SIGKILL while serving"
    after = location(
        state=state, generation=2, since=102.0, serving=serving(generation=2),
        restarts=1, restart_reason=why, reason=f"{why}; restart 1 in 0.0 s",
    )  # fmt: skip
    found = events(Seen(document(before)), document(after))
    assert len(found) == lines
    assert all(one.notable for one in found)
    if state == "backoff":
        assert found[0].wants == {"failure"}, "its reason says it"
    else:
        assert found[0].text == f"risk: {why}; it is started again"
    assert not [one for one in events(Seen(document(after)), document(after)) if one.text]


def test_a_build_is_told_by_stage_and_not_by_line() -> None:
    def at(reason: str) -> Any:
        return document(location(state="starting", reason=reason))

    assert events(Seen(at("install: a")), at("install: b")) == []
    assert [one.text for one in events(Seen(at("create: a")), at("install: b"))] == [
        "risk: starting — install: b"
    ]


def test_events_of_the_workspace() -> None:
    problem = {"file": "/w.yaml", "line": 2, "column": 5, "path": "x", "message": "is unknown"}
    broken = document(configuration_problems=[problem])
    (first,) = events(Seen(document()), broken)
    assert first.wants == {"problems"}
    assert events(Seen(broken), broken) == []
    assert [one.text for one in events(Seen(broken), document())] == [
        "the workspace has no problems any more"
    ]
    condition = {"key": "disk", "message": "the disk is full", "hint": "make room", "since": 1.0}
    full = document(warnings=["the disk is full"], conditions=[condition])
    (told,) = events(Seen(document()), full)
    assert told.text == "warning: the disk is full\n  hint: make room"
    assert events(Seen(full), full) == []
    assert [one.text for one in events(Seen(full), document())] == ["resolved: the disk is full"]
    (noted,) = events(Seen(document()), document(warnings=["old form"]))
    assert noted.text == "warning: old form"


def test_a_step_that_was_cancelled_has_not_failed() -> None:
    def event(kind: str, step: str | None, failure: str = "") -> Any:
        data = {"failure": {"kind": failure}} if failure else None
        return {"type": kind, "step": step, "time": 1.0, "message": "", "data": data}

    steps = Steps()
    assert steps.line(event("STEP_FAILURE", "a", "exception")) == "a: failed after 0.00s"
    assert steps.line(event("STEP_FAILURE", "b", "interrupted")) == "b: cancelled after 0.00s"
    assert steps.line(event("STEP_FAILURE", "c", "signal")) == "c: failed after 0.00s"
    steps.line(event("RUN_CANCELING", None))
    assert steps.line(event("STEP_FAILURE", "c", "signal")) == "c: cancelled after 0.00s"
    assert steps.line(event("STEP_FAILURE", "d", "exception")) == "d: failed after 0.00s"
    assert steps.line(event("STEP_SKIPPED", "e")) == "e: skipped"
