"""Snapshots: what is accepted of a shim, fingerprints, and differences."""

from __future__ import annotations

import hashlib

import pytest
from hypothesis import given
from hypothesis import strategies as st

from runner_shim import wire
from supervisor.snapshots.snapshot import SnapshotError, accept, compare, definition_key
from supervisor.time_slices import at_once


def document(*definitions, **more):
    return {"format": 1, "repositories": [], "definitions": list(definitions), **more}


def job(name, **more):
    return {"kind": "job", "name": name, **more}


def take(document, *, sources=None, report=None, generation=1):
    return accept(
        "risk",
        generation,
        report={} if report is None else report,
        definitions=document if isinstance(document, bytes) else wire.pack(document),
        sources=wire.pack({} if sources is None else sources),
        loaded_at=1000.0,
    )


def test_a_snapshot_is_what_was_sent():
    sent = document(job("a"), {"kind": "asset", "name": "x/y"}, job("b", repository="r"))
    snapshot = take(sent, sources={"job:a": ["defs.py", 3]}, generation=7)
    assert snapshot.document() == sent
    assert snapshot.fingerprint == hashlib.sha256(wire.pack(sent)).hexdigest()
    assert snapshot.counts == {"asset": 1, "job": 2}
    assert sorted(snapshot.index()) == ["asset:x/y", "job:a", "job:b@r"]
    assert snapshot.source_map() == {"job:a": ["defs.py", 3]}
    assert (snapshot.location, snapshot.generation, snapshot.loaded_at) == ("risk", 7, 1000.0)
    assert snapshot.size == len(snapshot.definitions) + len(snapshot.sources)


@pytest.mark.parametrize(
    ("sent", "message"),
    [
        ([], "the definitions are no map"),
        ({}, "format None is unknown, 1 was expected"),
        ({"format": 2, "definitions": []}, "format 2 is unknown"),
        ({"format": 1}, "'definitions' is no list"),
        ({"format": 1, "definitions": {}}, "'definitions' is no list"),
        (document("x"), "definition 0 is no map"),
        (document(job("a"), {"name": "b"}), "definition 1 has no kind"),
        (document({"kind": "", "name": "b"}), "definition 0 has no kind"),
        (document({"kind": "x" * 65, "name": "b"}), "definition 0 has no kind"),
        (document({"kind": ["job"], "name": "b"}), "definition 0 has no kind"),
        (document({"kind": "job"}), r"definition 0 \(job\) has no name"),
        (document(job("")), "has no name"),
        (document(job("x" * 5000)), "has no name"),
        (document(job("a", repository=3)), "the repository of job 'a' is no text"),
        (document(job("a"), job("a")), "'job:a' is there twice"),
        (b"\xc1", "not msgpack"),
        (b"", "not msgpack"),
        (b"\x91" * 100 + b"\xc0", "nested deeper"),
    ],
)
def test_what_is_no_snapshot_says_why(sent, message):
    with pytest.raises(SnapshotError, match=message):
        take(sent)


@pytest.mark.parametrize(
    "sources",
    [[], {"job:a": None}, {"job:a": ["f"]}, {"job:a": [1, 2]}, {"job:a": ["f", "2"]}],
)
def test_sources_are_places(sources):
    with pytest.raises(SnapshotError, match=r"sources are no map|is not \[file, line\]"):
        take(document(), sources=sources)


def test_the_same_name_may_be_in_two_kinds_and_two_repositories():
    snapshot = take(
        document(job("a", repository="r"), job("a", repository="s"), {"kind": "op", "name": "a"})
    )
    assert len(snapshot.index()) == 3


def test_one_of_very_many_is_found_where_it_lies():
    """By its offset: neither those before it nor all names are read."""
    jobs = [job(f"job {n}", text="x" * (n % 7000)) for n in range(5000)]
    again = [job("job 7", repository="r"), {"kind": "op", "name": "job 7"}]
    sources = {definition_key(one): [f"{n}.py", n] for n, one in enumerate(jobs)}
    snapshot = take(document(*jobs, *again), sources=sources)
    for n in (0, 1, 2047, 2048, 4999):
        assert at_once(snapshot.named(f"job {n}")) == [jobs[n]]
        assert at_once(snapshot.source_of(f"job:job {n}")) == [f"{n}.py", n]
    assert sorted(map(definition_key, at_once(snapshot.named("job 7")))) == [
        "job:job 7",
        "job:job 7@r",
        "op:job 7",
    ]
    assert at_once(snapshot.named("job 5000")) == []
    assert at_once(snapshot.source_of("op:job 7")) is None


