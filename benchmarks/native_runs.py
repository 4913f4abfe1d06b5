"""Runs of native definitions beside the same in Dagster's ``execute_in_process``: seconds for a run.

Two graphs: 200 ops, 8 of them at a time in processes of their own (Dagster's one after the other, in
process), and 500 assets of a partition, whose values both keep on the disk. Each round is a new process
that has run the graph once before; what is measured is the second time, from the order to the outcome.
Ours packs and writes its events as a run does, to a reader that drops them.
"""

from __future__ import annotations

import subprocess
from pathlib import Path

from benchmarks.against_dagster import dagster_interpreter
from benchmarks.results import Result
from benchmarks.setting import Alternating, Bare, Sample, Setting, UnavailableError

__all__ = ["measure"]

OPS, ASSETS, AT_A_TIME = 200, 500, 8
AIM = 5.0
_LONGEST = 20 * 60  # seconds of one process

_PIPELINE = f"""
@op
def load():
    return 1

@op
def scale(rows):
    return rows * 2

@op
def total(values):
    return sum(values)

@job
def pipeline():
    rows = load()
    total([scale.alias("scale_%d" % n)(rows) for n in range({OPS} - 2)])

"""

_OURS = f"""
import os, sys, tempfile, time
from runner_shim import execution
from runner_shim.loading import target
from runner_shim.process.run import Events

def swallow(descriptor):
    while os.read(descriptor, 1 << 16):
        pass

path, what = sys.argv[1:]
loaded = target.load({{"kind": "python_file", "name": path, "working_directory": os.path.dirname(path)}})
reader, writer = os.pipe()
pid = os.fork()
if not pid:
    os.close(writer)
    swallow(reader)
    os._exit(0)
os.close(reader)
emit = Events(writer)
for _ in range(2):
    with tempfile.TemporaryDirectory() as place:
        order = {{"run_id": "1", "directory": place, "storage": place + "/values"}}
        if what == "ops":
            order.update(job="pipeline", config={{"execution": {{"max_concurrent": {AT_A_TIME}}}}})
        else:
            names = ["table_%d" % number for number in range({ASSETS})]
            order.update(assets=names, partition_key="eu")
        begun = time.perf_counter()
        outcome = execution.execute(loaded, order, emit)
        seconds = time.perf_counter() - begun
        assert outcome["state"] == "success", outcome
os.close(writer)
os.waitpid(pid, 0)
print(seconds)
"""

_THEIRS = """
import runpy, sys, time
path, what = sys.argv[1:]
made = runpy.run_path(path)
from dagster import DagsterInstance, define_asset_job, Definitions
if what == "ops":
    job, options = made["pipeline"], {}
else:
    assets = [one for name, one in made.items() if name.startswith("table_")]
    defs = Definitions(assets=assets, jobs=[define_asset_job("all_of_them")])
    get = getattr(defs, "resolve_job_def", None) or defs.get_job_def
    job, options = get("all_of_them"), {"partition_key": "eu"}
for _ in range(2):
    with DagsterInstance.ephemeral() as instance:
        begun = time.perf_counter()
        result = job.execute_in_process(instance=instance, **options)
        seconds = time.perf_counter() - begun
        assert result.success
print(seconds)
"""


def measure(setting: Setting, rounds: int) -> list[Result]:
    """Both graphs; the longest of Dagster's takes half a minute, so a few rounds do."""
    interpreter, version = dagster_interpreter(setting)
    folder = setting.root / "native-runs"
    folder.mkdir()
    bare = setting.bare(interpreter, folder)
    results = []
    for what, shown, against in (
        (
            "ops",
            f"a job of {OPS} ops, {AT_A_TIME} at a time in processes of their own",
            f"`execute_in_process`, one after the other, Dagster {version}",
        ),
        (
            "assets",
            f"a run of {ASSETS} assets of a partition, values kept",
            f"`execute_in_process`, Dagster {version}",
        ),
    ):
        ours = _program(folder, f"ours_{what}", "from runner_shim", "['eu', 'us']")
        theirs = _program(
            folder, f"theirs_{what}", "from dagster", "StaticPartitionsDefinition(['eu', 'us'])"
        )
        samples = Alternating(max(2, rounds // 2)).run(
            lambda path=ours, what=what: _seconds(bare, _OURS, path, what),
            lambda path=theirs, what=what: _seconds(bare, _THEIRS, path, what),
        )
        results.append(
            Result(
                f"native runs, {what}",
                shown,
                against,
                "s",
                [one[0] for one in samples[0]],
                [one[0] for one in samples[1]],
                AIM,
                "gain",
            )
        )
    return results


def _program(folder: Path, name: str, where: str, partitions: str) -> Path:
    """A module of both graphs, with the names from ``where``."""
    lines = [
        f"{where} import StaticPartitionsDefinition, asset, job, op",
        _PIPELINE,
        f"PARTITIONS = {partitions}",
    ]
    for number in range(ASSETS):
        above = sorted({f"table_{other}" for other in (number - 1, number // 2) if number})
        lines += [
            "@asset(partitions_def=PARTITIONS)",
            f"def table_{number}({', '.join(above)}):",
            f"    return {number}",
        ]
    path = folder / f"{name}.py"
    path.write_text("\n".join(lines) + "\n")
    return path


def _seconds(bare: Bare, code: str, path: Path, what: str) -> Sample:
    done = subprocess.run(
        [str(bare.executable), "-c", code, str(path), what],
        env={**bare.environ, "DAGSTER_DISABLE_TELEMETRY": "1"},
        cwd=bare.directory,
        capture_output=True,
        text=True,
        timeout=_LONGEST,
        check=False,
    )
    if done.returncode:
        raise UnavailableError(f"a run has failed: {done.stderr[-2000:]}")
    return (float(done.stdout.split()[-1]),)
