"""Which changed files concern a location: content decides, and what came while nobody looked."""

from __future__ import annotations

import os
import time
from pathlib import Path

import pytest

from supervisor.specs import LocationSpec, Target, TargetKind
from supervisor.watching.dependencies import Dependencies, Looked, after_death, after_load
from supervisor.watching.digests import Digests


def spec(folder: Path, kind=TargetKind.PYTHON_FILE, name="defs.py") -> LocationSpec:
    if kind is TargetKind.PYTHON_FILE:
        name = str(folder / name)
    return LocationSpec("risk", Target(kind, name, folder))


@pytest.fixture
def folder(tmp_path):
    for name in ("defs.py", "lib.py"):
        (tmp_path / name).write_text(f"# {name}\n")
    return tmp_path


def new_dependencies() -> Dependencies:
    return Dependencies("risk", Digests())


def looked(folder, *names, folders=(), good=True, known=True) -> Looked:
    files = tuple(str(folder / name) for name in names)
    return Looked(files, tuple(map(str, folders)), (), good, known)


def loaded(folder, *names, dependencies=None, **more):
    dependencies = dependencies or new_dependencies()
    dependencies.take(looked(folder, *names, **more), None)
    return dependencies


def hears(dependencies, *paths):
    found = dependencies.concerned({str(path) for path in paths})
    return {Path(path).name for path in found}


def later() -> int:
    """A moment before which everything that exists was written."""
    return time.time_ns() + 60 * 10**9


EARLIER = 1  # and one after which


def test_only_files_that_were_loaded_and_only_content_that_differs(folder):
    dependencies = loaded(folder, "defs.py", "lib.py")
    (folder / "other.py").write_text("x = 1\n")
    assert hears(dependencies, folder / "defs.py", folder / "other.py") == set()
    os.utime(folder / "lib.py")
    assert hears(dependencies, folder / "lib.py") == set()
    (folder / "lib.py").write_text("# lib.py\n")
    assert hears(dependencies, folder / "lib.py") == set(), "saved unchanged"
    (folder / "lib.py").write_text("# changed\n")
    assert hears(dependencies, folder / "lib.py") == {"lib.py"}
    assert hears(dependencies, folder / "lib.py") == set(), "told once"
    (folder / "lib.py").unlink()
    assert hears(dependencies, folder / "lib.py") == {"lib.py"}


def test_a_failed_load_keeps_the_files_of_the_last_good_one(folder):
    dependencies = loaded(folder, "defs.py", "lib.py")
    loaded(folder, "defs.py", good=False, dependencies=dependencies)
    (folder / "lib.py").write_text("# changed\n")
    assert hears(dependencies, folder / "lib.py") == {"lib.py"}


def test_a_good_load_forgets_what_it_no_longer_imports(folder):
    dependencies = loaded(folder, "defs.py", "lib.py")
    loaded(folder, "defs.py", dependencies=dependencies)
    (folder / "lib.py").write_text("# changed\n")
    assert hears(dependencies, folder / "lib.py") == set()


def test_what_was_looked_for_matters_and_what_lies_beside_it_does_not(folder):
    wanted = ("helpers", "helpers.py", "helpers.abi3.so", "data/rates.csv")
    dependencies = loaded(folder, "defs.py", *wanted, good=False)
    for name in ("other.py", "new.yaml", "native.so", "helpers2.py", ".helpers.py", "help"):
        (folder / name).touch()
        assert hears(dependencies, folder / name) == set()
    (folder / "data").mkdir()
    assert hears(dependencies, folder / "data") == set()
    assert str(folder / "data") in dependencies.directories, "watched now"
    (folder / "data" / "rates.csv").touch()
    assert hears(dependencies, folder / "data" / "rates.csv") == {"rates.csv"}
    (folder / "helpers.py").touch()
    assert hears(dependencies, folder / "helpers.py") == {"helpers.py"}
    (folder / "helpers").mkdir()
    assert hears(dependencies, folder / "helpers") == {"helpers"}


