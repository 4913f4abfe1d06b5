"""Where a framework's own page shows what a page of ours shows."""

from __future__ import annotations

from typing import Any

import pytest

from supervisor.web.face import place_in_face

SERVED: Any = {"code_servers": {"socket": "/run/one.sock"}}
FACE: Any = {
    "framework": "Any",
    "url": "http://127.0.0.1:3000/under",
    "usable": True,
    "pages": {"location": "/locations/{}"},
}


def place(asked_as: str = "localhost", location: Any = SERVED, **changes: Any) -> Any:
    return place_in_face({"face": {**FACE, **changes}}, location, "location", "a/b c", asked_as)  # type: ignore[typeddict-item]


def test_it_is_below_the_address_of_that_page() -> None:
    assert place() == ("Any", "http://127.0.0.1:3000/under/locations/a%2Fb%20c")


@pytest.mark.parametrize("host", ["0.0.0.0", "[::]"])
def test_one_on_every_address_is_asked_as_ours_is(host: str) -> None:
    assert (
        place("10.0.0.7", url=f"http://{host}:3000")[1]
        == "http://10.0.0.7:3000/locations/a%2Fb%20c"
    )
    assert place("::1", url=f"http://{host}:3000")[1].startswith("http://[::1]:3000/")


def test_there_is_none_where_it_could_not_be_opened() -> None:
    assert place("page.example.com") is None  # it is on the other side of a proxy
    assert place(usable=False) is None
    assert place(pages={}) is None
    assert place(location={"code_servers": None}) is None
    assert place_in_face({"face": None}, SERVED, "run", "one", "localhost") is None  # type: ignore[typeddict-item]
