"""``POST /api/v1/methods/NAME``: every method of the control protocol, by its declaration."""

from __future__ import annotations

from supervisor.protocol.methods import METHODS

from .site import Site


def test_methods_answer_what_the_supervisor_does(quiet: Site) -> None:
    answer = quiet.page.post("/api/v1/methods/history", {"location": "payments"})
    assert answer.status == 200, answer.text
    assert answer.json()["location"] == "payments"


def test_a_parameter_that_is_not_declared_is_refused(quiet: Site) -> None:
    answer = quiet.page.post("/api/v1/methods/history", {"location": "payments", "line": 1})
    assert answer.status == 422
    assert answer.json()["error"]["message"] == "'history' has no parameter 'line'"


def test_streams_and_raw_bytes_are_not_served() -> None:
    served = {name for name, one in METHODS.items() if one.over_http}
    assert set(METHODS) - served == {"watch", "follow", "follow_run", "snapshot"}
