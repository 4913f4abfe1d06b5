"""Conditions: set while true, cleared when not."""

from __future__ import annotations

from supervisor.conditions import Condition, Conditions


def test_a_condition_is_there_while_it_is_true_and_keeps_its_time():
    changes: list[int] = []
    now = 10.0
    held = Conditions(lambda: changes.append(1), lambda: now)
    held.set("disk", "the disk is full", "make room")
    now = 20.0
    held.set("disk", "the disk is full", "make room")
    assert list(held) == [Condition("disk", "the disk is full", "make room", 10.0)]
    held.set("disk", "the disk is nearly full")
    assert list(held) == [Condition("disk", "the disk is nearly full", "", 10.0)]
    held.clear("disk")
    held.clear("disk")
    assert list(held) == []
    assert len(changes) == 3
    held.tell("disk")("the disk is full")
    assert "disk" in held
    assert next(iter(held)).since == 20.0
    held.tell("disk")(None)
    assert "disk" not in held
