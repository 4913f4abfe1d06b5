"""``make soak``: faults for as long as wanted, and the figures of it.

    python tests/faults/soak.py [--seed N] [--minutes M] [--kills K] [--runs R] [--ticks T] [--days D] [--beside B]

First ``K`` kills in a row of one trivial location, then ``R`` rounds of kills of what a run consists of
(``kills``), ``T`` rounds of kills at the points of a sensor's tick (``tick_kills``), then random faults (``schedule``) for ``M`` minutes, then ``B`` operators' days (``day``) side by side for ``D`` minutes, and then quiet and hostile
neighbours side by side. Meanwhile a client asks without pause and compares what it is served with what
was announced before, and with what it was itself served before. Prints the seed first: the same seed
plays the same schedule. Exit status 1 when a promise was broken, or something leaked; what was found is
said at the end. How long a recovery took depends on what else the machine does: more than is aimed at
is a warning.
"""

from __future__ import annotations

import argparse
import contextlib
import random
import shutil
import signal
import sys
import tempfile
import threading
import time
from collections.abc import Iterator
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

import day
from day import Day, DayFigures, Judge
from kills import coverage, play_rounds
from scene import Scene, SceneError, playing
from schedule import Figures, draw, play
from storm import STABLE, StormFigures, log_bytes, storm
from test_isolation import HOSTILE, Hostile, Watch, bounded
from tick_kills import play_tick_rounds

from supervisor.client.client import Client
from supervisor.errors import NotRunningError, SupervisorError

# What a recovery after SIGKILL of a stable one should take at most, 95 times of 100 (seconds).
AIM = 0.1
PLAIN = "from runner_shim import job\n\n@job\ndef v1():\n    pass\n"
ASKS = 2000
# An operator's day: pauses up to so many seconds.
LONGEST_PAUSE = 60.0


class Prober(threading.Thread):
    """Asks for every snapshot without pause, and counts answers, wrong ones and silences."""

    def __init__(self, scene: Scene) -> None:
        super().__init__(daemon=True)
        self._scene = scene
        self._done = threading.Event()
        # Over all supervisors: one that follows another must not know less.
        self._newest = dict.fromkeys(scene.locations, 0)
        self.answers = 0
        self.wrong: list[str] = []
        self.unanswered = 0

    def run(self) -> None:
        while not self._done.is_set():
            try:
                with Client(
                    self._scene.workspace,
                    environ={"XDG_RUNTIME_DIR": str(self._scene.runtime)},
                    timeout=60,
                ) as client:
                    while not self._done.is_set():
                        self._ask(client)
                        self._done.wait(0.02)
            except NotRunningError:
                self._done.wait(0.02)
            except SupervisorError as error:
                self.unanswered += 1
                self.wrong.append(str(error))

    def _ask(self, client: Client) -> None:
        for name in self._scene.locations:
            announced = self._scene.announced[name]
            (definition,) = client.snapshot(name).document()["definitions"]
            version = int(definition["name"].removeprefix("v"))
            self.answers += 1
            if version < announced:
                self.wrong.append(f"{name} was served as {version} after {announced} was announced")
            if version < self._newest[name]:
                self.wrong.append(f"{name} was served as {version} after {self._newest[name]} was")
            self._newest[name] = max(self._newest[name], version)

    def close(self) -> None:
        """Stop asking."""
        self._done.set()
        self.join()


def percentile(values: list[float], part: float) -> float:
    """The value that ``part`` of them stay below."""
    ordered = sorted(values)
    return ordered[min(len(ordered) - 1, int(part * len(ordered)))]


def run_storm(folder: Path, runtime: Path, kills: int) -> tuple[StormFigures, int]:
    """``kills`` of one location; the figures, and bytes that the logs have grown to."""
    with playing(
        folder, runtime, (), texts={"plain.py": PLAIN}, defaults={"restart": STABLE}
    ) as scene:
        scene.expect_ready("plain")
        figures = storm(scene, "plain", kills, warm_up=min(200, kills))
        size = log_bytes(scene)
        scene.kill_supervisor(signal.SIGTERM)
        scene.expect_nobody()
    return figures, size


def run_kills(folder: Path, runtime: Path, seed: int, rounds: int) -> None:
    """Rounds of kills of a run's processes, and what they hit; raises SceneError."""
    for figures in play_rounds(folder, runtime, seed, rounds):
        if figures.rounds == rounds:
            tell("rounds of kills of a run", figures.rounds)
            print(coverage(figures), flush=True)


