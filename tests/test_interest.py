"""Which changed files concern a location: content decides, and what came while nobody looked."""

from __future__ import annotations

import os
import time
from pathlib import Path

import pytest

from supervisor.interest import Interest
from supervisor.specs import LocationSpec, Target, TargetKind


def spec(folder: Path, kind=TargetKind.PYTHON_FILE, name="defs.py") -> LocationSpec:
    if kind is TargetKind.PYTHON_FILE:
        name = str(folder / name)
    return LocationSpec("risk", Target(kind, name, folder))


@pytest.fixture
def folder(tmp_path):
    for name in ("defs.py", "lib.py"):
        (tmp_path / name).write_text(f"# {name}\n")
    return tmp_path


def loaded(folder, *names, since=None, failed=False, watch=(), interest=None, of=None):
    interest = interest or Interest()
    files = [str(folder / name) for name in names]
    interest.take(of or spec(folder), files, watch, loaded_since_ns=since, keep=failed)
    return interest


def hears(interest, *paths, failed=False):
    found = interest.concerned({str(path) for path in paths}, failed=failed)
    return {Path(path).name for path in found}


def later() -> int:
    """A moment before which everything that exists was written."""
    return time.time_ns() + 60 * 10**9


EARLIER = 1  # and one after which


def test_only_files_that_were_loaded_and_only_content_that_differs(folder):
    interest = loaded(folder, "defs.py", "lib.py")
    (folder / "other.py").write_text("x = 1\n")
    assert hears(interest, folder / "defs.py", folder / "other.py") == set()
    os.utime(folder / "lib.py")
    assert hears(interest, folder / "lib.py") == set()
    (folder / "lib.py").write_text("# lib.py\n")
    assert hears(interest, folder / "lib.py") == set(), "saved unchanged"
    (folder / "lib.py").write_text("# changed\n")
    assert hears(interest, folder / "lib.py") == {"lib.py"}
    assert hears(interest, folder / "lib.py") == set(), "told once"
    (folder / "lib.py").unlink()
    assert hears(interest, folder / "lib.py") == {"lib.py"}


def test_the_target_itself_matters_even_when_nothing_was_imported(folder):
    interest = loaded(folder, failed=True)
    (folder / "defs.py").write_text("# mended\n")
    assert hears(interest, folder / "defs.py") == {"defs.py"}
    assert interest.directories == {str(folder)}


def test_a_failed_load_keeps_the_files_of_the_last_good_one(folder):
    interest = loaded(folder, "defs.py", "lib.py")
    loaded(folder, "defs.py", failed=True, interest=interest)
    (folder / "lib.py").write_text("# changed\n")
    assert hears(interest, folder / "lib.py", failed=True) == {"lib.py"}


def test_a_good_load_forgets_what_it_no_longer_imports(folder):
    interest = loaded(folder, "defs.py", "lib.py")
    loaded(folder, "defs.py", interest=interest)
    (folder / "lib.py").write_text("# changed\n")
    assert hears(interest, folder / "lib.py") == set()


def test_new_modules_matter_to_one_that_failed_for_want_of_one(folder):
    interest = loaded(folder, "defs.py", failed=True, watch=[str(folder)])
    for name in ("new.py", "new.yaml", "native.so", "package"):
        path = folder / name
        if "." in name:
            path.touch()
        else:
            path.mkdir()
        assert hears(interest, path, failed=True) == {name}
        assert hears(interest, path, failed=False) == set()
    for name in ("new.pyc", ".hidden.py", "new.py~", ".new.py.swp", "__pycache__", "notes.txt"):
        assert hears(interest, folder / name, failed=True) == set()


def test_what_is_missing_may_come_with_its_folder(folder):
    wanted = folder / "deep" / "down" / "python"
    interest = loaded(folder, failed=True, watch=[str(wanted)])
    assert interest.directories == {str(folder)}
    (folder / "deep").mkdir()
    assert hears(interest, folder / "deep", failed=True) == {"deep"}


def test_a_defs_folder_hears_of_new_files_in_any_of_its_folders(folder):
    (folder / "defs" / "inner").mkdir(parents=True)
    (folder / "defs" / "inner" / "a.py").touch()
    of = spec(folder, TargetKind.AUTOLOAD, "defs")
    interest = loaded(folder, "defs/inner/a.py", of=of)
    (folder / "defs" / "inner" / "b.py").touch()
    assert hears(interest, folder / "defs" / "inner" / "b.py") == {"b.py"}


def test_what_was_written_while_it_loaded_counts_as_changed_once(folder):
    interest = loaded(folder, "defs.py", "lib.py", since=EARLIER)
    assert {Path(path).name for path in interest.outdated()} == {"defs.py", "lib.py"}
    assert interest.outdated() == set()
    loaded(folder, "defs.py", "lib.py", since=EARLIER, interest=interest)
    assert interest.outdated() == set(), "the same writing is not doubted twice"


def test_what_was_written_before_it_loaded_is_believed(folder):
    interest = loaded(folder, "defs.py", "lib.py", since=later(), failed=True, watch=[str(folder)])
    assert interest.outdated() == set()


def test_code_that_writes_its_own_files_is_not_loaded_for_ever(folder):
    interest, loads = Interest(), 0
    for number in range(20):
        # Of another length each time: two writings may have the same time.
        (folder / "lib.py").write_text("#" * number + "\n")
        loaded(folder, "lib.py", since=EARLIER, interest=interest)
        if not interest.outdated():
            break
        loads += 1
    assert loads == 3


def test_what_appeared_while_it_failed_is_found(folder):
    interest = loaded(folder, "defs.py", failed=True, watch=[str(folder)], since=later())
    assert interest.outdated() == set()
    (folder / "new.py").touch()
    assert interest.outdated() == {str(folder / "new.py")}
    assert interest.outdated() == set()


def test_a_folder_that_python_compiled_into_is_not_new(folder):
    (folder / "team" / "__pycache__").mkdir(parents=True)
    (folder / "fresh").mkdir()
    interest = loaded(folder, failed=True, watch=[str(folder)], since=EARLIER)
    names = {Path(path).name for path in interest.outdated()}
    assert "fresh" in names
    assert "team" not in names


def test_when_nobody_knows_what_killed_it_anything_nearby_matters(folder):
    (folder / "team").mkdir()
    (folder / "team" / "defs.py").touch()
    interest = loaded(folder, failed=True, of=spec(folder, TargetKind.PYTHON_MODULE, "team.defs"))
    assert interest.directories == {str(folder), str(folder / "team")}
    (folder / "team" / "defs.py").write_text("# mended\n")
    assert hears(interest, folder / "team" / "defs.py", failed=True) == {"defs.py"}


def test_files_that_cannot_be_read_are_no_trouble(folder):
    interest = loaded(folder, "gone.py", "defs.py/below.py", "\0.py")
    assert interest.outdated() == set()
    assert hears(interest, folder / "gone.py") == set()
    (folder / "gone.py").touch()
    assert hears(interest, folder / "gone.py") == {"gone.py"}


def test_the_files_of_a_workspace(folder):
    interest = Interest()
    interest.take_files([str(folder / "defs.py")])
    assert interest.directories == {str(folder)}
    assert hears(interest, folder / "defs.py", folder / "lib.py") == set()
    (folder / "defs.py").write_text("changed\n")
    assert interest.outdated() == {str(folder / "defs.py")}
