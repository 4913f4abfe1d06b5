"""The log of a location: lines, streams, rotation, cursors, floods, a disk that is full."""

from __future__ import annotations

import asyncio
import contextlib
import os
import shutil

import pytest

from supervisor.locations.location_log import (
    FLOOD_BURST,
    FLOOD_RATE,
    MAX_LINE_BYTES,
    TAIL_LINES,
    LastWords,
    LocationLog,
    MarkedLog,
)
from supervisor.locations.log_files import MOST_BYTES, MOST_LINES, LogChunk, LogFiles


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


@contextlib.asynccontextmanager
async def logging_to(path, clock, **more):
    """A log at ``path``; all is written at the end."""
    files = LogFiles()
    try:
        yield LocationLog(files, path, clock=clock, later=clock.later, **more)
    finally:
        await files.close(60)


def texts(lines):
    return [line.text for line in lines]


async def read(log, count=1000):
    return texts((await log.read(lines=count)).lines)


async def everything(log):
    """All that is kept, page by page."""
    chunk = await log.read(lines=MOST_LINES)
    lines = chunk.lines
    while chunk.before is not None:
        chunk = await log.read(lines=MOST_LINES, before=chunk.before)
        lines = chunk.lines + lines
    return texts(lines)


async def test_lines_are_written_when_they_are_whole(tmp_path, clock):
    async with logging_to(tmp_path / "logs" / "risk.log", clock) as log:
        log.output("out", b"one\ntw")
        assert await read(log) == ["one"]
        log.output("out", b"o\nthr")
        assert await read(log) == ["one", "two"]
        log.flush()
        assert await read(log) == ["one", "two", "thr"]


async def test_streams_do_not_mix_within_a_line(tmp_path, clock):
    async with logging_to(tmp_path / "logs" / "risk.log", clock) as log:
        log.output("out", b"half ")
        log.output("err", b"trouble\n")
        log.output("out", b"done\n")
        log.remark("generation 1 started")
        assert [(line.stream, line.text) for line in (await log.read(lines=10)).lines] == [
            ("err", "trouble"),
            ("out", "half done"),
            ("sup", "generation 1 started"),
        ]


async def test_a_remark_of_several_lines_is_several_lines(tmp_path, clock):
    async with logging_to(tmp_path / "logs" / "risk.log", clock) as log:
        log.remark("one\ntwo")
        assert await read(log) == ["one", "two"]


async def test_the_file_has_a_time_and_a_stream_in_each_line(tmp_path, clock):
    async with logging_to(tmp_path / "logs" / "risk.log", clock) as log:
        log.output("err", b"trouble\r\n")
        await read(log)
        text = log.path.read_text()
        stamp, stream, rest = text.split(" ", 2)
        assert (stream, rest) == ("err", "trouble\n")
        assert stamp.endswith("Z") and stamp[10] == "T" and len(stamp) == 24


async def test_bytes_that_are_no_text(tmp_path, clock):
    async with logging_to(tmp_path / "logs" / "risk.log", clock) as log:
        log.output("out", b"\xff\x00\n\n")
        assert await read(log) == ["\ufffd\x00", ""]


async def test_other_line_ends_do_not_split_a_line(tmp_path, clock):
    async with logging_to(tmp_path / "logs" / "risk.log", clock) as log:
        log.output("out", "a\x0bb\x0cc\x1cd\x85e\u2028f\n".encode())
        assert await read(log) == ["a\x0bb\x0cc\x1cd\x85e\u2028f"]
        assert len(log.tail) == 1


async def test_only_the_last_lines_are_asked_for(tmp_path, clock):
    async with logging_to(tmp_path / "logs" / "risk.log", clock) as log:
        log.output("out", b"".join(b"line %d\n" % n for n in range(50)))
        assert await read(log, 2) == ["line 48", "line 49"]
        assert await read(log, 0) == []
        assert texts(log.tail) == [f"line {n}" for n in range(50 - TAIL_LINES, 50)]