def test_few_are_looked_through():
    snapshot = take(document(job("a"), job("b")), sources={"job:b": ["b.py", 1]})
    assert snapshot.names is None
    assert at_once(snapshot.named("b")) == [job("b")]
    assert at_once(snapshot.named("c")) == []
    assert at_once(snapshot.source_of("job:b")) == ["b.py", 1]
    assert at_once(snapshot.source_of("job:a")) is None


def test_names_with_one_checksum_are_told_apart():
    """zlib.crc32(b"plumless") == zlib.crc32(b"buckeroo")."""
    snapshot = take(document(job("plumless"), job("buckeroo"), *(job(f"{n}") for n in range(100))))
    assert at_once(snapshot.named("buckeroo")) == [job("buckeroo")]
    assert at_once(snapshot.named("plumless")) == [job("plumless")]


def test_of_a_report_only_what_is_known_passes():
    report = {
        "python": "3.8.1",
        "executable": 5,
        "files": ["/a.py", 3, None],
        "watch": "all",
        "load_seconds": 1,
        "frameworks": [{"name": "dagster", "version": "1.0", "more": 1}, "x", None],
        "warnings": [
            {"code": "c", "message": "m", "line": 3, "file": 9, "other": "x"},
            {"code": "no message"},
            "x",
        ],
        "surprise": {"a": 1},
    }
    snapshot = take(document(), report=report)
    assert snapshot.report == {
        "python": "3.8.1",
        "files": ["/a.py"],
        "load_seconds": 1.0,
        "frameworks": [{"name": "dagster", "version": "1.0"}],
        "warnings": [{"code": "c", "message": "m", "line": 3}],
    }
    assert snapshot.warnings == snapshot.report["warnings"]


@pytest.mark.parametrize(
    "report",
    [
        {"frameworks": 3},
        {"warnings": 3},
        {"frameworks": {"a": 1}},
        {"warnings": "text"},
        {"load_seconds": True},
        {"load_seconds": "1"},
        {"files": {"a": 1}},
    ],
)
def test_a_report_of_odd_shapes_is_no_more_than_an_empty_one(report):
    snapshot = take(document(), report=report)
    assert snapshot.report == {"frameworks": [], "warnings": []}


PLAIN = st.recursive(
    st.none() | st.booleans() | st.integers(-(2**31), 2**31) | st.text(max_size=10),
    lambda inner: (
        st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=10), inner, max_size=3)
    ),
    max_leaves=10,
)
NAMES = st.sampled_from(
    ["format", "definitions", "kind", "name", "repository", "frameworks", "warnings", "message"]
)


@pytest.mark.slow
@given(st.dictionaries(NAMES, PLAIN | st.just(1)), st.dictionaries(NAMES, PLAIN), PLAIN)
def test_whatever_is_sent_is_accepted_or_refused_and_nothing_else(sent, report, sources):
    try:
        take(sent, sources=sources, report=report)
    except SnapshotError as error:
        assert str(error)


def test_what_changed():
    before = take(
        document(job("gone"), job("same"), job("other", description="a", tags={"x": "1"}))
    )
    after = take(document(job("new"), job("other", description="b", owners=["o"]), job("same")))
    found = compare(before, after)
    assert (found.added, found.removed) == (("job:new",), ("job:gone",))
    (change,) = found.changed
    assert change.key == "job:other"
    assert change.fields == ("description", "owners", "tags")
    assert bool(found)


DEFINITIONS = st.lists(
    st.fixed_dictionaries(
        {"kind": st.sampled_from(["job", "asset"]), "name": st.sampled_from("abcdef")},
        optional={"description": st.sampled_from("xyz")},
    ),
    max_size=8,
    unique_by=definition_key,
)


@pytest.mark.slow
@given(DEFINITIONS, DEFINITIONS)
def test_a_difference_is_what_it_takes_to_get_from_one_to_the_other(one, other):
    before, after = take(document(*one)), take(document(*other))
    found = compare(before, after)
    index = before.index()
    for key in found.removed:
        del index[key]
    for key in found.added:
        index[key] = after.index()[key]
    for change in found.changed:
        index[change.key] = dict(change.after)
    assert index == after.index()
    assert bool(found) == (before.index() != after.index())
    back = compare(after, before)
    assert (back.added, back.removed) == (found.removed, found.added)
