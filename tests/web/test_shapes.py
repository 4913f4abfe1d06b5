"""Whatever a shim sends, the pages can be drawn."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from runner_shim import wire
from supervisor.snapshots.snapshot import accept
from supervisor.web import timing
from supervisor.web.catalogue import assets_of, search, shelf_of
from supervisor.web.graphs import assets_drawn, nodes_of, ops_drawn
from supervisor.web.prose import Prose
from supervisor.web.render import templates
from supervisor.web.shapes import FIELDS, checked

values = st.recursive(
    st.none()
    | st.booleans()
    | st.integers(-(2**40), 2**40)
    | st.floats(allow_nan=False, allow_infinity=False)  # what is no number is refused
    | st.text(),
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.dictionaries(
            st.sampled_from(["name", "nodes", "fields", "inputs", "from", "graph", "type", "x"]),
            inner,
            max_size=4,
        )
    ),
    max_leaves=12,
)
KINDS = st.sampled_from(["job", "asset", "schedule", "sensor", "resource", "odd"])


@pytest.mark.slow
@settings(max_examples=150, deadline=None)
@given(kind=KINDS, fields=st.dictionaries(st.sampled_from(sorted(FIELDS)), values))
def test_no_field_of_any_shape_breaks_a_page(kind: str, fields: dict[str, Any]) -> None:
    given_definition = {**fields, "kind": kind, "name": "it"}
    given_definition.pop("repository", None)
    snapshot = accept(
        "here",
        1,
        report={},
        definitions=wire.pack({"format": 1, "definitions": [given_definition]}),
        sources=wire.pack({}),
        loaded_at=1.0,
    )
    shelf = shelf_of(snapshot)
    assert len(search(shelf.rows, "it")) == 1
    for by in ("kind", "location", "team", "tag", "group"):
        assert shelf.rows[0].groups(by)
    everyone = assets_of([shelf])
    assets_drawn(everyone, everyone, grouped=True)
    one = checked(shelf.definition(shelf.rows[0]))
    graphs = nodes_of(one)
    ops_drawn(one)
    crons = timing.crons_of(one)
    ticks = timing.next_ticks(one, 1_700_000_000.0)
    text = templates.get_template("definition.html").render(
        one=one,
        location="here",
        source=None,
        generation=1,
        graphs=graphs,
        prose=Prose({}),
        place_of=lambda node: shelf.source_of_node(node, None),
        others=[],
        rest={},
        targets=[],
        launched_by=[],
        crons=[(cron, timing.in_words(cron)) for cron in crons],
        ticks=ticks,
        link=type("Link", (), {"running": True}),
        supervisor=None,
        now=0.0,
        path="/definition",
        here="/definition",
        live="none",
        revision=1,
        may=lambda _role: True,
        logged_in=False,
    )
    assert "</html>" in text


def test_what_has_its_shape_stays() -> None:
    one = {
        "kind": "job",
        "name": "a",
        "tags": {"a": "b"},
        "graph": {
            "nodes": [{"name": "x", "kind": "op", "inputs": [{"name": "i", "from": ["y.r"]}]}]
        },
        "config": [{"name": "n", "type": "Int", "required": True, "fields": []}],
        "partitions": {"type": "static"},
    }
    found = checked(one)
    assert found["tags"] == one["tags"]
    assert found["partitions"] == one["partitions"]
    assert found["graph"]["nodes"][0]["inputs"][0]["from"] == ["y.r"]
    assert found["config"][0] == {"name": "n", "type": "Int", "required": True}
    assert "tags" not in checked({"tags": [1]})
