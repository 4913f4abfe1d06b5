"""What several sources desire, made one set: whose a name is, and what goes on."""

from __future__ import annotations

from pathlib import Path

from supervisor.desired import Entry
from supervisor.errors import ConfigurationProblem
from supervisor.fleet.merge import Claim, Merged, merge
from supervisor.specs import LocationSpec, SourcePosition, Target, TargetKind

WRONG = ConfigurationProblem(SourcePosition("w.yaml", 9), "", "this is wrong")


def claim(
    name: str | None,
    target: str | None = None,
    *,
    source: str = "files",
    place: str = "w.yaml",
    broken: bool = False,
) -> Claim:
    spec = None
    if name is not None and target is not None:
        where = Target(TargetKind.PYTHON_MODULE, target, Path("/"))
        spec = LocationSpec(name, where, origin=SourcePosition(place, 1))
    return Claim(source, Entry(name, (place,), spec, WRONG if broken else None))


def running(*claims: Claim) -> dict[str, Claim]:
    return {one.entry.name: one for one in claims if one.entry.name is not None}


def targets(merged: Merged) -> dict[str, str]:
    return {one.name: one.target.name for one in merged.specs() if one.target is not None}


def test_sound_entries_are_what_should_run_in_the_order_of_the_sources():
    merged = merge({}, [claim("b", "m"), claim("a", "n"), claim("c", "o", source="deployments")])
    assert list(targets(merged)) == ["b", "a", "c"]
    assert merged == Merged(merged.claims)
    assert targets(merge(merged.claims, [claim("a", "new")])) == {"a": "new"}


def test_a_broken_entry_keeps_what_runs_and_starts_nothing():
    before = running(claim("a", "old"), claim("b", "old"), claim("c", "old"))
    merged = merge(
        before,
        [claim("a", "new", broken=True), claim("b", "new"), claim("d", "new", broken=True)],
    )
    assert targets(merged) == {"a": "old", "b": "new"}
    assert merged.kept == {"a": WRONG}
    assert merged.missing == {}, "what is named no more goes, beside broken entries"


def test_one_whose_name_cannot_be_read_may_be_any_that_is_missing_from_its_place():
    before = running(
        claim("a", "m"),
        claim("b", "n"),
        claim("c", "o", place="v.yaml"),
        claim("d", "p", source="x"),
    )
    merged = merge(before, [claim("a", "m"), claim(None, broken=True)])
    assert targets(merged) == {"a": "m", "b": "n"}
    assert merged.missing == {"b": WRONG}


def test_a_broken_entry_with_another_name_and_the_same_target_is_what_was_renamed():
    before = running(claim("a", "m"), claim("b", "n"))
    merged = merge(before, [claim("z", "m", broken=True)])
    assert targets(merged) == {"a": "m"}
    assert targets(merge(merged.claims, [claim("z", "m")])) == {"z": "m"}


def test_a_name_is_his_who_runs_and_the_other_is_refused():
    mine, other = claim("a", "mine", source="deployments"), claim("a", "other")
    merged = merge(running(mine), [other, claim("a", "newer", source="deployments")])
    assert targets(merged) == {"a": "newer"}, "its own change counts"
    (problem,) = merged.problems
    assert problem.position.file == "w.yaml"
    assert 'the location name "a" is taken already, at w.yaml:1' in str(problem)
    gone = merge(merged.claims, [other])
    assert targets(gone) == {"a": "other"}, "it is free again"
    assert gone.problems == []


def test_a_name_that_nothing_runs_by_is_the_first_sources():
    merged = merge({}, [claim("a", "m"), claim("a", "n", source="deployments", place="the table")])
    assert targets(merged) == {"a": "m"}
    assert [str(one) for one in merged.problems] == [
        'the table:1: the location name "a" is taken already, at w.yaml:1; expected names that differ'
    ]


def test_a_name_that_stands_twice_in_one_place_keeps_what_runs():
    twice = [claim("a", "m"), claim("a", "n")]
    merged = merge(running(claim("a", "old")), twice)
    assert targets(merged) == {"a": "old"}
    assert list(merged.kept) == ["a"]
    assert targets(merge({}, twice)) == {}, "which is meant is not guessed"


def test_a_name_that_another_file_takes_too_is_the_first_ones():
    theirs = claim("a", "theirs", place="v.yaml")
    merged = merge(running(claim("a", "old")), [theirs, claim("a", "new")])
    assert targets(merged) == {"a": "new"}
    assert targets(merge(merged.claims, [theirs])) == {"a": "theirs"}, "it has moved"
    broken = merge(merged.claims, [theirs, claim("a", broken=True)])
    assert targets(broken) == {"a": "new"}


def test_what_is_renamed_to_a_name_that_is_taken_goes_on_by_its_old_name():
    before = running(claim("a", "m"), claim("b", "n"), claim("c", "o", place="v.yaml"))
    for edit in ([claim("a", "m"), claim("a", "n")], [claim("a", "n"), claim("a", "m")]):
        merged = merge(before, edit)
        assert targets(merged) == {"a": "m", "b": "n"}, "what another file named goes"
        assert list(merged.missing) == ["b"]
        assert targets(merge(merged.claims, [claim("a", "m"), claim("d", "n")])) == {
            "a": "m",
            "d": "n",
        }
    moved = merge(before, [claim("a", "m"), claim("a", "o", place="v.yaml"), claim("b", "n")])
    assert targets(moved) == {"a": "m", "b": "n", "c": "o"}
