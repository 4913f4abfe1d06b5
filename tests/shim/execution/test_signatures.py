"""Functions that are no plain ones: decorators, methods, partials, classes, and what ``async`` returns."""

from __future__ import annotations

import functools

import pytest
from loading import every_interpreter
from places import PROGRAMS
from running import execute, failure, shown, told

from runner_shim import InvalidDefinitionError, asset, job, op
from runner_shim.definitions.signature import call, parameters

TARGET = PROGRAMS / "native_signatures.py"
ORDERS = [
    {"job": "decorators", "config": {"ops": {"scaled": {"config": {"factor": 4}}}}},
    {"job": "callables"},
    {"job": "not_awaited"},
    {"job": "not_awaited_either"},
    {"job": "retried_wrongly"},
    {"run_id": "r1", "job": "resources"},
    {"job": "late_resource"},
    {"assets": ["prices", "report"]},
]


@pytest.mark.parametrize("python", [None, *every_interpreter()[:1]])
def test_functions_that_are_no_plain_ones_get_what_they_take(python):
    found = execute(TARGET, ORDERS, python)
    decorators, callables, awaited, returned, retried, resources, late, assets = found
    assert shown(decorators) == ["decorated: 5", "named_only: 8"]
    assert shown(callables) == ["method: 42", "called: 1"]
    for run, name in ((awaited, "begun_only"), (returned, "returns_what_begins")):
        assert failure(run)["message"] == f"{name} returned a coroutine, which runs do not await"
        assert failure(run)["hint"] == "call asyncio.run() in a plain function"
    assert "a RetryRequested has the seconds_to_wait 'soon'" in failure(retried)["message"]
    assert ("STEP_SUCCESS", "one") in told(retried)
    assert shown(resources) == [
        "uses: opened",
        "uses: connection of r1",
        "uses: client of r1",
        "uses: closed",
    ]
    assert failure(late)["message"] == "resource late returned a coroutine, which runs do not await"
    assert shown(assets) == ["report: 3"]


def test_a_decorated_asset_depends_on_what_its_function_takes():
    def decorate(function):
        @functools.wraps(function)
        def wrapper(*given, **named):
            return function(*given, **named)

        return wrapper

    @asset
    @decorate
    def report(context, prices):
        return prices

    assert report.data()["dependencies"] == ["prices"]


def test_a_decorator_with_parameters_of_its_own_has_those():
    def bare(rows):
        return rows

    @functools.wraps(bare)
    def changed(context, days):
        return days

    @functools.wraps(bare)
    def more(context, *given, loud=False, **named):
        return bare(*given, **named)

    assert [one.name for one in parameters(changed)] == ["context", "days"]
    assert [one.name for one in parameters(functools.lru_cache(bare))] == ["rows"]
    assert [one.name for one in parameters(more)] == ["context", "rows", "loud"]


def test_what_has_a_place_alone_is_given_in_its_own():
    def taken(first=1, second=2, /, third=3):
        return first, second, third

    assert call(taken, None, {"second": 5}) == (1, 5, 3)
    assert call(functools.partial(taken, 7), None, {"third": 9}) == (7, 2, 9)


def test_what_takes_any_number_says_what_inputs_are():
    @op
    def any_number(*rows):
        return rows

    @op
    def one():
        return 1

    with pytest.raises(InvalidDefinitionError, match="any_number takes 0 inputs, not 1") as raised:

        @job
        def nightly():
            any_number(one())

    assert raised.value.hint == (
        "its inputs are the named parameters of its function: there are none"
    )


def test_what_has_no_name_is_told_to_have_one():
    with pytest.raises(InvalidDefinitionError, match="an op has the name None") as raised:
        op(functools.partial(print))
    assert raised.value.hint == 'give it one: name="…"'
