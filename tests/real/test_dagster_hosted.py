"""What supervisor/dagster/hosted.py does to Dagster's programs."""

from __future__ import annotations

import subprocess
from pathlib import Path

import pytest
from commands import variables
from places import PROGRAMS, ROOT

from .eras import Environment
from .test_dagster_page import HOST, OLDER_HOST

pytestmark = [
    pytest.mark.real_dagster,
    pytest.mark.timeout(600),
    pytest.mark.xdist_group("dagster page"),
]


@pytest.mark.parametrize("release", [HOST, OLDER_HOST])
def test_programs_that_start_together_open_a_new_instance_one_after_the_other(
    tmp_path: Path, runtime: Path, dagster_environment: Environment, release: str
) -> None:
    command = [dagster_environment(release), ROOT / "supervisor" / "dagster" / "hosted.py"]
    for number in range(3):
        home = tmp_path / str(number)
        home.mkdir()
        programs = [
            subprocess.Popen(
                [*command, "dagster_opens_instance"],
                cwd=PROGRAMS,
                env={**variables(runtime), "DAGSTER_HOME": str(home)},
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                text=True,
            )
            for _ in range(3)
        ]
        for one in programs:
            assert one.stdout is not None
            assert one.stdout.readline() == "about to open it\n"
        for one in programs:
            assert one.stdin is not None
            one.stdin.close()
        for one in programs:
            with one:
                assert one.wait() == 0
        # Each of them went through the lock, so that it is no luck.
        assert (home / ".opening").exists()
