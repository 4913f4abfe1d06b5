"""The workspace's files as a source: refused at once, broken later, and never another workspace's."""

from __future__ import annotations

from pathlib import Path

import pytest
from workspaces import WORKSPACE

from supervisor.errors import ConfigurationError
from supervisor.fleet.workspace import WorkspaceFiles
from supervisor.workspace_files import Selection

BROKEN = WORKSPACE + "nothing: 5\n"


def workspace(folder: Path, *files: str) -> WorkspaceFiles:
    return WorkspaceFiles(Selection(files=tuple(map(Path, files))), cwd=folder, environ={})


async def test_what_is_broken_at_the_start_is_refused_and_later_is_a_problem(tmp_path):
    file = tmp_path / "workspace.yaml"
    file.write_text(BROKEN)
    with pytest.raises(ConfigurationError) as caught:
        workspace(tmp_path, "workspace.yaml")
    file.write_text(WORKSPACE)
    source = workspace(tmp_path, "workspace.yaml")
    assert (await source.read()).problems == ()
    file.write_text(BROKEN)
    again = await source.read()
    assert again.problems == caught.value.problems
    assert [one.name for one in again.entries] == ["w.py"]
    assert source.spec.files == (file,)


async def test_a_search_never_ends_at_another_workspace(tmp_path):
    above, here = tmp_path / "workspace.yaml", tmp_path / "here" / "workspace.yaml"
    here.parent.mkdir()
    above.write_text(WORKSPACE)
    here.write_text(WORKSPACE)
    source = workspace(here.parent)
    await source.read()
    here.unlink()
    with pytest.raises(ConfigurationError) as caught:
        await source.read()
    assert f"a search finds {above} now" in str(caught.value)
    assert caught.value.problems[0].position.file == str(here)
    here.write_text(WORKSPACE)
    assert (await source.read()).problems == ()
    above.unlink()
    here.unlink()
    with pytest.raises(ConfigurationError):
        await source.read()


async def test_what_changed_while_nothing_could_be_read_is_told_afterwards(tmp_path):
    file, requirements = tmp_path / "workspace.yaml", tmp_path / "requirements.txt"
    text = WORKSPACE + "environments: {e: {requirements_file: requirements.txt}}\n"
    text = text.replace("python_file: w.py", "python_file: {relative_path: w.py, environment: e}")
    file.write_text(text)
    requirements.write_text("")
    source = workspace(tmp_path)
    await source.read()
    file.unlink()
    source.inputs_changed({str(requirements)}, False)
    with pytest.raises(ConfigurationError):
        await source.read()
    file.write_text(text)
    assert (await source.read()).outdated == {"w.py": "requirements.txt changed"}
    assert (await source.read()).outdated == {}