async def test_a_cursor_gives_what_came_after_it(tmp_path, clock):
    async with logging_to(tmp_path / "logs" / "risk.log", clock) as log:
        log.output("out", b"one\n")
        cursor = (await log.read(lines=10)).next
        assert await log.read_after(cursor) == LogChunk([], cursor)
        log.output("out", b"two\n")
        chunk = await log.read_after(cursor)
        assert texts(chunk.lines) == ["two"]
        assert chunk.next == log.cursor > cursor
        assert await log.read_after(chunk.next) == LogChunk([], log.cursor)


async def test_a_cursor_from_nowhere_is_no_trouble(tmp_path, clock):
    async with logging_to(tmp_path / "logs" / "risk.log", clock) as log:
        log.output("out", b"one\n")
        for cursor in (0, -5):
            assert texts((await log.read_after(cursor)).lines) == ["one"]
        assert await log.read_after(10**12) == LogChunk([], log.cursor)
        for before in (0, -5):
            assert await log.read(lines=1, before=before) == LogChunk([], log.cursor)
        assert texts((await log.read(lines=1, before=10**12)).lines) == ["one"]


async def test_a_reader_with_a_limit_gets_everything_in_the_end(tmp_path, clock):
    async with logging_to(tmp_path / "logs" / "risk.log", clock) as log:
        log.output("out", b"".join(b"line %d\n" % n for n in range(100)))
        found, chunk = [], await log.read_after(0, limit=200)
        while chunk.lines:
            found += texts(chunk.lines)
            chunk = await log.read_after(chunk.next, limit=200)
        assert found == [f"line {n}" for n in range(100)]


async def test_pages_from_the_end_give_everything(tmp_path, clock):
    """Neither many lines nor long ones make an answer large; each is given once, in order."""
    async with logging_to(tmp_path / "risk.log", clock, max_bytes=1024 * 1024) as log:
        written = [f"{n} " + "x" * (n % 400) for n in range(9000)]
        for begin in range(0, len(written), 100):
            log.output(
                "out", "".join(f"{line}\n" for line in written[begin : begin + 100]).encode()
            )
        chunk = await log.read(lines=10**9)
        assert len(chunk.lines) <= MOST_LINES
        assert sum(len(line.text) for line in chunk.lines) <= MOST_BYTES
        assert texts(chunk.lines) == written[-len(chunk.lines) :]
        kept = await everything(log)
        assert len(kept) > 2 * MOST_LINES
        assert kept == written[-len(kept) :]


async def test_rotation_bounds_the_disk_and_cursors_stay_valid(tmp_path, clock):
    async with logging_to(tmp_path / "risk.log", clock, max_bytes=1000) as log:
        followed, cursor = [], 0
        for n in range(200):
            log.output("out", b"line %03d\n" % n)
            if n % 3 == 0:  # one by one, and several at a time
                chunk = await log.read_after(cursor)
                followed, cursor = followed + texts(chunk.lines), chunk.next
        followed += texts((await log.read_after(cursor)).lines)
        assert followed == [f"line {n:03}" for n in range(200)]
        files = sorted(path.name for path in tmp_path.iterdir())
        assert files == ["risk.log", "risk.log.1"]
        assert sum(path.stat().st_size for path in tmp_path.iterdir()) <= 2000
        kept = await read(log)
        assert kept[-1] == "line 199"
        assert kept == followed[-len(kept) :]
        # One who fell behind gets what is still there, in order.
        assert texts((await log.read_after(0)).lines) == kept


async def test_a_log_that_exists_is_continued(tmp_path, clock):
    async with logging_to(tmp_path / "risk.log", clock) as log:
        log.remark("earlier")
        end = (await log.read(lines=1)).next
    async with logging_to(tmp_path / "risk.log", clock) as log:
        assert log.tail == []
        log.remark("later")
        assert await read(log) == ["earlier", "later"]
        assert texts((await log.read_after(end)).lines) == ["later"]


async def test_a_long_line_is_cut(tmp_path, clock):
    async with logging_to(tmp_path / "logs" / "risk.log", clock) as log:
        log.output("out", b"x" * (MAX_LINE_BYTES + 1) + b"\nnext\n")
        assert await read(log) == ["x" * MAX_LINE_BYTES + " [cut]", "next"]


