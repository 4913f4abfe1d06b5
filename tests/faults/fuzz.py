"""Coverage-guided fuzzing, with atheris, of whatever reads what others wrote (promises 7 and 8).

    python tests/faults/fuzz.py TARGET [-max_total_time=600] [-seed=7] [CORPUS …]

``TARGET`` is one of ``TARGETS``; the options are libFuzzer's. The code under test is instrumented,
so inputs that reach new lines are kept and changed further; the run begins with real messages and
real files. What a reader may raise is named here; anything else ends the run, and the input that
did it is written to a file ``crash-…`` in the working directory.
"""

from __future__ import annotations

import contextlib
import functools
import json
import os
import shutil
import sys
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import atheris

sys.path.insert(0, str(Path(__file__).resolve().parents[2]))
with atheris.instrument_imports(include=["supervisor", "runner_shim"]):
    from runner_shim import wire
    from supervisor.errors import ConfigurationError, ProtocolError
    from supervisor.locations.failures import from_shim, scene_of
    from supervisor.protocol.methods import METHODS
    from supervisor.server.rpc import VERSION, read_request
    from supervisor.snapshots.snapshot import SnapshotError, accept, compare
    from supervisor.workspace_files import Selection, projects, reader, resolve  # noqa: F401

EXAMPLES = Path(__file__).resolve().parents[2] / "examples"


WORDS = [
    *("type", "v", "request", "report", "failure", "kind", "name", "format", "definitions", "tags"),
    *("python", "files", "installed", "watch", "frameworks", "version", "warnings", "code", "hint"),
    *("message", "exception", "frames", "file", "line", "function", "user", "causes", "relation"),
    *("traceback", "loaded", "failed", "job", "asset", "nightly", "repository", "load_seconds"),
]


def _data(provider: atheris.FuzzedDataProvider, depth: int = 0) -> Any:
    """Plain data of any shape, mostly with the words that mean something."""
    kind = provider.ConsumeIntInRange(0, 9 if depth < 5 else 6)
    if kind == 0:
        return None
    if kind == 1:
        return provider.ConsumeBool()
    if kind == 2:
        return provider.ConsumeIntInRange(0, 3)
    if kind == 3:
        return provider.ConsumeInt(8)
    if kind == 4:
        return provider.ConsumeRegularFloat()
    if kind == 5:
        return provider.ConsumeUnicodeNoSurrogates(provider.ConsumeIntInRange(0, 20))
    if kind == 6:
        return provider.PickValueInList(WORDS)
    count = provider.ConsumeIntInRange(0, 4)
    if kind == 7:
        return [_data(provider, depth + 1) for _ in range(count)]
    return {provider.PickValueInList(WORDS): _data(provider, depth + 1) for _ in range(count)}


def messages(data: bytes) -> None:
    """What a shim may say of what it loaded, or why it did not: well-formed, and of any shape."""
    provider = atheris.FuzzedDataProvider(data)
    header = {"type": "loaded", "report": _data(provider), "failure": _data(provider)}
    document = {"format": 1, "definitions": _data(provider)}
    parts = wire.encode(header, wire.pack(document), wire.pack(_data(provider)))
    message, (definitions, sources) = wire.decode(parts)
    failure = from_shim(message["failure"])
    scene_of(failure)
    json.dumps(failure.as_data(1))
    with contextlib.suppress(SnapshotError):
        snapshot = accept(
            "a",
            1,
            report=message["report"],
            definitions=definitions,
            sources=sources,
            loaded_at=0.0,
        )
        json.dumps([dict(snapshot.report), snapshot.index(), snapshot.source_map()])
        compare(snapshot, snapshot)


def frames(data: bytes) -> None:
    """Frames of any bytes."""
    provider = atheris.FuzzedDataProvider(data)
    sizes = [provider.ConsumeIntInRange(0, 4000) for _ in range(provider.ConsumeIntInRange(0, 5))]
    parts = [provider.ConsumeBytes(size) for size in sizes]
    parts.append(provider.ConsumeBytes(provider.remaining_bytes()))
    with contextlib.suppress(wire.WireError):
        wire.decode(parts)


def snapshots(data: bytes) -> None:
    """A document of definitions, of any bytes."""
    with contextlib.suppress(SnapshotError):
        snapshot = accept("a", 1, report={}, definitions=data, sources=b"\x80", loaded_at=0.0)
        snapshot.index()
        compare(snapshot, snapshot)


def requests(data: bytes) -> None:
    """What a client asks."""
    with contextlib.suppress(ProtocolError):
        request = read_request([data])
        if request["method"] in METHODS:
            METHODS[request["method"]].read(request.get("params") or {})


@functools.cache
def _folder() -> Path:
    """A temporary directory, which another process removes: libFuzzer ends this one at once."""
    folder = tempfile.mkdtemp(prefix="fuzz-")
    read, write = os.pipe()
    if os.fork() == 0:
        try:
            os.setsid()
            os.close(write)
            os.read(read, 1)
            shutil.rmtree(folder)
        finally:
            os._exit(0)
    os.close(read)
    return Path(folder)


def _workspace(name: str) -> Callable[[bytes], None]:
    def read(data: bytes) -> None:
        path = _folder() / name
        path.write_bytes(data)
        try:
            resolve(Selection(files=(path,)), cwd=path.parent, environ={})
        except ConfigurationError as error:
            assert error.problems
            for one in error.problems:
                assert one.position.file, one
                str(one)

    return read


_JOB = {"kind": "job", "name": "nightly", "tags": {"team": "risk"}, "description": "Every night."}
_DEFINITIONS = wire.pack({"format": 1, "definitions": [_JOB]})

TARGETS: dict[str, tuple[Callable[[bytes], None], list[bytes]]] = {
    "messages": (messages, []),
    "frames": (frames, wire.encode({"type": "hello", "instance": "1-a", "pid": 7})),
    "snapshots": (snapshots, [_DEFINITIONS]),
    "requests": (
        requests,
        [wire.pack({"v": VERSION, "id": 1, "method": "status", "params": {"location": "a"}})],
    ),
    "yaml": (_workspace("workspace.yaml"), [(EXAMPLES / "workspace.yaml").read_bytes()]),
    "toml": (
        _workspace("pyproject.toml"),
        [b'[tool.dagster]\nmodule_name = "a.b"\n', b'[tool.dg]\ndirectory_type = "project"\n'],
    ),
}


def main(arguments: list[str]) -> None:
    """Fuzz until libFuzzer's options say that it is enough."""
    one, seeds = TARGETS[arguments[1]]
    corpus = _folder() / "corpus"
    corpus.mkdir()
    for number, seed in enumerate(seeds):
        (corpus / str(number)).write_bytes(seed)
    atheris.Setup([arguments[0], *arguments[2:], str(corpus)], one)
    atheris.Fuzz()


if __name__ == "__main__":
    main(sys.argv)
