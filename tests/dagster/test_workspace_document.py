"""The written workspace file, and the ports of locations over TCP."""

from __future__ import annotations

from pathlib import Path

import pytest
import yaml

from supervisor.dagster.ports import assigned, remembered
from supervisor.dagster.workspace_document import Listed, workspace_document
from supervisor.face_settings import Listen
from supervisor.specs import RemoteEndpoint

PATH = Path("/srv/team/dagster-workspace.yaml")


def test_every_location_is_an_entry_under_its_name() -> None:
    listed = [
        Listed('odd: "name" #1', Path("/run/a b.sock")),
        Listed("tcp", ("127.0.0.1", 4000)),
        Listed("warehouse", RemoteEndpoint("warehouse.internal", 4266, ssl=True), {"team": "a"}),
        Listed("local", RemoteEndpoint("localhost", socket="/run/x.sock")),
    ]
    found = yaml.safe_load(workspace_document("workspace.yaml", PATH, listed))["load_from"]
    assert [one["grpc_server"] for one in found] == [
        {"location_name": 'odd: "name" #1', "socket": "/run/a b.sock"},
        {"location_name": "tcp", "host": "127.0.0.1", "port": 4000},
        {
            "location_name": "warehouse",
            "host": "warehouse.internal",
            "port": 4266,
            "ssl": True,
            "additional_metadata": {"team": "a"},
        },
        {"location_name": "local", "host": "localhost", "socket": "/run/x.sock"},
    ]


def test_without_locations_it_is_a_workspace_still() -> None:
    assert yaml.safe_load(workspace_document("w", PATH, [])) == {"load_from": []}


def test_a_location_keeps_its_port() -> None:
    listen = Listen("127.0.0.1", 4000)
    first = assigned(listen, {}, ["a", "b"])
    assert first == {"a": 4000, "b": 4001}
    # One that is away keeps its own, and a new one gets another.
    assert assigned(listen, first, ["c", "b"]) == {"a": 4000, "b": 4001, "c": 4002}
    assert assigned(Listen("127.0.0.1", 65535), {}, ["a", "b"]) == {"a": 65535}


def test_what_is_remembered_counts_from_the_same_port() -> None:
    listen = Listen("127.0.0.1", 4000)
    data = {"first": 4000, "ports": {"a": 4000, "bad": "x", "low": 1}}
    assert remembered(data, listen) == {"a": 4000}
    assert remembered(data, Listen("127.0.0.1", 5000)) == {}
    assert remembered([], listen) == remembered({"first": 4000, "ports": 3}, listen) == {}


@pytest.mark.parametrize(
    ("text", "host", "port"),
    [("4000", "127.0.0.1", 4000), ("10.0.0.5:1", "10.0.0.5", 1), ("[::1]:65535", "::1", 65535)],
)
def test_an_address_is_a_port_with_or_without_a_host(text: str, host: str, port: int) -> None:
    assert Listen.parse(text) == Listen(host, port)


@pytest.mark.parametrize("text", ["", "x", "0", "65536", "host", "host:", "١"])
def test_what_is_no_address_is_refused(text: str) -> None:
    with pytest.raises(ValueError, match="is no port"):
        Listen.parse(text)
