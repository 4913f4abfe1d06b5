"""When there is processor time to spare, told by a clock that the test moves."""

from __future__ import annotations

from supervisor.processes.spare_time import Pace, SpareTime, calm
from supervisor.procfs import cpu_seconds


class Machine:
    """A clock, and whether the machine is calm."""

    def __init__(self) -> None:
        self.now = 50.0
        self.calm = True
        self.pace = Pace(calm=lambda: self.calm, clock=lambda: self.now)


def test_it_must_have_been_calm_for_a_while():
    machine = Machine()
    spare = SpareTime(machine.pace)
    assert not spare.look(busy=False)
    machine.now += 9.9
    assert not spare.look(busy=False)
    machine.now += 0.1
    assert spare.look(busy=False)
    assert spare.look(busy=False)
    for disturbance in ("machine", "caller"):
        machine.calm = disturbance != "machine"
        assert not spare.look(busy=disturbance == "caller")
        machine.calm = True
        assert not spare.look(busy=False)
        machine.now += 10
        assert spare.look(busy=False)


def test_what_was_used_is_given_back_after_the_period():
    machine = Machine()
    spare = SpareTime(machine.pace)
    assert spare.left == 60
    spare.spend(25)
    machine.now += 1800
    spare.spend(30)
    spare.spend(0)
    assert spare.left == 5
    machine.now += 1799
    assert spare.left == 5
    machine.now += 1
    assert spare.left == 30
    machine.now += 1800
    assert spare.left == 60


def test_the_machine_can_be_asked():
    assert calm() in (True, False)
    assert cpu_seconds(-1) == 0
