"""Runs: what is launched, the monitor of each run, and the journals that outlive the supervisor.

Owns a run from its order to its one final record, and when schedules come and what of them fires
(``automations``). ``monitor`` is a program of its own: it imports
``recording``, ``met_limits``, ``processes.reporting`` and ``runner_shim.records``, and nothing else of
ours. The folder may import fleet/ and what is below it.
"""

from __future__ import annotations

__all__: list[str] = []
