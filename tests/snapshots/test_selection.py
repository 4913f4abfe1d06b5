"""Selections: what a text names among the assets of a snapshot and the ops of a job."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from supervisor.snapshots.selection import Node, SelectionError, asset_nodes, op_nodes, select


def asset(name, *dependencies, **fields):
    return {"kind": "asset", "name": name, "dependencies": list(dependencies), **fields}


ASSETS = asset_nodes(
    [
        asset("raw/orders", group="raw", kinds=["s3"], tags={"team": "ml"}),
        asset("raw/users", group="raw", owners=["team:data"]),
        asset("clean", "raw/orders", "raw/users", "elsewhere", compute_kind="dbt"),
        asset("report", "clean", group="finance"),
        asset("mail", "report", tags={"team": "ops"}),
        asset("from_outside", is_source=True),
        {"kind": "job", "name": "settle"},
    ]
)


@pytest.mark.parametrize(
    ("text", "names"),
    [
        ("report", "report"),
        ("report, clean", "clean report"),
        ("*", "raw/orders raw/users clean report mail"),
        ("+report", "raw/orders raw/users clean report"),
        ("*report", "raw/orders raw/users clean report"),
        ("1+report", "clean report"),
        ("2+mail", "clean report mail"),
        ("0+mail", "mail"),
        ("clean+", "clean report mail"),
        ("clean*", "clean report mail"),
        ("clean+1", "clean report"),
        ("1+report+1", "clean report mail"),
        ("+clean+", "raw/orders raw/users clean report mail"),
        ("group:finance", "report"),
        ("group:default", "clean mail"),
        ("+group:finance", "raw/orders raw/users clean report"),
        ("kind:dbt", "clean"),
        ("kind:s3", "raw/orders"),
        ("owner:team:data", "raw/users"),
        ("tag:team", "raw/orders mail"),
        ("tag:team=ml", "raw/orders"),
        ("key:raw/*", "raw/orders raw/users"),
        ("1+key:raw/*+1", "raw/orders raw/users clean"),
        ('key:"raw/*"', "raw/orders raw/users"),
    ],
)
def test_assets(text, names):
    assert " ".join(select(text, ASSETS)) == names


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("repot", "'repot' selects nothing: there is no 'repot'"),
        ("report,,clean", "'' is an empty term"),
        ("", "'' is an empty term"),
        ("group:sales", "'group:sales' selects nothing: nothing has group 'sales'"),
        ("tag:team=bi", "nothing has tag 'team=bi'"),
        ("++report", "'++report' cannot be read: write 2+name for two layers, +name for all"),
        ("from_outside", "there is no 'from_outside'"),
        ("key:[a", "nothing has key '[a'"),
    ],
)
def test_what_cannot_be_meant_names_the_term(text, words):
    with pytest.raises(SelectionError) as raised:
        select(text, ASSETS)
    assert words in str(raised.value)


def test_a_value_that_nothing_has_comes_with_those_that_there_are():
    with pytest.raises(SelectionError) as raised:
        select("group:sales", ASSETS)
    assert raised.value.unknown == "sales"
    assert raised.value.known
    assert all(isinstance(one, str) for one in raised.value.known)


def test_ops_of_a_job():
    nodes = op_nodes(
        {
            "nodes": [
                {"name": "load", "outputs": [{"name": "result"}], "tags": {"slow": "yes"}},
                {"name": "scale", "inputs": [{"name": "x", "from": ["load.result"]}]},
                {"name": "store", "after": ["scale.result"], "inputs": []},
            ]
        }
    )
    assert select("scale+", nodes) == ("scale", "store")
    assert select("*store", nodes) == ("load", "scale", "store")
    assert select("tag:slow=yes", nodes) == ("load",)


def test_a_circle_ends():
    nodes = {"a": Node("a", ("b",)), "b": Node("b", ("a",))}
    assert select("+a", nodes) == ("a", "b")


@given(st.text(alphabet="ab+*12,:[]!?\"' tagkeygroup=", max_size=20))
def test_any_text_selects_or_is_refused(text):
    nodes = {"a": Node("a"), "ab": Node("ab", ("a",)), "b": Node("b", ("ab",))}
    try:
        found = select(text, nodes)
    except SelectionError as error:
        assert str(error)
    else:
        assert found and set(found) <= set(nodes)
