"""Holds a framework's adapter to the contract: ``python hold_to_contract.py ROOT [NAME]``.

ROOT holds the runner_shim package. Without a name: all that can be held to it without a framework,
of every adapter, none of which may be imported. With one: the adapter of that name with its samples
(``adapters/NAME/``); prints what it found as JSON. Needs Python 3.6 and, with a name, the framework.
"""

import importlib
import inspect
import json
import os
import sys
import threading
import uuid

root = sys.argv[1]
sys.path[0] = root
from runner_shim import plain_data  # noqa: E402
from runner_shim.frameworks import registry, unread  # noqa: E402
from runner_shim.frameworks.adapter import Adapter  # noqa: E402
from runner_shim.loading.load_failure import LoadFailure  # noqa: E402

sys.path.remove(root)
HERE = os.path.dirname(os.path.abspath(__file__))
REQUIRED = ("loaded", "version", "discover", "from_attribute", "collect", "describe")
EARLY = ("before_import", "load_folder")
KINDS = (*("ambiguous_definitions", "duplicate_definition", "invalid_definition", "bad_attribute"),)
warned = []


def warn(code, message, hint=None, file=None, line=None):
    assert code == code.lower() and " " not in code, code
    assert message and "\n" not in message, message
    warned.append([code, message, hint])


class Untouchable:
    """What no adapter may ask for anything to see that it is none of its objects."""

    def __getattribute__(self, name):
        raise AssertionError(f"{name} was asked of an object of the user's")

    __eq__ = __hash__ = __bool__ = __call__ = __iter__ = None


def state():
    return threading.active_count(), sorted(os.listdir("/proc/self/fd"))


def hold_declared(entry):
    """What must be true of an adapter whose framework is not imported."""
    assert sys.modules.get(entry.presence) is None, entry.presence
    before = set(sys.modules)
    adapter = entry.adapter()
    assert adapter is entry.adapter()
    kind = type(adapter)
    new = set(sys.modules) - before
    foreign = [name for name in new if name.partition(".")[0] != "runner_shim"]
    assert not foreign, f"importing {kind} imports {foreign}"
    assert isinstance(adapter, Adapter)
    assert kind.__doc__ and adapter.name and adapter.name == adapter.name.lower()
    for name, member in vars(Adapter).items():
        if not name.startswith("_") and callable(member):
            own = getattr(kind, name)
            assert str(inspect.signature(own)) == str(inspect.signature(member)), name
            assert inspect.getdoc(own), name
            assert own is not member or name not in REQUIRED, f"{kind} lacks {name}"
    for name in ("prepare", "tick"):
        if getattr(adapter, name) is not None:
            parameters = list(inspect.signature(getattr(adapter, name)).parameters)
            assert parameters == ["roots", "order"], name
    own = [name for name in EARLY if getattr(kind, name) is not getattr(Adapter, name)]
    assert own == list(entry.early), f"the registry's line of {kind} names {entry.early}"
    top = entry.presence.partition(".")[0]
    assert top not in [package for _name, package, _nouns in unread.FRAMEWORKS]

    package = type(sys)("empty")
    package.__path__ = [os.path.join(HERE, "adapters", "nothing")]
    target = {"kind": "python_file", "name": __file__, "attribute": None, "working_directory": HERE}
    given = dict(target)
    adapter.before_import(given)
    assert given == target
    assert adapter.load_folder(package, warn) is None
    assert not adapter.loaded()
    assert adapter.judge(ValueError("no adapter's")) is None
    assert adapter.failure_files(HERE) == []
    assert sys.modules.get(entry.presence) is None, f"{entry.presence} was imported"
    return adapter.name


def plain(value):
    """True for None, bool, int, float, str, list and dict with string keys, all the way down."""
    if type(value) is list:
        return all(plain(one) for one in value)
    if type(value) is dict:
        return all(type(key) is str and plain(one) for key, one in value.items())
    return value is None or type(value) in (bool, int, float, str)


def members(module):
    return sorted((name, value) for name, value in vars(module).items() if name[:2] != "__")