def test_what_is_missing_may_come_with_its_folder(folder):
    dependencies = loaded(folder, "deep/down/python", good=False)
    assert dependencies.directories == {str(folder)}
    (folder / "deep" / "down").mkdir(parents=True)
    assert hears(dependencies, folder / "deep") == set()
    assert dependencies.directories == {str(folder / "deep" / "down")}
    (folder / "deep" / "down" / "python").touch()
    assert dependencies.outdated() == {str(folder / "deep" / "down" / "python")}


def test_a_defs_folder_hears_of_new_files_in_any_of_its_folders(folder):
    (folder / "defs" / "inner").mkdir(parents=True)
    (folder / "defs" / "inner" / "a.py").touch()
    of = spec(folder, TargetKind.AUTOLOAD, "defs")
    dependencies = new_dependencies()
    dependencies.take(after_load(of, {"files": [str(folder / "defs" / "inner" / "a.py")]}), None)
    (folder / "defs" / "inner" / "b.py").touch()
    assert hears(dependencies, folder / "defs" / "inner" / "b.py") == {"b.py"}
    for name in ("c.pyc", ".d.py", "e.py~", "notes.txt"):
        (folder / "defs" / "inner" / name).touch()
        assert hears(dependencies, folder / "defs" / "inner" / name) == set()


def test_a_new_file_that_was_renamed_into_its_place_is_heard_of(folder):
    (folder / "defs").mkdir()
    mine = loaded(folder, "a.py", folders=[folder / "defs"])
    (folder / "defs" / "new.yaml").touch()
    paths = [str(folder / "defs" / name) for name in (".new.yaml.tmp", "new.yaml")]
    assert mine.concerned(paths) == {paths[1]}
    assert mine.concerned(paths) == set()


def test_what_was_written_while_it_loaded_is_told_of_once(folder):
    dependencies = new_dependencies()
    late = dependencies.take(looked(folder, "defs.py", "lib.py"), EARLIER)
    assert {Path(path).name for path in late} == {"defs.py", "lib.py"}
    assert dependencies.take(looked(folder, "defs.py", "lib.py"), EARLIER) == set(), "not twice"
    (folder / "lib.py").write_text("# longer than it was\n")
    assert dependencies.take(looked(folder, "defs.py", "lib.py"), EARLIER) == {
        str(folder / "lib.py")
    }


def test_what_was_written_before_it_loaded_is_believed(folder):
    dependencies = new_dependencies()
    assert dependencies.take(looked(folder, "defs.py", "lib.py"), later()) == set()
    assert dependencies.outdated() == set()


def test_a_file_that_was_put_there_while_it_loaded_counts_however_old_it_is(folder):
    """A rename keeps the time of writing."""
    os.utime(folder / "lib.py", ns=(1, 1))
    since = time.time_ns()
    while (folder / "lib.py").stat().st_ctime_ns <= since:  # past a tick of the clock
        (folder / "lib.py").rename(folder / "moved.py")
        (folder / "moved.py").rename(folder / "lib.py")
    late = new_dependencies().take(looked(folder, "lib.py"), since)
    assert late == {str(folder / "lib.py")}


def test_a_directory_that_was_replaced_while_it_loaded_is_late(folder):
    """Its files may be older than the load, and the time of a rename is not theirs."""
    for number in (1, 2):
        (folder / str(number)).mkdir()
        (folder / str(number) / "a.py").write_text(f"N = {number}\n")
    (folder / "1").rename(folder / "code")
    of = looked(folder, "code/a.py")
    dependencies = new_dependencies()
    assert dependencies.take(of, later()) == set()
    (folder / "code").rename(folder / "1")
    (folder / "2").rename(folder / "code")
    assert dependencies.outdated(loading=True) == {str(folder / "code" / "a.py")}
    assert dependencies.take(of, later()) == {str(folder / "code")}
    (folder / "code").rename(folder / "2")
    (folder / "1").rename(folder / "code")
    assert dependencies.outdated() == {str(folder / "code" / "a.py")}, "and then it is loaded"
    assert dependencies.take(of, later()) == set()