async def test_a_line_without_end_does_not_grow_in_memory(tmp_path, clock):
    async with logging_to(tmp_path / "logs" / "risk.log", clock) as log:
        for _ in range(10):
            log.output("out", b"x" * 3000)
        assert len(await read(log)) == 3
        log.flush()
        assert len(await read(log)) == 4


async def test_a_flood_is_thinned_and_its_end_is_kept(tmp_path, clock):
    async with logging_to(tmp_path / "logs" / "risk.log", clock) as log:
        block = b"".join(b"%07d\n" % n for n in range(8192))
        sent = 0
        while sent < 4 * FLOOD_BURST:
            log.output("out", block)
            sent += len(block)
        log.output("out", b"the end\n")
        written = (await log.read(lines=0)).next
        assert written < FLOOD_BURST + 65536
        clock.ring()
        assert texts(log.tail)[-1] == "the end"
        chunk = await log.read(lines=1000)
        assert chunk.next < written + 32 * 1024, "of what was held only the end is written"
        assert any(
            line.stream == "sup" and "of output suppressed: more than 1 MiB a second" in line.text
            for line in chunk.lines
        )


async def test_a_flood_without_a_line_end_is_thinned_too(tmp_path, clock):
    async with logging_to(tmp_path / "logs" / "risk.log", clock) as log:
        for _ in range(400):
            log.output("out", b"x" * 65536)
        assert (await log.read(lines=0)).next < FLOOD_BURST
        log.output("out", b"\nthe end\n")
        clock.ring()
        assert texts(log.tail)[-1] == "the end"
        assert len(texts(log.tail)[-2]) <= 4096


async def test_the_end_of_a_flood_is_written_when_its_process_ends(tmp_path, clock):
    async with logging_to(tmp_path / "logs" / "risk.log", clock) as log:
        log.output("out", b"x\n" * FLOOD_BURST)
        log.output("out", b"the end")
        log.flush()
        assert texts(log.tail)[-1] == "the end"
        assert log.tail[-1].stream == "out"


async def test_after_a_flood_has_passed_all_is_written_again(tmp_path, clock):
    async with logging_to(tmp_path / "logs" / "risk.log", clock) as log:
        log.output("out", b"x\n" * FLOOD_BURST)
        clock.ring()
        clock.now += FLOOD_BURST / FLOOD_RATE
        block = b"y" * 1023 + b"\n"
        log.output("out", block * 1024)
        assert (await everything(log))[-1025:] == ["x", *["y" * 1023] * 1024]


async def test_a_disk_that_takes_nothing_costs_only_the_file(tmp_path, clock):
    (tmp_path / "logs").write_text("a file where the directory should be")
    told, heard = [], []
    files = LogFiles(heard.append)
    path = tmp_path / "logs" / "risk.log"
    log = LocationLog(files, path, clock=clock, on_write=lambda: told.append(True))
    log.output("out", b"one\n")
    assert await log.read(lines=10) == LogChunk([], 0)
    assert texts(log.tail)[0] == "one"
    assert "cannot be written: not a directory" in texts(log.tail)[1].lower()
    assert heard == [f"the log {path} cannot be written: not a directory"]
    log.output("out", b"two\n")
    assert await read(log) == []
    assert texts(log.tail)[2] == "two"
    assert told
    # Once there is a place for it, it goes on, and nothing is wrong any more.
    (tmp_path / "logs").unlink()
    log.output("out", b"three\n")
    assert await read(log) == ["three"]
    assert heard[-1] is None
    await files.close(60)