def imported(folder, name):
    sys.path[:1] = [folder] + sys.path[:1]
    os.chdir(folder)
    plain_data.set_root(folder)
    return importlib.import_module(name)


def hold_run(adapter, roots):
    order = {"run_id": str(uuid.uuid4()), "job": "no such job"}
    assert adapter.prepare(roots, order) is None
    events = []
    outcome = adapter.prepare(roots, dict(order, job="nightly")).run(events.append)
    assert outcome == {"state": "success", "failure": None}, outcome
    for event in events:
        assert sorted(event) == ["data", "message", "step", "time", "type"], event
        assert plain(event), event
    assert any((event["step"] or "").startswith("load") for event in events)


def nodes_of(definitions):
    """The keys of what the jobs are made of."""
    found, waiting = set(), [one.get("graph") for one in definitions]
    for graph in waiting:
        for node in (graph or {}).get("nodes", ()):
            found.add("{}:{}".format(node["kind"], node.get("definition", node["name"])))
            waiting.append(node.get("graph"))
    return found


def hold_samples(name):
    """What the adapter does with the samples of its framework."""
    folder = os.path.join(HERE, "adapters", name)
    sample = imported(folder, "sample")
    (adapter,) = [one for one in registry.adapters() if one.name == name]
    assert type(adapter.version()) is str and adapter.version()
    strangers = [("number", 1), ("thing", Untouchable()), ("type", Untouchable)]
    assert adapter.discover(strangers, "strangers", warn) is None
    assert adapter.from_attribute(3, "number", "strangers", warn) is None
    roots = adapter.discover(sorted(members(sample) + strangers), "sample", warn)
    assert roots is not None
    repositories, definitions, sources = adapter.collect(roots, warn)
    again = adapter.collect(roots, warn)
    assert plain(repositories) and plain(definitions) and plain(sources)
    assert plain_data.ordered([repositories, definitions]) == plain_data.ordered(list(again[:2]))
    assert all(type(one["name"]) is str for one in repositories)
    found = {}
    for one in definitions:
        assert type(one["kind"]) is str and type(one["name"]) is str
        found["{kind}:{name}".format(**one)] = one
    assert len(found) == len(definitions)
    assert set(sources) <= set(found) | nodes_of(definitions)
    for file, line in sources.values():
        assert file == "sample.py" and line > 0, file
    for path in adapter.files(roots):
        assert os.path.isabs(path)
    assert warned == []
    assert sample.made == [], "a lazy definition was made before it was asked for"
    described = {}
    for key, one in sorted(found.items()):
        got, source = adapter.describe(roots, one["kind"], one["name"])
        assert plain(got) and plain(source)
        assert (source is not None and len(source) == 2) or not one.get("lazy")
        if one.get("lazy"):
            assert sorted(one) == ["kind", "lazy", "name"]
            assert "lazy" not in got
        else:
            assert plain_data.ordered(got) == plain_data.ordered(one), key
        described[key] = got
    assert sample.made == ["weekly"]
    assert adapter.describe(roots, "job", "no such job") is None
    assert adapter.describe(roots, "job", "nightly", "no such repository") is None
    if adapter.prepare is not None:
        hold_run(adapter, roots)
    one = adapter.from_attribute(sample.team, "team", "sample", warn)
    assert adapter.collect(one, warn)[0] == repositories
    try:
        wrong = imported(folder, "wrong")
        adapter.collect(adapter.discover(members(wrong), "wrong", warn), warn)
    except LoadFailure as failure:
        assert failure.kind in KINDS and failure.hint, failure.kind
        assert plain(failure.as_data())
    else:
        raise AssertionError("two where one is allowed were taken")
    before = state()
    adapter.rehearse()
    assert state() == before
    return plain_data.ordered(
        {"found": found, "described": described, "repositories": repositories}
    )


if len(sys.argv) > 2:
    print(json.dumps(hold_samples(sys.argv[2])))
else:
    print(json.dumps([hold_declared(entry) for entry in registry.entries()]))