def test_what_is_gone_by_the_end_of_a_load_and_was_heard_of_is_late(folder):
    gone = str(folder / "lib.py")
    (folder / "lib.py").unlink()
    assert new_dependencies().take(looked(folder, "defs.py", "lib.py"), later()) == set()
    assert new_dependencies().take(looked(folder, "defs.py", "lib.py"), later(), [gone]) == {gone}


def test_what_appeared_while_nobody_looked_is_found(folder):
    dependencies = loaded(folder, "defs.py", "new.py", good=False)
    assert dependencies.outdated() == set()
    (folder / "new.py").touch()
    assert dependencies.outdated() == {str(folder / "new.py")}
    assert dependencies.outdated() == set()


def test_one_that_died_waits_for_its_own_files_and_for_those_of_the_loads_before(folder):
    dependencies = loaded(folder, "defs.py", "lib.py")
    loaded(folder, "helpers.py", good=False, dependencies=dependencies)
    dead = after_death(spec(folder), {"frames": []}, [str(folder / "source.py")])
    dependencies.take(dead, None)
    for name in ("defs.py", "lib.py", "helpers.py", "source.py"):
        (folder / name).write_text("# something else\n")
        assert hears(dependencies, folder / name) == {name}
    (folder / "neighbour.py").touch()
    assert hears(dependencies, folder / "neighbour.py") == set()


def test_files_that_cannot_be_read_are_no_trouble(folder):
    names = ("gone.py", "defs.py/below.py", "\0.py", "x/" * 1000 + "y.py", "z" * 5000)
    dependencies = loaded(folder, *names, "ring/a.py")
    assert dependencies.outdated() == set()
    assert hears(dependencies, folder / "gone.py") == set()
    (folder / "gone.py").touch()
    assert hears(dependencies, folder / "gone.py") == {"gone.py"}
    (folder / "ring").symlink_to("other")
    (folder / "other").symlink_to("ring")
    assert dependencies.outdated() == set()


def test_a_file_that_becomes_readable_differs(folder):
    """Its content and the time of its writing stay what they were."""
    before = (folder / "lib.py").stat()
    dependencies = loaded(folder, "lib.py")
    (folder / "lib.py").chmod(0o600)
    after = (folder / "lib.py").stat()
    assert (before.st_mtime_ns, before.st_size) == (after.st_mtime_ns, after.st_size)
    assert hears(dependencies, folder / "lib.py") == set(), "here it was readable all the time"


# Links.


def swap(link: Path, target: str) -> None:
    new = link.with_name("new")
    new.symlink_to(target)
    new.replace(link)


def releases(folder: Path) -> None:
    for number in (1, 2):
        code = folder / "releases" / str(number)
        code.mkdir(parents=True)
        (code / "a.py").write_text(f"N = {number}\n")
        (code / "same.py").touch()
    (folder / "current").symlink_to("releases/1")


def test_a_swapped_release_is_a_change_of_all_that_is_reached_through_it(folder):
    releases(folder)
    path = str(folder / "current" / "a.py")
    dependencies = new_dependencies()
    dependencies.take(Looked((path,)), later())
    assert dependencies.directories == {str(folder), str(folder / "releases" / "1")}
    swap(folder / "current", "releases/2")
    assert path in dependencies.concerned({str(folder / "current")})
    assert dependencies.directories == {str(folder), str(folder / "releases" / "2")}
    (folder / "releases" / "2" / "a.py").write_text("N = 22\n")
    assert dependencies.concerned({str(folder / "releases" / "2" / "a.py")}) == {path}
    swap(folder / "current", "releases/3")
    assert path in dependencies.concerned({str(folder / "current")})
    releases_3 = folder / "releases" / "3"
    releases_3.mkdir()
    assert dependencies.concerned({str(releases_3)}) == set()
    (releases_3 / "a.py").touch()
    assert path in dependencies.concerned({str(releases_3 / "a.py")})