def run_ticks(folder: Path, runtime: Path, seed: int, rounds: int) -> None:
    """Rounds of kills at the points of a sensor's tick; raises AssertionError."""
    for figures in play_tick_rounds(folder, runtime, seed, rounds):
        if figures.rounds == rounds:
            tell("rounds of kills at a tick", figures.rounds)
            print(dict(figures.hits), flush=True)


def run_faults(folder: Path, runtime: Path, seed: int, minutes: float) -> tuple[Figures, Prober]:
    """Random faults until the time is over."""
    figures = Figures()
    until = time.monotonic() + minutes * 60
    with playing(folder, runtime, ("a", "b", "tree"), trees=("tree",)) as scene:
        scene.expect_ready()
        prober = Prober(scene)
        prober.start()
        try:
            for fault in draw(seed, scene.locations):
                if time.monotonic() > until or prober.wrong:
                    break
                play(scene, fault, figures)
        except SceneError as error:
            prober.wrong.append(str(error))
        finally:
            prober.close()
    return figures, prober


def run_days(
    folder: Path, runtimes: list[Path], seed: int, minutes: float
) -> tuple[DayFigures, list[Judge]]:
    """Days of different seeds at the same time until the time is over; what all of them amounted to."""
    figures, judges = DayFigures(), []
    until = time.monotonic() + minutes * 60

    def spend(number: int) -> None:
        own = Day(folder / str(number), runtimes[number])
        own.start()
        judge = Judge(own)
        judges.append(judge)
        try:
            own.expect_ready()
            judge.start()
            for what in day.draw(seed + number, own.locations, LONGEST_PAUSE):
                if time.monotonic() > until or any(one.wrong for one in judges):
                    break
                day.play(own, what, figures)
                if judge.wrong:
                    judge.wrong += [f"in {what}", *own.last_words()]
        except SceneError as error:
            judge.wrong.append(str(error))
        finally:
            if judge.is_alive():
                judge.close()
            own.close()

    threads = [threading.Thread(target=spend, args=(number,)) for number in range(len(runtimes))]
    for one in threads:
        one.start()
    for one in threads:
        one.join()
    return figures, judges


def run_neighbours(folder: Path, runtime: Path) -> Iterator[tuple[str, float]]:
    """p99 of a status and a snapshot answer, in seconds, beside nobody and beside each hostile one."""
    nobody = "nobody"
    for how in (nobody, *HOSTILE, nobody):
        hostile = HOSTILE.get(how, Hostile(PLAIN, ""))
        keys = bounded(hostile.keys)
        if keys is None:
            continue  # it would have no limit here
        place = folder / how.replace(" ", "-")
        with playing(
            place, runtime, ("a", "b"), texts={"bad.py": hostile.text}, keys={"bad": keys}
        ) as scene:
            scene.expect_ready()
            watch = None if how == nobody else Watch(scene, how)
            seconds = []
            for _ in range(ASKS):
                begun = time.perf_counter()
                scene.connected().status("a")
                scene.connected().snapshot("b")
                seconds.append(time.perf_counter() - begun)
            if watch is not None:
                watch.expect_still()
        shutil.rmtree(place)
        yield how, percentile(seconds, 0.99)


