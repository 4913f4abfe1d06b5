"""The page of a supervisor that listens on another machine: by its address, with keys."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
from commands import foreground, supervise
from supervised import environ, make_workspace, poll_now

from supervisor.runtime_dir import running_supervisors

from .site import TEAM, Page

pytestmark = pytest.mark.slow


@pytest.fixture
def elsewhere(tmp_path: Path) -> Iterator[Path]:
    """A directory and a runtime directory that know nothing of the supervisor."""
    place = tmp_path / "far"
    (place / "run").mkdir(parents=True, mode=0o700)
    yield place


def add_keys(folder: Path, runtime: Path, name: str, role: str) -> Path:
    done = supervise("keys", "add", name, "--role", role, cwd=folder, runtime=runtime)
    assert done.returncode == 0, done.stderr
    return folder / f"{name}.keys"


def test_it_shows_and_orders_what_its_keys_may(
    tmp_path: Path, runtime: Path, elsewhere: Path
) -> None:
    near = tmp_path / "near"
    near.mkdir()
    make_workspace(near, {"payments.py": TEAM})
    keys = {role: add_keys(near, runtime, role, role) for role in ("viewer", "editor")}
    with foreground(near, runtime, "--listen", "tcp://127.0.0.1:*") as running:
        running.until(lambda line: ": ready" in line)
        (info,) = running_supervisors(environ(runtime))
        address = str(info["listen"])
        pages = {}
        try:
            for role, file in keys.items():
                pages[role] = Page(
                    elsewhere, elsewhere / "run", "--address", address, "--keys", str(file)
                )
            page = pages["editor"]
            for path in ("/", "/definitions", "/assets", "/search?q=settle", "/environments"):
                assert page.ask(path).status == 200, path
            assert f"at {address}" in page.get("/").text
            assert "key:editor" in page.get("/").text
            for view in ("definitions", "logs", "process", "history", "workspace"):
                assert page.get("/location", name="payments", view=view).status == 200, view
            assert "team was loaded" in page.get("/location/log", name="payments").text
            assert page.api("/status")["workspace"] == {
                "name": f"{near / 'workspace.yaml'} at {address}",
                "directory": str(near),
                "key": address,
            }
            sent = page.send("/orders", order="stop", location="payments", sure="1")
            assert sent.status == 303
            poll_now(lambda: "state stopped" in page.get("/").text, "it has stopped")
            refused = pages["viewer"].send("/orders", order="start", location="payments")
            assert refused.status == 403
            assert running.end() == 0
            gone = (503, 504)
            poll_now(lambda: page.get("/api/v1/status").status in gone, "its end is noticed")
            assert page.get("/").status == 200
            with foreground(near, runtime, "--listen", address) as again:
                again.until(lambda line: ": ready" in line)
                poll_now(lambda: page.get("/readyz").status == 200, "it is there again")
                assert "settle" in page.get("/definitions").text
        finally:
            said = [page.end() for page in pages.values()]
    assert not [text for text in said if "Traceback" in text]


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["--address", "tcp://127.0.0.1:1"], "belong together"),
        (["--address", "127.0.0.1:1", "--keys", "a.keys"], "is no TCP address"),
        (["--address", "tcp://127.0.0.1:1", "--keys", "a.keys"], "a.keys"),
        (["--address", "tcp://127.0.0.1:1", "--keys", "a.keys", "-w", "x.yaml"], "was chosen too"),
    ],
)
def test_what_makes_no_sense_is_said(
    tmp_path: Path, runtime: Path, arguments: list[str], said: str
) -> None:
    (tmp_path / "a.keys").write_text("{}")
    (tmp_path / "a.keys").chmod(0o600)
    done = supervise("web", "--port", "0", *arguments, cwd=tmp_path, runtime=runtime)
    assert done.returncode != 0
    assert said in done.stderr
    assert "Traceback" not in done.stderr
