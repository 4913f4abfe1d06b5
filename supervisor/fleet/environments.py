"""What the environments of locations need, and what no location needs any more.

Owns when virtualenvs and forkservers that nothing uses are given back, which forkservers are made
ready, and what follows when other packages were installed into an environment. Environments are made
and removed by ``locations.environments`` and ``envs``, forkservers by ``processes``.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Iterable
from pathlib import Path

from supervisor.locations.location import Location
from supervisor.locations.phases import launched, prepared
from supervisor.processes.forkserver_pool import ForkserverPool

__all__ = ["EnvironmentUse"]

_COLLECT_DELAY = 5.0


class EnvironmentUse:
    """The environments that ``locations()`` use; those that are leaving count.

    ``use(prefixes)`` is told which directories are in use, ``collect(prefixes)`` removes the others
    of ours.
    """

    def __init__(
        self,
        locations: Callable[[], Iterable[Location]],
        launcher: ForkserverPool,
        use: Callable[[set[Path]], None],
        collect: Callable[[set[Path]], Awaitable[None]],
    ) -> None:
        self._locations = locations
        self._launcher = launcher
        self._use = use
        self._collect = collect
        self._timer: asyncio.TimerHandle | None = None
        self._collecting: asyncio.Task[None] | None = None

    def changed(self) -> None:
        """A location has: what it used may be free, once things have calmed down."""
        if self._timer is None:
            self._timer = asyncio.get_running_loop().call_later(_COLLECT_DELAY, self._look)

    def close(self) -> None:
        """Give nothing back any more."""
        if self._timer is not None:
            self._timer.cancel()
        if self._collecting is not None:
            self._collecting.cancel()

    def packages_changed(self, prefix: Path) -> None:
        """Other packages are installed in the environment at ``prefix``."""
        for location in self._locations():
            generation = location.newest or location.serving
            found = None if generation is None else prepared(generation.phase)
            if found is not None and found.environment.prefix == prefix:
                self._launcher.replace(found.executable)
                location.reload(f"other packages were installed into {found.environment.name}")

    def _look(self) -> None:
        self._timer = None
        if any(location.under_way for location in self._locations()):
            self.changed()
            return
        generations = (
            one for location in self._locations() for one in (location.newest, location.serving)
        )
        found = (launched(one.phase) for one in generations if one is not None)
        launches = [one for one in found if one is not None]
        self._launcher.keep_only(launches)
        for launch in launches:
            self._launcher.warm(launch)
        used = {one.prepared.environment.prefix for one in launches}
        self._use(used)
        self._collecting = asyncio.ensure_future(self._collect(used))
