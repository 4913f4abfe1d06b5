"""The adapters of real frameworks hold to the contract, in every release that is tested."""

from __future__ import annotations

import pytest

from .conftest import PROGRAMS, RELEASES, ROOT, run
from .eras import Environment

pytestmark = [pytest.mark.real_dagster, pytest.mark.timeout(600)]


@pytest.mark.parametrize("release", RELEASES)
def test_dagster_holds_to_the_contract(release: str, dagster_environment: Environment) -> None:
    python = dagster_environment(release)
    program = str(PROGRAMS / "hold_to_contract.py")
    found = run(python, program, str(ROOT), "dagster")
    assert found == run(python, program, str(ROOT), "dagster", hash_seed="7")
    assert {key.partition(":")[2] for key in found["found"]} >= {"nightly", "weekly"}
    assert found["repositories"] == [{"name": "team"}]