async def test_a_disk_that_hangs_holds_nobody(tmp_path, clock, monkeypatch):
    """A FIFO that nobody reads stands for it: opening it blocks the thread for ever."""
    monkeypatch.setattr("supervisor.locations.log_files.MOST_WAITING_OF_ONE", 1024 * 1024)
    os.mkfifo(tmp_path / "risk.log")
    files = LogFiles()
    log = LocationLog(files, tmp_path / "risk.log", clock=clock, later=clock.later)
    log.output("err", b"one\n")
    for _ in range(64):
        clock.now += 1
        log.output("out", (b"x" * 1023 + b"\n") * 512)
    log.remark("the end")
    assert texts(log.tail)[-1] == "the end", "what was last is known nevertheless"
    reading = asyncio.ensure_future(log.read(lines=10))
    await asyncio.sleep(0)  # it has asked
    assert await files.close(0.01) is False
    assert not reading.done()
    reading.cancel()
    await asyncio.gather(reading, return_exceptions=True)
    # Let the thread go: what was kept is written.
    with open(tmp_path / "risk.log", "rb") as fifo:  # noqa: ASYNC230
        taking = asyncio.create_task(asyncio.to_thread(fifo.read))
        assert await files.close(60) is True
        found = await taking
    assert b" err one\n" in found
    assert len(found) <= 1024 * 1024


async def test_what_was_lost_is_counted(tmp_path, clock, monkeypatch):
    monkeypatch.setattr("supervisor.locations.log_files.MOST_WAITING_OF_ONE", 1000)
    async with logging_to(tmp_path / "risk.log", clock) as log:
        log.output("out", b"x" * 2000 + b"\n")
        log.output("out", b"short\n")
        await read(log)
        assert await read(log) == [
            "short",
            "2 KiB of output lost: the disk did not take it in time",
        ]


async def test_what_somebody_else_wrote_into_it_is_passed_over(tmp_path, clock):
    async with logging_to(tmp_path / "risk.log", clock) as log:
        log.remark("one")
        await read(log)
        with log.path.open("ab") as file:
            file.write(b"x" * (2 * MOST_BYTES) + b"\n" + b"no time\n" * 5000)
        log.remark("two")
        await read(log)
        log.remark("three")
        assert await everything(log) == ["one", "two", "three"]


async def test_a_log_that_was_removed_begins_again(tmp_path, clock):
    async with logging_to(tmp_path / "logs" / "risk.log", clock) as log:
        log.remark("one")
        await read(log)
        log.path.unlink()
        log.remark("two")
        assert await read(log) == ["two"]


async def test_a_directory_that_was_removed_is_made_again(tmp_path, clock):
    async with logging_to(tmp_path / "logs" / "risk.log", clock) as log:
        log.remark("one")
        end = (await log.read(lines=1)).next
        shutil.rmtree(tmp_path / "logs")
        log.remark("two")
        assert await read(log) == ["two"]
        assert texts((await log.read_after(end)).lines) == ["two"], "a cursor stays valid"


def test_the_last_words_of_a_process_are_bounded():
    words = LastWords(100)
    words.add(b"long ago\n" * 100)
    then = words.total
    words.add(b"Fatal Python error\r\nno end")
    assert words.lines(then) == ["Fatal Python error", "no end"]
    assert words.lines()[-2:] == ["Fatal Python error", "no end"]
    assert sum(map(len, words.lines())) <= 100
    words.add(b"x" * 50)
    assert words.lines(then)[-1] == "no end" + "x" * 50


async def test_a_part_of_a_log_is_marked_and_mixes_with_no_line(tmp_path, clock):
    async with logging_to(tmp_path / "risk.log", clock) as log:
        part = MarkedLog(log)
        log.output("err", b"unfinished")
        part.output("err", b"theirs\nand mo")
        part.remark("told")
        part.output("err", b"re")
        part.flush()
        log.output("err", b" business\n")
        found = (await log.read(lines=10)).lines
        assert [(one.stream, one.text) for one in found] == [
            ("err", "verification: theirs"),
            ("sup", "verification: told"),
            ("err", "verification: and more"),
            ("err", "unfinished business"),
        ]


async def test_a_line_without_end_is_cut_in_a_part_too(tmp_path, clock):
    async with logging_to(tmp_path / "risk.log", clock) as log:
        part = MarkedLog(log)
        part.output("out", b"x" * (3 * MAX_LINE_BYTES + 1))
        part.flush()
        assert len(await read(log)) == 4
