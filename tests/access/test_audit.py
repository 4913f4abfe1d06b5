"""The audit's chain: what is written is read back, and what was tampered with shows."""

from __future__ import annotations

import random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from supervisor.access.audit import Audit, entries, verify


def written(directory, count=10, **options):
    audit = Audit(directory, **options)
    for number in range(count):
        audit.write({"time": float(number), "who": "token:ci", "method": "reload"})
    audit.close()
    return directory / "audit.log"


def test_what_is_written_is_read_back_in_order(tmp_path):
    log = written(tmp_path)
    assert [one["time"] for one in entries(tmp_path)] == list(range(10))
    assert [one["number"] for one in entries(tmp_path)] == list(range(1, 11))
    assert verify(tmp_path) == []
    assert log.stat().st_mode & 0o777 == 0o600


def test_the_chain_goes_on_over_a_restart_and_over_files(tmp_path):
    for _ in range(4):
        written(tmp_path, 5, max_bytes=700)
    assert (tmp_path / "audit.log.2").exists()
    assert [one["number"] for one in entries(tmp_path)] == list(range(1, 21))
    assert verify(tmp_path) == []


def lines_of(log):
    return log.read_bytes().splitlines(keepends=True)


@pytest.mark.parametrize("place", range(10))
def test_a_removed_line_shows(place, tmp_path):
    log = written(tmp_path)
    lines = lines_of(log)
    log.write_bytes(b"".join(lines[:place] + lines[place + 1 :]))
    assert verify(tmp_path)


@pytest.mark.parametrize("place", range(10))
def test_a_changed_line_shows(place, tmp_path):
    log = written(tmp_path)
    lines = lines_of(log)
    lines[place] = lines[place].replace(b"token:ci", b"token:me")
    log.write_bytes(b"".join(lines))
    assert verify(tmp_path)


def test_moved_lines_show(tmp_path):
    log = written(tmp_path)
    lines = lines_of(log)
    lines[3], lines[6] = lines[6], lines[3]
    log.write_bytes(b"".join(lines))
    found = verify(tmp_path)
    assert found and found[0].line == 4 and "moved" in str(found[0])


def test_a_head_that_is_gone_shows(tmp_path):
    written(tmp_path)
    (tmp_path / "audit.head").unlink()
    assert verify(tmp_path)


def test_a_writer_that_was_killed_in_the_middle_of_a_line_loses_that_line_alone(tmp_path):
    log = written(tmp_path)
    whole = log.read_bytes()
    for cut in random.Random(7).sample(range(len(whole)), 40):
        log.write_bytes(whole[:cut])
        lines = whole[:cut].count(b"\n")
        # As if it had been killed before the head of any of these lines was written.
        (tmp_path / "audit.head").unlink(missing_ok=True)
        audit = Audit(tmp_path)
        audit.write({"who": "operator"})
        audit.close()
        assert [one["number"] for one in entries(tmp_path)] == list(range(1, lines + 2))
        assert verify(tmp_path) == []


def test_a_line_that_was_written_before_its_head_is_believed(tmp_path):
    audit = Audit(tmp_path)
    audit.write({"who": "a"})
    head = (tmp_path / "audit.head").read_bytes()
    audit.write({"who": "b"})
    audit.close()
    (tmp_path / "audit.head").write_bytes(head)
    assert verify(tmp_path) == []
    written(tmp_path, 1)
    assert verify(tmp_path) == []


@pytest.mark.parametrize("restarted", [False, True])
def test_a_log_that_was_taken_away_shows(restarted, tmp_path):
    audit = Audit(tmp_path)
    audit.write({"who": "a"})
    (tmp_path / "audit.log").unlink()
    if restarted:
        audit = Audit(tmp_path)
    audit.write({"who": "b"})
    audit.close()
    assert [one["who"] for one in entries(tmp_path)] == ["b"]
    assert [one.reason for one in verify(tmp_path)] == [
        "entry 2 is the first: those before it were removed"
    ]


def test_the_oldest_file_may_have_been_rotated_out(tmp_path):
    written(tmp_path, 150, max_bytes=700)
    assert next(entries(tmp_path))["number"] > 1
    assert verify(tmp_path) == []


@given(st.binary(max_size=300))
def test_any_bytes_are_judged(tmp_path_factory, data):
    directory = tmp_path_factory.mktemp("audit")
    (directory / "audit.log").write_bytes(data)
    verify(directory)
    list(entries(directory))
