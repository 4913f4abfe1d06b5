"""Takes the pictures of docs/screenshots: `make screenshots`.

Makes a workspace of four teams in a temporary directory, supervises it, opens the real page in the
system's chromium (extra ``web-dev``) and takes a picture of each main page. The teams' Pythons are
the first of those asked for that this machine has.
"""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any

HERE = Path(__file__).parent
FOLDER = HERE / "screenshots"
ARGUMENTS = [
    "--no-sandbox",
    "--disable-gpu",
    "--disable-background-networking",
    "--no-first-run",
    "--disable-component-update",
    "--disable-sync",
]

WORKSPACE = """\
environments:
  payments: {python: "3.8 or 3.9 or >=3.10"}
  risk: {python: "3.7 or 3.6 or >=3.8"}
  ml: {python: "3.13 or 3.12 or >=3.10"}
load_from:
  - python_environment:
      name: payments
      target: {python_file: {relative_path: payments.py, location_name: payments}}
  - python_environment:
      name: risk
      target: {python_file: {relative_path: risk.py, location_name: risk}}
  - python_environment:
      name: ml
      target: {python_file: {relative_path: ml.py, location_name: ml}}
  - python_file: {relative_path: marketing.py, location_name: marketing}
  - grpc_server: {host: warehouse.internal, port: 4266, location_name: warehouse}
"""

PAYMENTS = '''\
from runner_shim import Definitions, asset, job, op, schedule, sensor


@op(description="Read the card schemes' files.")
def fetch_files():
    return []


@op(description="Match files against the ledger.")
def match(files, rates):
    return files


@op
def read_rates():
    return {}


@op
def book(matched):
    return matched


@op
def report(matched, booked):
    return None


@job(tags={"team": "payments", "region": "eu"}, owners=["payments@example.com"])
def settle():
    """Settle the day before yesterday."""
    matched = match(fetch_files(), read_rates())
    report(matched, book(matched))


@schedule(cron_schedule="30 2 * * 1-5", job=settle, execution_timezone="Europe/Berlin")
def nightly_settlement(context):
    return {}


@schedule(cron_schedule="0 */4 * * *", job=settle)
def intraday_settlement(context):
    return {}


@sensor(job=settle, minimum_interval_seconds=60)
def late_files(context):
    return None


@asset(group_name="ledger", description="Every booked transaction.")
def transactions():
    return []


@asset(group_name="ledger", deps=[transactions], owners=["payments@example.com"])
def balances():
    """What each account holds at midnight."""


@asset(group_name="ledger", deps=[transactions])
def fees():
    """What the card schemes keep."""


defs = Definitions(
    jobs=[settle],
    schedules=[nightly_settlement, intraday_settlement],
    sensors=[late_files],
    assets=[transactions, balances, fees],
)
'''

RISK = '''\
from runner_shim import Definitions, asset, job, schedule


@asset(deps=["balances", "prices"], group_name="risk", owners=["risk@example.com"])
def exposure():
    """What is at stake."""


@asset(deps=[exposure], group_name="risk")
def limits():
    """How much of it is allowed."""


@asset(group_name="risk")
def prices():
    """Closing prices."""


@job(tags={"team": "risk"}, owners=["risk@example.com"])
def stress():
    """Run the stress scenarios."""


@schedule(cron_schedule=["0 7 * * 1-5", "0 19 * * 1-5"], job=stress, execution_timezone="Europe/London")
def twice_a_day(context):
    return {}


defs = Definitions(jobs=[stress], assets=[exposure, limits, prices], schedules=[twice_a_day])
'''

BROKEN_RISK = (
    RISK
    + """

def check_scenarios(scenarios):
    for scenario in scenarios:
        if scenario["shock"] > 1:
            raise ValueError(f"scenario {scenario['name']!r} shocks by more than the whole")


check_scenarios([{"name": "rates up", "shock": 0.02}, {"name": "crash", "shock": 1.4}])
"""
)

