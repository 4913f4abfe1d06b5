"""The whole product at once: four Dagster eras and four native Pythons in one workspace.

Environments are made by us from a workspace file, nothing of ours is installed into them, and the
names and kinds that clients see are those that each framework itself lists.
"""

from __future__ import annotations

import shutil
from collections.abc import Callable
from pathlib import Path

import pytest
import yaml
from commands import TEAM, foreground

from .conftest import PROGRAMS, RELEASES, find_interpreter
from .eras import ERAS

pytestmark = [pytest.mark.real_dagster, pytest.mark.timeout(600)]

NATIVE = ("3.6", "3.9", "3.11", "3.12")


def test_every_era_is_ready_together_and_a_save_reloads_one(
    tmp_path: Path,
    runtime: Path,
    listed_by_dagster: Callable[[Path, Path], dict[str, list[str]]],
) -> None:
    wanted = [release.python for release in RELEASES.values()] + list(NATIVE)
    missing = [version for version in wanted if find_interpreter(version) is None]
    if missing:
        pytest.skip(f"no CPython {', '.join(missing)} on this machine")

    environments, load_from = {}, []
    for name, release in RELEASES.items():
        folder = tmp_path / name
        shutil.copytree(PROGRAMS / ERAS[name], folder, ignore=shutil.ignore_patterns("__pycache__"))
        environments[name] = {"python": release.python, "requirements": list(release.requirements)}
        target = {"relative_path": f"{name}/defs.py", "location_name": name}
        load_from.append(
            {
                "python_environment": {
                    "name": name,
                    "target": {
                        "python_file": {**target, "working_directory": name},
                    },
                }
            }
        )
    for version in NATIVE:
        (tmp_path / f"native-{version}").mkdir()
        (tmp_path / f"native-{version}" / "team.py").write_text(TEAM)
        target = {"relative_path": f"native-{version}/team.py", "location_name": version}
        load_from.append({"python_file": {**target, "environment": f"native-{version}"}})
        environments[f"native-{version}"] = {"python": version}
    file = tmp_path / "workspace.yaml"
    file.write_text(yaml.safe_dump({"environments": environments, "load_from": load_from}))

    with foreground(tmp_path, runtime, "-w", str(file)) as supervisor:
        supervisor.until(lambda line: "supervis" in line or "ready" in line)
        waited = supervisor.run("wait", "--timeout", "480")
        status = supervisor.json("status")
        failures = {one["name"]: one["failure"] for one in status["locations"] if one["failure"]}
        assert failures == {}
        assert waited.returncode == 0, waited.stderr
        locations = {one["name"]: one for one in status["locations"]}
        assert {one["state"] for one in locations.values()} == {"ready"}

        for name, release in RELEASES.items():
            entry = locations[name]
            assert entry["environment"]["python"].startswith(release.python + ".")
            python = Path(entry["environment"]["executable"])
            framework = {one["name"]: one["version"] for one in entry["serving"]["frameworks"]}
            pin = release.requirements[0].partition("==")[2]
            assert framework["dagster"].startswith(pin)
            listed = listed_by_dagster(python, tmp_path / name / "defs.py")
            counts = {kind: len(names) for kind, names in listed.items() if names}
            assert entry["serving"]["counts"] == counts
            shown = supervisor.json("list", "--location", name)["definitions"]
            found: dict[str, list[str]] = {}
            for one in shown:
                found.setdefault(one["kind"], []).append(one["name"])
            assert found == {kind: sorted(names) for kind, names in listed.items() if names}
            site = next((Path(entry["environment"]["prefix"]) / "lib").glob("python3.*"))
            ours = [path.name for path in (site / "site-packages").iterdir()]
            assert not {"zmq", "msgpack", "runner_shim"} & set(ours)

        for version in NATIVE:
            assert locations[version]["environment"]["python"].startswith(version + ".")
            assert locations[version]["serving"]["counts"] == {"job": 2, "schedule": 1}

        before = {name: one["generation"] for name, one in locations.items()}
        edited = tmp_path / "native-3.9" / "team.py"
        edited.write_text(edited.read_text().replace("hourly", "half_hourly"))
        supervisor.until(lambda line: line.startswith("3.9: ready"))
        after = {one["name"]: one["generation"] for one in supervisor.json("status")["locations"]}
        assert after.pop("3.9") == before.pop("3.9") + 1
        assert after == before
