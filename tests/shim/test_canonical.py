"""Plain data from anything, and places in source files."""

from __future__ import annotations

import collections
import dataclasses
import datetime
import decimal
import enum
import functools
import math
import os
from pathlib import Path

import pytest

from runner_shim import plain_data


class Color(enum.Enum):
    RED = 1
    BLUE = "blue"


class Level(enum.IntEnum):
    LOW = 1


Pair = collections.namedtuple("Pair", "left right")


@dataclasses.dataclass
class Point:
    x: int
    y: object


class Hostile:
    def __getattr__(self, name):
        raise RuntimeError(name)

    def __iter__(self):
        raise RuntimeError

    def __repr__(self):
        raise RuntimeError


class HostileMapping(dict):
    def items(self):
        raise RuntimeError


@pytest.fixture(autouse=True)
def _root(tmp_path):
    plain_data.set_root(str(tmp_path))
    yield
    plain_data.set_root(os.getcwd())


@pytest.mark.parametrize(
    ("value", "expected"),
    [
        (None, None),
        (True, True),
        (5, 5),
        (0.5, 0.5),
        ("a", "a"),
        ((1, [2]), [1, [2]]),
        ({3, 1, 2}, [1, 2, 3]),
        ({"b", 1, None}, ["b", 1, None]),
        ({1: 2, Color.RED: 3, (1, 2): 4, None: 5}, {"1": 2, "RED": 3, "[1, 2]": 4, "None": 5}),
        (Color.RED, "RED"),
        (Color.BLUE, "blue"),
        (Level.LOW, "LOW"),
        (Pair(1, Pair(2, 3)), {"left": 1, "right": {"left": 2, "right": 3}}),
        (Point(1, {2}), {"x": 1, "y": [2]}),
        (datetime.date(2020, 1, 2), "2020-01-02"),
        (
            datetime.datetime(2020, 1, 2, 3, tzinfo=datetime.UTC),
            "2020-01-02T03:00:00+00:00",
        ),
        (datetime.timedelta(minutes=1), 60.0),
        (decimal.Decimal("1.10"), "1.10"),
        (2**64 - 1, 2**64 - 1),
        (2**64, str(2**64)),
        (-(2**63) - 1, str(-(2**63) - 1)),
        (math.nan, "nan"),
        (-math.inf, "-inf"),
        (b"a\xff", "a\\xff"),
        ("\ud800", "\\ud800"),
        (Hostile, "test_canonical.Hostile"),
        (HostileMapping(a=1), "test_canonical.HostileMapping"),
        (os.path.join, "posixpath.join"),
        (len, "len"),
        (functools.partial(os.path.join, "a"), "functools.partial(posixpath.join)"),
        (os.path, "posixpath"),
        (iter([1]), "list_iterator"),
        (object(), "object"),
    ],
)
def test_plain(value, expected):
    got = plain_data.plain(value)
    assert got == expected
    assert type(got) is type(expected)


def test_a_hostile_object_is_its_type():
    assert plain_data.plain(Hostile()) == "test_canonical.Hostile"
    assert plain_data.plain([Hostile()]) == ["test_canonical.Hostile"]


def test_paths_become_relative_to_the_working_directory(tmp_path):
    assert plain_data.plain(tmp_path / "a" / "b.csv") == "a/b.csv"
    assert plain_data.plain(str(tmp_path / "a")) == "a"
    assert plain_data.plain(tmp_path) == "."
    assert plain_data.plain(Path("/elsewhere/x")) == "/elsewhere/x"
    assert plain_data.plain(str(tmp_path) + "-other") == str(tmp_path) + "-other"


def test_a_linked_working_directory_is_the_same_place(tmp_path):
    (tmp_path / "real").mkdir()
    (tmp_path / "link").symlink_to(tmp_path / "real")
    plain_data.set_root(str(tmp_path / "link"))
    assert plain_data.plain(tmp_path / "real" / "x") == "x"
    assert plain_data.plain(tmp_path / "link" / "x") == "x"


def test_cycles_depth_and_size_are_bounded():
    circle: list[object] = [1]
    circle.append(circle)
    assert plain_data.plain(circle) == [1, "…"]
    deep: object = 0
    for _ in range(50):
        deep = [deep]
    assert str(plain_data.plain(deep)).count("[") == 8
    assert len(plain_data.plain(list(range(10**6)))) <= plain_data.MAX_ITEMS + 1
    assert len(plain_data.plain("x" * 10**6)) == plain_data.MAX_TEXT + 1
    bushy: object = 0
    for _ in range(8):
        bushy = [bushy] * 100
    assert len(str(plain_data.plain(bushy))) < 10**6
    same = [1]
    assert plain_data.plain([same, same]) == [[1], [1]]


def test_definition_leaves_out_what_is_absent():
    assert plain_data.definition("job", "a", tags={}, x=None, y="", z=False, n=0, k=[1]) == {
        "kind": "job",
        "name": "a",
        "z": False,
        "n": 0,
        "k": [1],
    }


def test_ordered_sorts_every_dict():
    value = {"b": [{"d": 1, "c": 2}], "a": {"z": 1, "y": 2}}
    assert str(plain_data.ordered(value)) == "{'a': {'y': 2, 'z': 1}, 'b': [{'c': 2, 'd': 1}]}"


def decorator(function):
    @functools.wraps(function)
    def inner():
        return function()

    return inner


@decorator
@functools.lru_cache
def decorated():
    pass


class Plain:
    value = 1

    def method(self):
        pass


def test_source_of_functions_and_classes():
    lines = Path(__file__).read_text().splitlines()

    def line(text):
        return lines.index(text) + 1

    plain_data.set_root(str(Path(__file__).parent))
    assert plain_data.source_of(decorated) == ["test_canonical.py", line("@decorator")]
    assert plain_data.source_of(Plain) == ["test_canonical.py", line("class Plain:")]
    assert plain_data.source_of(Plain()) == ["test_canonical.py", line("class Plain:")]
    assert plain_data.source_of(Plain().method) == [
        "test_canonical.py",
        line("    def method(self):"),
    ]
    assert plain_data.source_of(functools.partial(decorated)) == plain_data.source_of(decorated)
    assert plain_data.source_of(len) is None
    assert plain_data.source_of(Hostile()) is None


def test_source_of_a_circle_of_wrappers_ends():
    def one():
        pass

    one.__wrapped__ = one  # type: ignore[attr-defined]
    assert plain_data.source_of(one) is not None
