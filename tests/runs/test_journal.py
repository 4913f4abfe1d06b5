"""The journal of a run: what is on the disk is what is known, wherever it was cut."""

from __future__ import annotations

import fcntl
import os
import subprocess
import sys
from pathlib import Path

import pytest
from monitored import output_size

from runner_shim import records
from supervisor.runs.journal import Journal, boot_id

ORDER = {"format": 1, "run": "a", "location": "team", "job": "nightly", "boot": boot_id()}


@pytest.fixture
def journal(tmp_path: Path) -> Journal:
    made = Journal(tmp_path / "a")
    made.create(ORDER)
    return made


def write_events(journal: Journal, count: int) -> bytes:
    data = b"".join(records.framed(records.pack({"type": "LOGS", "n": n})) for n in range(count))
    (journal.path / "events").write_bytes(data)
    return data


def test_an_order_is_read_as_it_was_written(journal):
    assert journal.order() == ORDER
    assert (journal.begun(), journal.final(), journal.cancelled()) == (None, None, None)
    assert journal.monitor() == 0
    assert [path.name for path in journal.path.iterdir()] == ["order"]


def test_an_order_is_there_whole_or_not_at_all(tmp_path, journal):
    data = (journal.path / "order").read_bytes()
    for cut in range(len(data)):
        (journal.path / "order").write_bytes(data[:cut])
        assert journal.order() is None
    with pytest.raises(OSError):
        journal.create(ORDER)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["a"]


def test_events_are_read_up_to_where_they_are_cut(journal):
    data = write_events(journal, 20)
    size = len(data) // 20
    for cut in range(len(data) + 1):
        (journal.path / "events").write_bytes(data[:cut])
        found, behind = journal.events()
        assert [one["n"] for one in found] == list(range(cut // size))
        assert behind == cut // size * size
    assert journal.events(size * 18)[0] == [{"type": "LOGS", "n": 18}, {"type": "LOGS", "n": 19}]


def test_there_is_one_final_record(journal):
    assert journal.finish("lost", "its monitor was killed")
    assert journal.finish("success", "")
    final = journal.final()
    assert final is not None
    assert (final["state"], final["reason"]) == ("lost", "its monitor was killed")
    assert sorted(path.name for path in journal.path.iterdir()) == [
        "final",
        "monitor.lock",
        "order",
    ]


def test_a_final_record_is_there_whole_or_not_at_all(journal):
    journal.finish("lost", "its monitor was killed")
    data = (journal.path / "final").read_bytes()
    for cut in range(len(data)):
        (journal.path / "final").write_bytes(data[:cut])
        assert journal.final() is None


def test_a_final_record_that_the_disk_does_not_take_leaves_nothing(journal):
    import resource

    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (0, hard))
    try:
        with pytest.raises(OSError):
            journal.finish("failure", "too late")
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
    assert not [path.name for path in journal.path.iterdir() if "final" in path.name]
    assert journal.finish("failure", "in time")
    assert journal.final()["reason"] == "in time"


def test_whose_monitor_lives_is_not_finished_by_others(journal):
    holding = (
        "import fcntl, os, sys\n"
        "lock = os.open(sys.argv[1], os.O_RDWR | os.O_CREAT)\n"
        "fcntl.lockf(lock, fcntl.LOCK_EX)\n"
        "print(flush=True)\n"
        "sys.stdin.read()\n"
    )
    with subprocess.Popen(
        [sys.executable, "-c", holding, str(journal.path / "monitor.lock")],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
    ) as holder:
        assert holder.stdout is not None
        holder.stdout.readline()
        assert journal.monitor() == holder.pid
        assert not journal.finish("lost", "")
        assert journal.final() is None
        holder.communicate()
    assert journal.monitor() == 0
    assert journal.finish("lost", "")


def test_output_is_read_from_where_it_is_kept(journal):
    for begin, text in ((0, "aaaa"), (4, "bbbb"), (8, "cc")):
        (journal.path / f"out.{begin}").write_text(text)
    (journal.path / "out.0").unlink()
    assert journal.output("out") == (b"bbbb", 8)
    assert journal.output("out", 8) == (b"cc", 10)
    assert journal.output("out", 10) == (b"", 10)
    assert journal.output("out", 5, most=2) == (b"bb", 7)
    assert journal.output("err") == (b"", 0)
    assert output_size(journal, "out") == 10


def test_the_lock_of_a_journal_is_a_posix_lock(journal):
    """So that it is kept over exec, tells its holder's process id, and is not inherited by a fork."""
    lock = os.open(journal.path / "monitor.lock", os.O_RDWR | os.O_CREAT)
    fcntl.lockf(lock, fcntl.LOCK_EX)
    code = (
        "import sys; from pathlib import Path; from supervisor.runs.journal import Journal\n"
        "print(Journal(Path(sys.argv[1])).monitor())"
    )
    done = subprocess.run(
        [sys.executable, "-c", code, str(journal.path)], capture_output=True, text=True, check=True
    )
    os.close(lock)
    assert int(done.stdout) == os.getpid()
