"""Requirements that are saved while an environment is being made from them."""

from __future__ import annotations

import asyncio
from pathlib import Path

import pytest
from envs_support import interpreter_path, make_wheel, private_environ

from envs import EnvironmentRequest, EnvironmentStore, Progress
from supervisor.locations.environments import Environments
from supervisor.specs import EnvironmentSpec


@pytest.fixture
def environ(tmp_path: Path) -> dict[str, str]:
    wheels = tmp_path / "wheels"
    make_wheel(wheels, "lemon", "1.0")
    make_wheel(wheels, "lemon", "2.0")
    config = tmp_path / "home" / ".config" / "uv" / "uv.toml"
    config.parent.mkdir(parents=True)
    config.write_text(f"no-index = true\nfind-links = [{str(wheels)!r}]\n")
    return private_environ(tmp_path / "home", PIP_NO_INDEX="1", PIP_FIND_LINKS=str(wheels))


def lemon(installed: dict[str, str]) -> str:
    return installed["lemon"]


@pytest.mark.slow
@pytest.mark.parametrize("first", ["lemon<2", "lemon==7"], ids=["good", "wrong"])
def test_the_last_save_counts(tmp_path: Path, environ: dict[str, str], first: str) -> None:
    file = tmp_path / "requirements.txt"
    file.write_text(first)
    store = EnvironmentStore(tmp_path / "envs", environ)
    wanted = EnvironmentRequest(python=str(interpreter_path("3.11")), requirements_file=file)

    def save_another(step: Progress) -> None:
        file.write_text("lemon>1")

    made = store.sync(wanted, progress=save_another)
    assert lemon(made.installed) == "2.0"
    # And what the first text means has not been taken for it.
    file.write_text("lemon<2")
    assert lemon(store.sync(wanted).installed) == "1.0"


def test_a_text_that_never_rests_is_built_all_the_same(
    tmp_path: Path, environ: dict[str, str]
) -> None:
    file = tmp_path / "requirements.txt"
    file.write_text("lemon")
    store = EnvironmentStore(tmp_path / "envs", environ)
    wanted = EnvironmentRequest(python=str(interpreter_path("3.11")), requirements_file=file)
    steps: list[Progress] = []

    def save_another(step: Progress) -> None:
        steps.append(step)
        file.write_text(f"lemon  # {len(steps)}")

    assert lemon(store.sync(wanted, progress=save_another).installed) == "2.0"


async def test_one_that_comes_later_is_given_what_the_files_say_then(
    tmp_path: Path, environ: dict[str, str]
) -> None:
    file = tmp_path / "requirements.txt"
    file.write_text("lemon==7")
    spec = EnvironmentSpec(python=str(interpreter_path("3.11")), requirements_file=file)
    environments = Environments(tmp_path / "envs", environ)
    begun = asyncio.Event()
    together = [
        asyncio.create_task(environments.prepare(spec, lambda text: begun.set())) for _ in range(3)
    ]
    try:
        async with asyncio.timeout(60):
            await begun.wait()
            file.write_text("lemon<2")
            prepared = await environments.prepare(spec, lambda text: None)
            assert lemon(prepared.environment.installed) == "1.0"
            await asyncio.gather(*together, return_exceptions=True)
    finally:
        environments.close()