def test_another_directory_under_the_same_name_is_a_change_whatever_is_in_it(folder):
    releases(folder)
    dependencies = new_dependencies()
    dependencies.take(Looked((str(folder / "current" / "same.py"),)), None)
    swap(folder / "current", "releases/2")
    assert dependencies.concerned({str(folder / "current")}) == {str(folder / "current")}
    swap(folder / "current", "./releases/2")
    assert dependencies.concerned({str(folder / "current")}) == set()


def test_a_mounted_file_behind_two_links(folder):
    """As Kubernetes mounts a ConfigMap."""
    for number in (1, 2):
        (folder / f"..{number}").mkdir()
        (folder / f"..{number}" / "mounted.py").write_text(f"N = {number}\n")
    (folder / "..data").symlink_to("..1")
    (folder / "mounted.py").symlink_to("..data/mounted.py")
    path = str(folder / "mounted.py")
    dependencies = new_dependencies()
    assert dependencies.take(Looked((path,)), later()) == set()
    assert dependencies.directories == {str(folder), str(folder / "..1")}
    swap(folder / "..data", "..2")
    assert dependencies.concerned({str(folder / "..data")}) == {path}
    assert dependencies.directories == {str(folder), str(folder / "..2")}


def test_a_link_that_was_swapped_while_it_loaded_is_late(folder):
    releases(folder)
    os.utime(folder / "releases" / "2" / "a.py", ns=(1, 1))
    since = time.time_ns()
    while (folder / "current").lstat().st_ctime_ns <= since:
        swap(folder / "current", "releases/2")
    path = str(folder / "current" / "a.py")
    assert path in new_dependencies().take(Looked((path,)), since)


def test_a_file_that_gives_way_to_a_link(folder):
    dependencies = loaded(folder, "lib.py")
    (folder / "far").mkdir()
    (folder / "lib.py").rename(folder / "far" / "lib.py")
    (folder / "lib.py").symlink_to("far/lib.py")
    assert hears(dependencies, folder / "lib.py") == set(), "the text is the same"
    assert str(folder / "far") in dependencies.directories
    (folder / "far" / "lib.py").write_text("# changed\n")
    assert hears(dependencies, folder / "far" / "lib.py") == {"lib.py"}


# The cache.


def test_a_file_that_many_share_is_read_once(folder):
    digests, files = Digests(), [folder / f"m{number}.py" for number in range(20)]
    for file in files:
        file.touch()
        os.utime(file, ns=(1, 1))
    age(files)
    owners = [Dependencies(f"o{number}", digests) for number in range(10)]
    for one in owners:
        one.take(Looked(tuple(map(str, files))), None)
        assert one.outdated() == set()
    assert digests.read == len(files) == len(digests)
    for one in owners[1:]:
        one.forget()
    assert len(digests) == len(files)
    owners[0].take(Looked((str(files[0]),)), None)
    assert len(digests) == 1
    owners[0].forget()
    assert len(digests) == 0


def age(files) -> None:
    """Wait until the files' times are well apart from what would be written now."""
    newest = max(file.stat().st_ctime_ns for file in files)
    while time.time_ns() - newest < 100_000_000:
        time.sleep(0.01)


def test_two_writings_in_one_tick_are_told_apart(folder):
    """The file system's clock is coarse: the same size and times say little at first."""
    path, missed = folder / "tick.py", 0
    path.write_text("a")
    dependencies = loaded(folder, "tick.py")
    for number in range(200):
        path.write_text("ab"[number % 2 == 0])
        missed += hears(dependencies, path) != {"tick.py"}
    assert missed == 0