def main() -> int:
    """Run it all; 1 when a promise was broken."""
    parser = argparse.ArgumentParser(description="Faults for as long as wanted.")
    parser.add_argument("--seed", type=int, default=random.SystemRandom().randrange(10**6))
    parser.add_argument("--minutes", type=float, default=40.0)
    parser.add_argument("--kills", type=int, default=10_000)
    parser.add_argument("--runs", type=int, default=500)
    parser.add_argument("--ticks", type=int, default=200)
    parser.add_argument("--days", type=float, default=60.0)
    parser.add_argument("--beside", type=int, default=2)
    chosen = parser.parse_args()
    signal.signal(signal.SIGHUP, signal.SIG_DFL)  # under nohup all that is started would ignore it
    print(f"seed {chosen.seed}", flush=True)
    folder = Path(tempfile.mkdtemp(prefix="soak-"))
    # A supervisor that is gone must have left no socket: each day has a runtime directory of its own.
    runtimes = [Path(tempfile.mkdtemp(prefix="ws", dir="/tmp")) for _ in range(chosen.beside)]
    runtime = runtimes[0]
    broken: list[str] = []
    try:
        if chosen.kills:
            broken += tell_storm(*run_storm(folder / "storm", runtime, chosen.kills))
        if chosen.runs:
            run_kills(folder / "runs", runtime, chosen.seed, chosen.runs)
        if chosen.ticks:
            run_ticks(folder / "ticks", runtime, chosen.seed, chosen.ticks)
        broken += tell_faults(*run_faults(folder / "faults", runtime, chosen.seed, chosen.minutes))
        if chosen.days and not broken:
            broken += tell_days(*run_days(folder / "days", runtimes, chosen.seed, chosen.days))
        if not broken:
            for how, seconds in run_neighbours(folder / "neighbours", runtime):
                tell(f"status and snapshot p99 beside: {how}", f"{seconds * 1000:.1f} ms")
    except (SceneError, AssertionError) as error:
        broken.append(str(error))
    finally:
        for path in (folder, *runtimes):
            shutil.rmtree(path, ignore_errors=True)
    for text in broken:
        print(f"broken promise: {text}\nseed {chosen.seed}", file=sys.stderr)
    return 1 if broken else 0


def tell(what: str, value: object) -> None:
    """One figure."""
    print(f"{what:50} {value}", flush=True)


def tell_storm(figures: StormFigures, log_size: int) -> list[str]:
    """The figures of a storm; what is wrong with them."""
    before, middle, after = figures.before, figures.middle, figures.after
    assert before is not None and middle is not None and after is not None
    tell("kills in a row survived", figures.kills)
    for part in (0.5, 0.95, 1.0):
        name = "worst" if part == 1.0 else f"p{part * 100:.0f}"
        tell(
            f"recovery after SIGKILL of a shim, {name}", f"{figures.percentile(part) * 1e3:.0f} ms"
        )
    if figures.percentile(0.95) > AIM:
        tell(
            "warning: the p95 aimed at", f"{AIM * 1e3:.0f} ms, on a machine that does nothing else"
        )
    tell("descriptors leaked", after.descriptors - before.descriptors)
    tell("private memory more, first half", middle.memory - before.memory)
    tell("private memory more, second half", after.memory - middle.memory)
    tell("bytes a kill in the second half", round(figures.growth()))
    tell("threads leaked", after.threads - before.threads)
    tell("zombies", figures.zombies)
    tell("files leaked", after.files - before.files)
    tell("bytes of all logs at the end", log_size)
    return figures.leaks()


def tell_faults(figures: Figures, prober: Prober) -> list[str]:
    """The figures of random faults; what is wrong with them."""
    tell("random faults survived", figures.faults)
    tell("processes that were hit deadly", figures.kills)
    tell("victims that were not there", figures.missed)
    tell("supervisor restarts", figures.supervisor_kills)
    tell("orphans after 2 s", figures.orphans)
    tell("longest life of an orphan", f"{figures.worst_orphan:.2f} s")
    if figures.recoveries:
        tell("recovery, p50", f"{percentile(figures.recoveries, 0.5):.2f} s")
        tell("recovery, worst", f"{figures.worst_recovery:.2f} s")
    tell("answers while faults went on", prober.answers)
    tell("wrong answers", len(prober.wrong))
    return prober.wrong[:5]


def tell_days(figures: DayFigures, judges: list[Judge]) -> list[str]:
    """The figures of operators' days; what is wrong with them."""
    tell("rounds of an operator's day", figures.rounds)
    for kind, count in figures.counts.items():
        tell(f"rounds with: {kind}", count)
    tell("second supervisors refused", figures.refused)
    tell("double supervisors", figures.doubles)
    tell("orphans", figures.orphans)
    if figures.recoveries:
        tell("well again, p50", f"{percentile(figures.recoveries, 0.5):.2f} s")
        tell("well again, worst", f"{figures.worst_recovery:.2f} s")
    tell("answers during the day", sum(one.answers for one in judges))
    wrong = [text for one in judges for text in one.wrong]
    tell("wrong or older answers", len(wrong))
    return wrong[:5]


if __name__ == "__main__":
    with contextlib.suppress(KeyboardInterrupt):
        sys.exit(main())
