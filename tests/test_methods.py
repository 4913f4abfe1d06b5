"""The declarations of the control methods, and that everything else follows them."""

from __future__ import annotations

import inspect

import pytest

from supervisor import AsyncClient, Client
from supervisor.client import automation_operations, operations, run_operations
from supervisor.client.runs import AsyncRun, Run
from supervisor.errors import InvalidParameterError
from supervisor.protocol.document_modules import CONTROL_DOCUMENTS
from supervisor.protocol.methods import METHODS
from supervisor.roles import Role


@pytest.mark.parametrize("method", METHODS.values(), ids=METHODS)
def test_a_method_says_what_it_needs(method):
    assert isinstance(method.role, Role)
    assert method.sentence.endswith(".")
    assert any(hasattr(one, method.result) for one in CONTROL_DOCUMENTS)
    assert not (method.streaming and (method.waits or method.frames))
    assert not method.waits or "timeout" in {one.name for one in method.parameters}


@pytest.mark.parametrize("method", METHODS.values(), ids=METHODS)
def test_a_method_says_what_it_concerns(method):
    """Else who may not see all locations could not ask it: state its ``scope``."""
    assert method.scopes, "no parameter says which location it concerns, and no scope is stated"
    told = {one.value for one in method.scopes}
    named = {one.name for one in method.parameters if "location" in one.name}
    assert named <= told, "what other names mean is not enforced: call it `location` or `locations`"


def test_roles_include_those_before_them():
    assert Role.ADMIN.includes(Role.VIEWER)
    assert Role.EDITOR.includes(Role.EDITOR)
    assert not Role.VIEWER.includes(Role.LAUNCHER)


def test_what_only_looks_is_for_viewers():
    assert {one.name for one in METHODS.values() if one.role is not Role.VIEWER} == {
        *("reload", "restart", "stop", "start", "shutdown", "stacks"),
        *("launch", "cancel_run", "retry_run", "tick", "switch_automation"),
    }


def test_what_is_not_declared_is_refused():
    with pytest.raises(InvalidParameterError, match="'history' has no parameter 'lines'") as raised:
        METHODS["history"].read({"location": "a", "lines": 3})
    assert raised.value.hint == "it has location"
    with pytest.raises(InvalidParameterError, match="location must be a text"):
        METHODS["history"].read({})
    assert METHODS["status"].read({"since": None}) == {
        "location": None,
        "since": None,
        "timeout": 30.0,
    }


@pytest.mark.parametrize("kind", [Client, AsyncClient])
def test_both_clients_have_every_operation_as_it_is_declared(kind):
    names = _functions(operations)
    of_runs = {"launch", "preview", "runs", "run", "retry"}
    asked = {"list" if one == "definitions" else one for one in names} - {"order", "call_method"}
    for name in _functions(automation_operations):
        _declared(getattr(automation_operations, name), getattr(kind, name))
    asked |= _functions(automation_operations)
    # What one command alone asks for has no method of its own in the clients.
    assert set(METHODS) - asked == {
        *("stacks", "launch", "runs", "run", "follow_run", "cancel_run", "retry_run", "whoami"),
        "run_figures",
    }
    assert not asked - set(METHODS)
    for name in names:
        _declared(getattr(operations, name), getattr(kind, name))
    for name in of_runs:
        _declared(getattr(run_operations, name), getattr(kind, name))
    for name in _functions(run_operations) - of_runs:
        handle = Run if kind is Client else AsyncRun
        _declared(getattr(run_operations, name), getattr(handle, name), without=1)


def _functions(module):
    return {one for one in module.__all__ if inspect.isfunction(getattr(module, one))}


def _declared(operation, method, without=0):
    assert method.__doc__ == operation.__doc__
    parameters = list(inspect.signature(method).parameters.values())[1:]
    assert parameters == list(inspect.signature(operation).parameters.values())[without:]
