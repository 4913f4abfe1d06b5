"""Dagster's own page, asked as its browser side does: GraphQL over HTTP.

Every query and mutation has been there since the webserver of Dagster 1.4, which was the first of that name.
"""

from __future__ import annotations

import json
import time
import urllib.error
import urllib.request
from collections.abc import Callable, Mapping, Sequence
from typing import Any

__all__ = ["ENDED", "Page"]

ENDED = ("SUCCESS", "FAILURE", "CANCELED")
DEADLINE = 180.0

_LOCATIONS = """{ workspaceOrError { ... on Workspace { locationEntries { name loadStatus
  locationOrLoadError { __typename ... on PythonError { message } ... on RepositoryLocation {
    serverId dagsterLibraryVersions { name version } repositories { name } } } } } } }"""
_REPOSITORY = """query Q($s: RepositorySelector!) { repositoryOrError(repositorySelector: $s) { __typename
  ... on PythonError { message stack }
  ... on Repository { name origin { id }
    jobs { name description tags { key value } modes { name } graphName
      solids { name inputs { definition { name } } outputs { definition { name } } } }
    assetNodes { assetKey { path } description groupName opNames isPartitioned kinds
      dependencyKeys { path } hasAssetChecks }
    schedules { name cronSchedule pipelineName executionTimezone description }
    sensors { name sensorType minIntervalSeconds description targets { pipelineName } }
    partitionSets { name pipelineName }
    allTopLevelResourceDetails { name } } } }"""
_RUN = """query Q($r: ID!) { runOrError(runId: $r) { __typename ... on Run { status canTerminate
  tags { key value } eventConnection { events { __typename
    ... on MessageEvent { message timestamp eventType stepKey } } } } } }"""
_LAUNCHED = """{ __typename ... on LaunchRunSuccess { run { runId } } ... on PythonError { message stack }
  ... on InvalidSubsetError { message } ... on RunConfigValidationInvalid { errors { message } } }"""


