"""The log of a location: lines, streams, rotation, cursors, floods, a disk that is full."""

from __future__ import annotations

import pytest

from supervisor.capture import (
    FLOOD_BURST,
    FLOOD_RATE,
    MAX_LINE_BYTES,
    TAIL_LINES,
    LocationLog,
    MarkedLog,
)


class Clock:
    """A clock that stands still until it is told."""

    def __init__(self):
        self.now = 100.0
        self.calls = []

    def __call__(self):
        return self.now

    def later(self, seconds, call):
        self.calls.append(call)

    def ring(self):
        calls, self.calls = self.calls, []
        for call in calls:
            call()


@pytest.fixture
def clock():
    return Clock()


@pytest.fixture
def log(tmp_path, clock):
    return LocationLog(tmp_path / "logs" / "risk.log", clock=clock, later=clock.later)


def texts(lines):
    return [line.text for line in lines]


def read(log, count=1000):
    return texts(log.read(lines=count)[0])


def test_lines_are_written_when_they_are_whole(log):
    log.output("out", b"one\ntw")
    assert read(log) == ["one"]
    log.output("out", b"o\nthr")
    assert read(log) == ["one", "two"]
    log.flush()
    assert read(log) == ["one", "two", "thr"]


def test_streams_do_not_mix_within_a_line(log):
    log.output("out", b"half ")
    log.output("err", b"trouble\n")
    log.output("out", b"done\n")
    log.remark("generation 1 started")
    lines, _ = log.read(lines=10)
    assert [(line.stream, line.text) for line in lines] == [
        ("err", "trouble"),
        ("out", "half done"),
        ("sup", "generation 1 started"),
    ]


def test_a_remark_of_several_lines_is_several_lines(log):
    log.remark("one\ntwo")
    assert read(log) == ["one", "two"]


def test_the_file_has_a_time_and_a_stream_in_each_line(log):
    log.output("err", b"trouble\r\n")
    text = log.path.read_text()
    stamp, stream, rest = text.split(" ", 2)
    assert (stream, rest) == ("err", "trouble\n")
    assert stamp.endswith("Z") and stamp[10] == "T" and len(stamp) == 24


def test_bytes_that_are_no_text(log):
    log.output("out", b"\xff\x00\n\n")
    assert read(log) == ["\ufffd\x00", ""]


def test_other_line_ends_do_not_split_a_line(log):
    log.output("out", "a\x0bb\x0cc\x1cd\x85e\u2028f\n".encode())
    assert read(log) == ["a\x0bb\x0cc\x1cd\x85e\u2028f"]
    assert len(log.tail) == 1


def test_only_the_last_lines_are_asked_for(log):
    log.output("out", b"".join(b"line %d\n" % n for n in range(50)))
    assert read(log, 2) == ["line 48", "line 49"]
    assert read(log, 0) == []
    assert texts(log.tail) == [f"line {n}" for n in range(50 - TAIL_LINES, 50)]


def test_a_cursor_gives_what_came_after_it(log):
    log.output("out", b"one\n")
    _, cursor = log.read(lines=10)
    assert log.read_after(cursor) == ([], cursor)
    log.output("out", b"two\n")
    assert log.cursor > cursor
    lines, cursor = log.read_after(cursor)
    assert texts(lines) == ["two"]
    assert log.read_after(cursor) == ([], log.cursor)


def test_a_cursor_from_nowhere_is_no_trouble(log):
    log.output("out", b"one\n")
    assert texts(log.read_after(0)[0]) == ["one"]
    assert log.read_after(10**12) == ([], log.cursor)
    assert texts(log.read_after(-5)[0]) == ["one"]


def test_a_reader_with_a_limit_gets_everything_in_the_end(log):
    log.output("out", b"".join(b"line %d\n" % n for n in range(100)))
    found, cursor = [], 0
    while cursor < log.cursor:
        lines, cursor = log.read_after(cursor, limit=200)
        assert lines
        found += texts(lines)
    assert found == [f"line {n}" for n in range(100)]


def test_rotation_bounds_the_disk_and_cursors_stay_valid(tmp_path, clock):
    log = LocationLog(tmp_path / "risk.log", max_bytes=1000, clock=clock)
    followed, cursor = [], 0
    for n in range(200):
        log.output("out", b"line %03d\n" % n)
        lines, cursor = log.read_after(cursor)
        followed += texts(lines)
    assert followed == [f"line {n:03}" for n in range(200)]
    files = sorted(path.name for path in tmp_path.iterdir())
    assert files == ["risk.log", "risk.log.1"]
    assert sum(path.stat().st_size for path in tmp_path.iterdir()) <= 2000
    kept = read(log)
    assert kept[-1] == "line 199"
    assert kept == followed[-len(kept) :]
    # One who fell behind gets what is still there, in order.
    late, _ = log.read_after(0)
    assert texts(late) == kept


