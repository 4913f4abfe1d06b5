"""What is done with the locations: runs, the ticks that launch them, and what is sent when they fail.

Owns how these parts are put together, and the order in which they begin. ``runs`` owns the life of a run,
``fleet`` the set of locations.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Mapping

from supervisor.fleet.fleet import Fleet
from supervisor.processes.limits import Cgroups
from supervisor.processes.run_limits import RunLimits
from supervisor.run_settings import DEFAULTS, RunSettings
from supervisor.runs.automations import Automations
from supervisor.runs.ordering import Orders
from supervisor.runs.placing import Placer
from supervisor.runs.queue import Limits
from supervisor.runs.ranges import Range
from supervisor.runs.run import Run
from supervisor.runs.store import Runs
from supervisor.runs.tick_store import TickStore
from supervisor.runs.ticking import Ticking
from supervisor.runtime_dir import RuntimeDirectory
from supervisor.server.notify_delivery import Deliveries
from supervisor.server.notifying import Notifying
from supervisor.server.state_directory import StateDirectory
from supervisor.specs import WorkspaceSpec

__all__ = ["RUN_GRACE", "Work"]

RUN_GRACE = DEFAULTS.run_grace or 0.0
"""How long runs may go on by themselves when the supervisor is told to stop (seconds)."""


class Work:
    """The runs and automations of ``fleet``; ``spec`` returns the workspace as it was read last, ``instance`` the
    directory of the instance of a framework's page that runs here, or ""."""

    def __init__(
        self,
        fleet: Fleet,
        spec: Callable[[], WorkspaceSpec],
        state: StateDirectory,
        runtime_directory: RuntimeDirectory,
        cgroups: Cgroups,
        environ: Mapping[str, str],
        instance: Callable[[], str],
    ) -> None:
        self._fleet = fleet
        self._spec = spec
        self.limits = RunLimits(cgroups)
        self.orders = Orders(
            fleet,
            state.instance_path,
            state.values_path,
            self.settings,
            self.limits,
            environ,
            instance,
        )
        self.placer = Placer(fleet, self.limits)
        self.runs = Runs(
            state.path / "runs",
            runtime_directory.path / "runs.sock",
            self.placer,
            self.limits,
            self.placer.report,
            fleet.changed,
        )
        self.notifying = Notifying(
            fleet,
            self.runs,
            Deliveries(fleet.conditions, environ),
            lambda: spec().notify or (),
            lambda: spec().title,
            state.path / "notified",
        )
        self.ticking = Ticking(fleet, self.orders.kept_in)
        self.automations = Automations(
            fleet,
            self.runs,
            self.orders,
            self.ticking,
            TickStore(state.path / "automations.db"),
            fleet.conditions.tell("automations_unwritable"),
            self.notifying.turned,
        )
        self.launching: set[asyncio.Task[Run | Range]] = set()  # of clients' orders

    def settings(self, location: str) -> RunSettings:
        """What holds for runs of ``location``: its own settings, over those of the workspace."""
        found = self._fleet.locations.get(location)
        own = RunSettings() if found is None else found.spec.runs
        return own.over(self._spec().runs or RunSettings())

    async def open(self, *, once: bool, fires: bool) -> None:
        """Adopt the runs of earlier supervisors, and begin; with ``once`` nothing is sent or fired."""
        await self.runs.open()
        if not once:
            await self.notifying.start()
            await self.automations.open(fires=fires)
        self.runs.keeper.begin()

    def settled(self) -> None:
        """The workspace has been read, and its locations are those that it names."""
        said = {one.spec.name: one.spec.runs for one in self._fleet.ordered()}
        self.orders.keep_only(said)
        self.runs.figures.keep_only(said)
        self.runs.configure(Limits(self._spec().runs or RunSettings(), said))
        self.notifying.changed()

    def look(self) -> None:
        """Locations have changed: see what can start, and what is due."""
        self.runs.look()
        self.automations.look()

    async def end(self, *, leave: bool, at_once: bool) -> None:
        """Wait for what is being launched, and end the runs unless the next supervisor is to have them."""
        if self.launching:
            await asyncio.wait(self.launching)
        if not leave:
            waits = "; ".join(f"{one.id} in {one.location}" for one in self.runs.to_end())
            if waits and not at_once:
                told = f"the supervisor is stopping once these runs have ended or been cancelled: {waits}"
                self._fleet.conditions.set("stopping", told)
            await self.runs.end(0.0 if at_once else RUN_GRACE, at_once=at_once)
        await self.runs.close()