ML = '''\
from runner_shim import Definitions, asset, job, schedule


@asset(deps=["transactions"], group_name="features")
def customer_features():
    """One row a customer."""


@asset(deps=[customer_features], group_name="models", owners=["ml@example.com"])
def churn_model():
    """Who will leave."""


@asset(deps=[churn_model, "exposure"], group_name="models")
def offers():
    """What to offer them."""


@job(tags={"team": "ml"})
def retrain():
    """Train the churn model anew."""


@schedule(cron_schedule="15 4 * * *", job=retrain)
def nightly_training(context):
    return {}


defs = Definitions(
    jobs=[retrain], assets=[customer_features, churn_model, offers], schedules=[nightly_training]
)
'''

MARKETING = '''\
from runner_shim import Definitions, job, schedule


@job(tags={"team": "marketing"})
def score_leads():
    """Score the leads of the day."""


@schedule(cron_schedule="*/10 * * * *", job=score_leads)
def scores(context):
    return {}


defs = Definitions(jobs=[score_leads], schedules=[scores])
'''

# File, address, width, height, colours, and what must be there before the picture is taken.
PICTURES = (
    ("locations", "/", 1280, 420, "light", "tr.note.failed"),
    ("location", "/location?name=risk", 1280, 900, "dark", ".failure"),
    ("definition", "/definition?location=risk&kind=asset&name=exposure", 1280, 620, "light", "svg"),
    ("definitions", "/definitions?group=location", 1280, 620, "light", "tr.group"),
    ("assets", "/assets", 1280, 620, "dark", "svg"),
    ("environments", "/environments", 1280, 620, "light", ".packages-table"),
    ("schedules", "/schedules", 1280, 440, "dark", ".timeline"),
    ("phone", "/", 360, 720, "light", "tr.note.failed"),
)


def main() -> None:
    """Everything, from nothing to the files."""
    FOLDER.mkdir(exist_ok=True)
    with tempfile.TemporaryDirectory(prefix="shop-", dir="/tmp") as place:
        folder = Path(place)
        for name, text in (
            ("workspace.yaml", WORKSPACE),
            ("payments.py", PAYMENTS),
            ("risk.py", RISK),
            ("ml.py", ML),
            ("marketing.py", MARKETING),
        ):
            (folder / name).write_text(text)
        with tempfile.TemporaryDirectory(prefix="ws", dir="/tmp") as runtime:
            environ = {**os.environ, "XDG_RUNTIME_DIR": runtime}
            command = [sys.executable, "-P", "-m", "supervisor.cli"]
            running = subprocess.Popen(
                [*command, "--web-port", "0"],
                cwd=folder,
                env=environ,
                stdout=subprocess.PIPE,
                text=True,
            )
            try:
                assert running.stdout is not None
                url = next(line.split()[-1] for line in running.stdout if "supervise web:" in line)
                subprocess.run([*command, "wait"], cwd=folder, env=environ, check=True)
                subprocess.run([*command, "reload", "ml"], cwd=folder, env=environ, check=True)
                (folder / "risk.py").write_text(BROKEN_RISK)
                photograph(url.rstrip("/"))
            finally:
                running.terminate()
                running.communicate()


def photograph(url: str) -> None:
    """All pictures of the page at ``url``."""
    from playwright.sync_api import sync_playwright

    with sync_playwright() as playwright:
        path = shutil.which("chromium") or "/usr/bin/chromium"
        browser: Any = playwright.chromium.launch(executable_path=path, args=ARGUMENTS)
        for name, address, width, height, colours, wanted in PICTURES:
            size = {"width": width, "height": height}
            context = browser.new_context(viewport=size, color_scheme=colours)
            page = context.new_page()
            page.goto(url + address)
            page.wait_for_selector(wanted, timeout=30_000)
            if address == "/":  # private memory is measured a moment after it is asked for
                page.wait_for_selector("td[data-label=memory] .dim:has-text('+')", timeout=30_000)
            page.screenshot(path=FOLDER / f"{name}.png")
            context.close()
        browser.close()


if __name__ == "__main__":
    main()
