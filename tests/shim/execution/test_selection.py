"""The grammar of selections: names, and how far up and down from them."""

from __future__ import annotations

import pytest

from runner_shim.execution.selection import select

UPSTREAM = {
    "a": set(),
    "b": {"a"},
    "c": {"b"},
    "d": {"c"},
    "graph.one": {"a"},
    "graph.two": {"graph.one"},
    "lone": set(),
}


@pytest.mark.parametrize(
    ("clauses", "names"),
    [
        (["b"], "b"),
        (["b", "d"], "b d"),
        (["b+"], "b c"),
        (["b++"], "b c d"),
        (["+c"], "b c"),
        (["++c"], "a b c"),
        (["+c+"], "b c d"),
        (["*c"], "a b c"),
        (["b*"], "b c d"),
        (["*c*"], "a b c d"),
        (["graph"], "graph.one graph.two"),
        (["+graph"], "a graph.one graph.two"),
        (["graph.two"], "graph.two"),
        (["*"], " ".join(sorted(UPSTREAM))),
        ([" b "], "b"),
    ],
)
def test_clauses_name_steps(clauses, names):
    assert select(clauses, UPSTREAM) == (set(names.split()), [])


def test_names_that_do_not_exist_are_told():
    assert select(["b", "x", "+y+", ""], UPSTREAM) == ({"b"}, ["x", "y", ""])