def test_a_log_that_exists_is_continued(tmp_path, clock):
    LocationLog(tmp_path / "risk.log", clock=clock).remark("earlier")
    log = LocationLog(tmp_path / "risk.log", clock=clock)
    assert log.tail == []
    log.remark("later")
    assert read(log) == ["earlier", "later"]


def test_a_long_line_is_cut(log):
    log.output("out", b"x" * (MAX_LINE_BYTES + 1) + b"\nnext\n")
    assert read(log) == ["x" * MAX_LINE_BYTES + " [cut]", "next"]


def test_a_line_without_end_does_not_grow_in_memory(log):
    for _ in range(10):
        log.output("out", b"x" * 3000)
    assert len(read(log)) == 3
    log.flush()
    assert len(read(log)) == 4


def test_a_flood_is_thinned_and_its_end_is_kept(log, clock):
    block = b"".join(b"%07d\n" % n for n in range(8192))
    sent = 0
    while sent < 4 * FLOOD_BURST:
        log.output("out", block)
        sent += len(block)
    log.output("out", b"the end\n")
    assert log.cursor < FLOOD_BURST + 65536
    written = log.cursor
    clock.ring()
    assert texts(log.tail)[-1] == "the end"
    assert log.cursor < written + 32 * 1024, "of what was held only the end is written"
    assert any(
        line.stream == "sup" and "of output suppressed: more than 1 MiB a second" in line.text
        for line in log.read(lines=10_000)[0]
    )


def test_a_flood_without_a_line_end_is_thinned_too(log, clock):
    for _ in range(400):
        log.output("out", b"x" * 65536)
    assert log.path.stat().st_size < FLOOD_BURST
    log.output("out", b"\nthe end\n")
    clock.ring()
    assert texts(log.tail)[-1] == "the end"
    assert len(texts(log.tail)[-2]) <= 4096


def test_the_end_of_a_flood_is_written_when_its_process_ends(log):
    log.output("out", b"x\n" * FLOOD_BURST)
    log.output("out", b"the end")
    log.flush()
    assert texts(log.tail)[-1] == "the end"
    assert log.tail[-1].stream == "out"


def test_after_a_flood_has_passed_all_is_written_again(log, clock):
    log.output("out", b"x\n" * FLOOD_BURST)
    clock.ring()
    clock.now += FLOOD_BURST / FLOOD_RATE
    block = b"y" * 1023 + b"\n"
    log.output("out", block * 1024)
    assert read(log, 1025) == ["x", *["y" * 1023] * 1024]


def test_a_disk_that_takes_nothing_costs_only_the_file(tmp_path, clock):
    (tmp_path / "logs").write_text("a file where the directory should be")
    told = []
    log = LocationLog(
        tmp_path / "logs" / "risk.log", clock=clock, on_write=lambda: told.append(True)
    )
    log.output("out", b"one\n")
    log.output("out", b"two\n")
    assert texts(log.tail)[0] == "one"
    assert "cannot be written: not a directory" in texts(log.tail)[1].lower()
    assert texts(log.tail)[2] == "two"
    assert log.read(lines=10) == ([], 0)
    assert len(told) == 2


def test_a_log_that_was_removed_begins_again(log):
    log.remark("one")
    log.path.unlink()
    log.remark("two")
    assert read(log) == ["two"]


def test_a_part_of_a_log_is_marked_and_read_alone(log):
    part = MarkedLog(log)
    begun = part.cursor
    log.output("err", b"unfinished")
    part.output("err", b"theirs\nand mo")
    part.remark("told")
    part.output("err", b"re")
    part.flush()
    log.output("err", b" business\n")
    found, after = part.read_after(begun)
    assert [(one.stream, one.text) for one in found] == [
        ("err", "theirs"),
        ("sup", "told"),
        ("err", "and more"),
    ]
    assert after == log.cursor == part.cursor
    everything, _ = log.read_after(begun)
    assert [one.text for one in everything if not MarkedLog.marks(one)] == ["unfinished business"]
    assert "verification: theirs" in [one.text for one in everything]


def test_a_line_without_end_is_cut_in_a_part_too(log):
    part = MarkedLog(log)
    part.output("out", b"x" * (3 * MAX_LINE_BYTES + 1))
    part.flush()
    lengths = [len(one.text) for one in part.read_after(0)[0]]
    assert sum(lengths) <= 3 * MAX_LINE_BYTES + 1
    assert len(lengths) == 4
