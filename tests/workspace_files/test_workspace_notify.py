"""Whom a workspace tells: the keys of ``notify``, which win, and what is refused."""

from __future__ import annotations

from pathlib import Path

import pytest
import workspaces
from workspaces import only, problems, read

from supervisor.notify_settings import Notify, Occasion


def test_the_keys_at_the_top_and_in_a_location(tmp_path: Path, monkeypatch) -> None:
    monkeypatch.setitem(workspaces.ENVIRON, "HOOK", "https://hooks.example/secret")
    found = read(
        tmp_path,
        "notify:\n"
        "- command: [./tell.sh, --team, 5]\n"
        "- {webhook: {env: HOOK}, headers: {X-Key: {env: HOOK}}, events: run_lost}\n"
        "load_from:\n"
        "- python_file: {relative_path: f.py, notify: [{command: tell, events: [run_late], late_after: 2h}]}\n"
        "- python_file: {relative_path: g.py, notify: []}\n"
        "- python_file: h.py\n",
    )
    here, url = str(tmp_path), "https://hooks.example/secret"
    assert found.notify == (
        Notify(command=("./tell.sh", "--team", "5"), directory=here),
        Notify(webhook=url, headers=(("X-Key", url),), directory=here, events=(Occasion.RUN_LOST,)),
    )
    assert "secret" not in repr(found.notify)
    assert "secret" not in str(found.notify[1])
    late = Notify(command=("tell",), directory=here, events=(Occasion.RUN_LATE,), late_after=7200.0)
    assert [one.notify for one in found.locations] == [(late,), (), None]
    inherited = "defaults: {notify: [{command: tell}]}\nload_from: [python_file: f.py]\n"
    own = only(read(tmp_path, inherited)).notify
    assert own == (Notify(command=("tell",), directory=here),)


@pytest.mark.parametrize(
    ("item", "said"),
    [
        ("{}", "neither of them"),
        ("{command: a, webhook: 'http://a'}", "a command and a webhook"),
        ("{webhook: 'ftp://a/b'}", "begins with http"),
        ("{webhook: 'http://'}", "begins with http"),
        ("{command: a, events: run_faild}", "run_failed"),
        ("{command: a, events: run_late}", "when a run is late"),
        ("{command: a, headers: {'a b': c}}", "header"),
        ('{command: a, headers: {a: "b\\nc"}}', "header"),
        ("{comand: a}", "command"),
    ],
)
def test_what_is_refused(tmp_path: Path, item: str, said: str) -> None:
    found = problems(tmp_path, f"notify: [{item}]\nload_from: [python_file: f.py]\n")
    assert said in "\n".join(map(str, found))
