"""The record of a running supervisor: bounded, off its event loop, and together with other processes."""

from __future__ import annotations

import fcntl
import os
import threading
from concurrent.futures import ThreadPoolExecutor

import pytest

from supervisor.access.audit import Audit, entries, verify
from supervisor.access.recorder import Recorder

DEADLINE = 60.0


def test_several_processes_write_one_chain(tmp_path):
    writers = [Audit(tmp_path, max_bytes=3000) for _ in range(4)]

    def write(number: int) -> None:
        for count in range(25):
            writers[number].write({"who": str(number), "count": count})

    with ThreadPoolExecutor(4) as pool:
        list(pool.map(write, range(4)))
    assert verify(tmp_path) == []
    told = list(entries(tmp_path))
    assert [one["number"] for one in told] == list(range(1, 101))
    for number in range(4):
        assert [one["count"] for one in told if one["who"] == str(number)] == list(range(25))


def test_several_entries_at_once_are_in_order(tmp_path):
    audit = Audit(tmp_path, max_bytes=700)
    audit.write(*({"count": count} for count in range(20)))
    assert audit.written == 20
    assert [one["count"] for one in entries(tmp_path)] == list(range(20))
    assert verify(tmp_path) == []


def test_another_process_that_does_not_let_go_is_an_error(tmp_path, monkeypatch):
    monkeypatch.setattr("supervisor.access.audit.PATIENCE", 0.0)
    audit = Audit(tmp_path)
    audit.write({"who": "a"})
    lock = os.open(tmp_path / ".audit.lock", os.O_WRONLY)
    try:
        fcntl.flock(lock, fcntl.LOCK_EX)
        with pytest.raises(OSError, match="another process holds it"):
            audit.write({"who": "b"})
    finally:
        os.close(lock)
    audit.write({"who": "c"})
    assert [one["who"] for one in entries(tmp_path)] == ["a", "c"]


@pytest.mark.slow
def test_what_the_disk_does_not_take_waits_and_what_is_too_much_is_counted(tmp_path):
    told: list[str | None] = []
    said, well = threading.Event(), threading.Event()

    def tell(text: str | None) -> None:
        told.append(text)
        (well if text is None else said).set()

    (tmp_path / "audit.log").mkdir()
    recorder = Recorder(tmp_path, tell)
    recorder.note({"count": -1})
    assert said.wait(DEADLINE)
    for count in range(12_000):
        recorder.note({"count": count})
    (tmp_path / "audit.log").rmdir()
    assert well.wait(DEADLINE)
    recorder.close()
    found = list(entries(tmp_path))
    assert [one["count"] for one in found[:-1]] == list(range(-1, 9_999))
    assert found[-1]["result"] == "2001 entries were lost: the disk did not take them"
    assert verify(tmp_path) == []
    assert told[0] is not None and "is a directory" in told[0]
    assert told[1:] == [None]


def test_what_was_noted_is_written_at_the_end(tmp_path):
    recorder = Recorder(tmp_path, lambda text: None)
    for count in range(100):
        recorder.note({"count": count})
    recorder.close()
    recorder.note({"count": 100})  # nobody writes any more
    assert [one["count"] for one in entries(tmp_path)] == list(range(100))