class Page:
    """The page at ``url``."""

    def __init__(self, url: str) -> None:
        self.url = url

    def ask(self, query: str, **variables: Any) -> dict[str, Any]:
        """The data of an answer; asserts that there are no errors."""
        request = urllib.request.Request(
            f"{self.url}/graphql",
            json.dumps({"query": query, "variables": variables}).encode(),
            {"content-type": "application/json"},
        )
        try:
            with urllib.request.urlopen(request, timeout=60) as reply:
                answer = json.load(reply)
        except urllib.error.HTTPError as error:
            raise AssertionError(error.read().decode()[:2000]) from None
        assert not answer.get("errors"), json.dumps(answer["errors"])[:2000]
        data: dict[str, Any] = answer["data"]
        return data

    def until(
        self, what: str, look: Callable[[], Any], seconds: float = DEADLINE, every: float = 0.05
    ) -> Any:
        """What ``look()`` gives once it is true; a page that is away is waited for."""
        deadline = time.monotonic() + seconds
        last: object = None
        while time.monotonic() < deadline:
            try:
                found = look()
                if found:
                    return found
                last = found
            except (OSError, AssertionError) as error:
                last = error
            time.sleep(every)
        raise AssertionError(f"not within {seconds:g} s: {what}: {last!r}")

    # What there is.

    def locations(self) -> dict[str, Any]:
        """Name to what the page has of the location."""
        found = self.ask(_LOCATIONS)["workspaceOrError"]["locationEntries"]
        return {one["name"]: one["locationOrLoadError"] or {} for one in found}

    def loaded(self, *names: str) -> None:
        """Wait until these locations are loaded in the page, and no other is in it."""

        def look() -> bool:
            found = self.locations()
            kinds = {name: one.get("__typename") for name, one in found.items()}
            assert kinds == dict.fromkeys(names, "RepositoryLocation"), found
            return True

        self.until(f"{', '.join(names)} in the page", look, 240.0)

    def repository_name(self, location: str) -> str:
        """Of its only one."""
        (one,) = self.locations()[location]["repositories"]
        name: str = one["name"]
        return name

    def repository(self, location: str) -> dict[str, Any]:
        """The whole document of its only repository; without its origin, which names a socket."""
        found = self.ask(_REPOSITORY, s=self._repository(location))["repositoryOrError"]
        assert found["__typename"] == "Repository", found
        del found["origin"]
        document: dict[str, Any] = found
        return document

    def description(self, location: str, asset: str) -> str:
        """Of an asset, as the page shows it now."""
        nodes = self.repository(location)["assetNodes"]
        return next(one["description"] for one in nodes if one["assetKey"]["path"] == [asset])

    # Runs.

    def launch(
        self,
        location: str,
        job: str,
        *,
        assets: Sequence[str] | None = None,
        checks: Sequence[tuple[str, str]] | None = None,
        tags: Mapping[str, str] | None = None,
        config: Mapping[str, Any] | None = None,
    ) -> str:
        """The id of a new run."""
        selector = {**self._repository(location), "jobName": job}
        if assets is not None:
            selector["assetSelection"] = [{"path": [one]} for one in assets]
        if checks is not None:
            selector["assetCheckSelection"] = [
                {"assetKey": {"path": [asset]}, "name": name} for asset, name in checks
            ]
        parameters = {
            "selector": selector,
            "runConfigData": config or {},
            "mode": "default",
            "executionMetadata": {
                "tags": [{"key": key, "value": value} for key, value in (tags or {}).items()]
            },
        }
        query = f"mutation M($p: ExecutionParams!) {{ launchRun(executionParams: $p) {_LAUNCHED} }}"
        return self._launched(self.ask(query, p=parameters)["launchRun"])

    def retry(self, run: str, strategy: str = "FROM_FAILURE") -> str:
        """The id of a run that repeats ``run``."""
        query = (
            "mutation M($p: ReexecutionParams!) "
            f"{{ launchRunReexecution(reexecutionParams: $p) {_LAUNCHED} }}"
        )
        parameters = {"parentRunId": run, "strategy": strategy}
        return self._launched(self.ask(query, p=parameters)["launchRunReexecution"])

    def run(self, run: str) -> dict[str, Any]:
        """A run with its events."""
        found: dict[str, Any] = self.ask(_RUN, r=run)["runOrError"]
        return found

    def ended(self, run: str, states: Sequence[str] = ENDED) -> dict[str, Any]:
        """The run, once it is in one of ``states``."""

        def look() -> dict[str, Any] | None:
            found = self.run(run)
            return found if found["status"] in states else None

        found: dict[str, Any] = self.until(f"run {run} is {' or '.join(states)}", look)
        return found

    def waiting(self, run: str) -> str:
        """``run``, once it has logged that it waits (tests/programs/dagster_page.py)."""

        def look() -> bool:
            found = self.run(run)
            assert "waiting" in str(found["eventConnection"]), found
            return True

        self.until("it waits", look)
        return run

    def succeeded(self, run: str) -> list[tuple[str, str | None]]:
        """The steps of a run that must have succeeded, as (type, step)."""
        found = self.ended(run)
        assert found["status"] == "SUCCESS", found
        return steps(found)

    def cancel(self, run: str) -> None:
        """Ask it to end, as the page's button does."""
        query = """mutation M($r: String!) { terminateRun(runId: $r, terminatePolicy: SAFE_TERMINATE) {
          __typename ... on TerminateRunFailure { message } ... on PythonError { message } } }"""
        found = self.ask(query, r=run)["terminateRun"]
        assert found["__typename"] == "TerminateRunSuccess", found

    def partitions_run(
        self, location: str, asset: str, keys: Sequence[str]
    ) -> list[dict[str, Any]]:
        """Launch a backfill of an asset; its runs, once all have ended."""
        query = """mutation M($p: LaunchBackfillParams!) { launchPartitionBackfill(backfillParams: $p) {
          __typename ... on LaunchBackfillSuccess { backfillId } ... on PythonError { message stack } } }"""
        parameters = {"assetSelection": [{"path": [asset]}], "partitionNames": list(keys)}
        found = self.ask(query, p=parameters)["launchPartitionBackfill"]
        assert found["__typename"] == "LaunchBackfillSuccess", (location, found)
        look = """query Q($f: RunsFilter!) { runsOrError(filter: $f) { ... on Runs {
          results { runId status tags { key value } } } } }"""
        tag = {"key": "dagster/backfill", "value": found["backfillId"]}

        def runs() -> list[dict[str, Any]] | None:
            results = self.ask(look, f={"tags": [tag]})["runsOrError"]["results"]
            done = [one for one in results if one["status"] in ENDED]
            return done if len(done) == len(keys) else None

        ended: list[dict[str, Any]] = self.until("the backfill's runs have ended", runs)
        return ended

    # Schedules and sensors.

    def turn_on(self, location: str, kind: str, name: str) -> None:
        """Have the daemon fire it. ``kind``: schedule, sensor."""
        selector = {**self._repository(location), f"{kind}Name": name}
        query = f"""mutation M($s: {kind.title()}Selector!) {{ start{kind.title()}({kind}Selector: $s) {{
          __typename ... on PythonError {{ message stack }} }} }}"""
        found = self.ask(query, s=selector)[f"start{kind.title()}"]
        assert found["__typename"] in ("ScheduleStateResult", "Sensor"), found

    def tick(self, location: str, name: str) -> dict[str, Any]:
        """The newest tick that has launched a run or failed, once there is one.

        A sensor is looked at every five seconds, and most of its ticks skip: they are left out by the query.
        """
        query = """query Q($s: InstigationSelector!) { instigationStateOrError(instigationSelector: $s) {
          ... on InstigationState { status
            done: ticks(limit: 1, statuses: [SUCCESS, FAILURE]) { status runIds error { message } }
            ticks(limit: 8) { status timestamp skipReason } } } }"""
        daemons = """{ instance { daemonHealth { allDaemonStatuses {
          daemonType healthy lastHeartbeatTime } } } }"""

        def look() -> dict[str, Any]:
            selector = {**self._repository(location), "name": name}
            found = self.ask(query, s=selector)["instigationStateOrError"]
            done: list[dict[str, Any]] = found.get("done") or []
            assert done, (found, self.ask(daemons))
            return done[0]

        found: dict[str, Any] = self.until(f"a tick of {name} of {location}", look, 300.0)
        return found

    def reload(self, location: str) -> dict[str, Any]:
        """The page's reload button."""
        query = """mutation M($l: String!) { reloadRepositoryLocation(repositoryLocationName: $l) {
          __typename ... on WorkspaceLocationEntry { locationOrLoadError { __typename
            ... on PythonError { message } } } } }"""
        found: dict[str, Any] = self.ask(query, l=location)["reloadRepositoryLocation"]
        return found

    def _repository(self, location: str) -> dict[str, Any]:
        return {
            "repositoryLocationName": location,
            "repositoryName": self.repository_name(location),
        }

    @staticmethod
    def _launched(found: dict[str, Any]) -> str:
        assert found["__typename"] == "LaunchRunSuccess", found
        run: str = found["run"]["runId"]
        return run


def steps(run: Mapping[str, Any]) -> list[tuple[str, str | None]]:
    """The ordered (type, step) of a run's events; those of the engine itself, whose number and order
    depend on the moment, are left out."""
    return [
        (one["eventType"], one["stepKey"])
        for one in run["eventConnection"]["events"]
        if one.get("eventType") and one["eventType"] not in ("ENGINE_EVENT", "LOGS_CAPTURED")
    ]
