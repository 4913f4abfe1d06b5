"""Takes the pictures of Dagster's page in docs/: part of `make screenshots`.

Supervises a copy of the examples with `supervise dagster`, launches a run in Dagster's own page and takes a
picture of what that page shows, in the system's chromium (extra ``web-dev``).
"""

from __future__ import annotations

import os
import shutil
import socket
import subprocess
import sys
import tempfile
from pathlib import Path

from take_screenshots import FOLDER

from benchmarks.chromium import chromium

ROOT = Path(__file__).parent.parent
sys.path.insert(0, str(ROOT / "tests"))

from dagster_page import Page  # noqa: E402

# File, address, height, a text that is clicked first, and one that must be there then.
PICTURES = (
    ("dagster-locations", "/locations", 420, "", "Loaded"),
    ("dagster-run", "/runs/{run}", 760, "", "RUN_SUCCESS"),
    ("dagster-runs", "/runs", 420, "", "Success"),
    ("dagster-job", "/locations/ml/jobs/retrain", 620, "View as Asset Graph", "churn_model"),
    ("dagster-automations", "/automation", 420, "", "retrain"),
    ("dagster-assets", "/locations/{repository}@ml/asset-groups/models", 620, "", "Materialized"),
)


def main() -> None:
    """Everything, from nothing to the files."""
    FOLDER.mkdir(exist_ok=True)
    with tempfile.TemporaryDirectory(prefix="shop-", dir="/tmp") as place:
        folder = Path(place) / "examples"
        shutil.copytree(ROOT / "examples", folder, ignore=shutil.ignore_patterns(".supervise"))
        (folder / "dagster.yaml").write_text("telemetry: {enabled: false}\n")
        with socket.create_server(("127.0.0.1", 0)) as one:
            port = one.getsockname()[1]
        with tempfile.TemporaryDirectory(prefix="ws", dir="/tmp") as runtime:
            running = subprocess.Popen(
                [sys.executable, "-P", "-m", "supervisor.cli", "dagster", "--port", str(port)],
                cwd=folder,
                env={**os.environ, "XDG_RUNTIME_DIR": runtime, "DAGSTER_HOME": ""},
                stdout=subprocess.DEVNULL,
            )
            try:
                page = Page(f"http://127.0.0.1:{port}")
                page.until("the example is in the page", lambda: loaded(page), 600.0)
                run = page.launch("ml", "retrain")
                page.succeeded(run)
                page.ask("mutation { setNuxSeen }")  # else it asks for an address first
                photograph(page, run)
            finally:
                running.terminate()
                running.wait()


def loaded(page: Page) -> bool:
    """The one location with definitions of Dagster is there, and the others have left."""
    page.loaded("ml")
    return True


def photograph(page: Page, run: str) -> None:
    """All pictures of ``page``."""
    with chromium() as browser:
        for name, address, height, clicked, wanted in PICTURES:
            context = browser.new_context(viewport={"width": 1280, "height": height})
            view = context.new_page()
            view.goto(page.url + address.format(run=run, repository=page.repository_name("ml")))
            if clicked:
                view.click(f"text={clicked}", timeout=60_000)
            view.wait_for_selector(f"text={wanted}", timeout=60_000)
            view.wait_for_load_state("networkidle")
            view.screenshot(path=FOLDER / f"{name}.png")
            context.close()


if __name__ == "__main__":
    main()
