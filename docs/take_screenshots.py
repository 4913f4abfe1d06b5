"""Takes the pictures of docs/screenshots: `make screenshots`.

Makes a workspace of four teams in a temporary directory, supervises it, opens the real page in the
system's chromium (extra ``web-dev``) and takes a picture of each main page. The teams' Pythons are
the first of those asked for that this machine has.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
import tempfile
from pathlib import Path

from benchmarks.chromium import chromium

HERE = Path(__file__).parent
FOLDER = HERE / "screenshots"

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
from runner_shim import Definitions, Field, In, Out, asset, graph, job, op, schedule, sensor


@op(
    out=Out(list),
    config_schema={"schemes": Field([str], default_value=["visa"], description="Whose files.")},
)
def fetch_files(context):
    """Read the card schemes' files."""
    return []


@op(ins={"files": In(list)}, out=Out(list))
def unpack(files):
    return files


@op(ins={"files": In(list)}, out=Out(list))
def validate(files):
    return files


@graph
def prepare(files):
    return validate(unpack(files))


@op(
    ins={"files": In(list), "rates": In(dict)},
    out={"matched": Out(list), "rest": Out(list, description="Without a partner.")},
)
def match(files, rates):
    """Match files against the ledger."""
    return files, []


@op(out=Out(dict))
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
    matched, _ = match(prepare(fetch_files()), read_rates())
    report(matched, book(matched))


@schedule(cron_schedule="30 2 * * 1-5", job=settle, execution_timezone="Europe/Berlin")
def nightly_settlement(context):
    return {}


@schedule(cron_schedule="0 */4 * * *", job=settle, default_status="running")
def intraday_settlement(context):
    return {}


@sensor(job=settle, minimum_interval_seconds=60)
def late_files(context):
    return None


@asset(group_name="ledger", description="Every booked transaction.")
def transactions():
    return []


@asset(group_name="ledger", deps=[transactions], owners=["payments@example.com"])
def balances(context):
    """What each account holds at midnight."""
    context.add_output_metadata({"accounts": 48210, "report": "https://reports.example.com/balances"})


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
import time

from runner_shim import Definitions, Field, RetryPolicy, asset, job, op, schedule

FAILED = []


@asset(deps=["transactions"], group_name="features")
def customer_features():
    """One row a customer."""


@asset(deps=[customer_features], group_name="models", owners=["ml@example.com"])
def churn_model():
    """Who will leave."""


@asset(deps=[churn_model, "exposure"], group_name="models")
def offers():
    """What to offer them."""


@op
def load_features(context):
    print("reading 1,204,331 rows of 48 features")
    time.sleep(0.8)
    context.log.info("3 features have no values and are left out")
    return 45


@op
def split(features):
    time.sleep(0.2)
    return features


@op(retry_policy=RetryPolicy(max_retries=2, delay=0.3))
def check_drift(features):
    time.sleep(0.3)
    if not FAILED:
        FAILED.append(1)
        raise ConnectionError("the metrics store does not answer")


@op(
    config_schema={
        "learning_rate": float,
        "epochs": Field(int, default_value=20, description="Passes over the data."),
        "warm_start": Field(bool, default_value=True, description="Begin with the last model."),
    }
)
def train(context, features):
    for epoch in range(4):
        time.sleep(0.35)
        print("epoch %d: loss %.3f" % (5 * epoch + 5, 0.61 / (epoch + 1)))
    return "model"


@op
def evaluate(model):
    time.sleep(0.5)
    return 0.87


@op
def publish(model, score):
    time.sleep(0.15)
    print("published with an AUC of", score)


@job(tags={"team": "ml"})
def retrain():
    """Train the churn model anew."""
    features = split(load_features())
    check_drift(features)
    model = train(features)
    publish(model, evaluate(model))


@schedule(cron_schedule="15 */4 * * *", job=retrain, default_status="running")
def nightly_training(context):
    return {}


defs = Definitions(
    jobs=[retrain], assets=[customer_features, churn_model, offers], schedules=[nightly_training]
)
'''

MARKETING = '''\
from runner_shim import Definitions, SkipReason, job, op, schedule, sensor


@op
def score(context):
    if context.tags.get("source") == "fair":
        raise KeyError("no column 'company' in leads of source 'fair'")


@job(tags={"team": "marketing"})
def score_leads():
    """Score the leads of the day."""
    score()


@schedule(cron_schedule="*/30 * * * *", job=score_leads, default_status="running")
def scores(context):
    return {}


@sensor(job=score_leads, minimum_interval_seconds=5, default_status="running")
def new_leads(context):
    return SkipReason("no leads have come")


defs = Definitions(jobs=[score_leads], schedules=[scores], sensors=[new_leads])
'''

LAUNCHES = (
    ("payments", "settle"),
    ("ml", "retrain", "--set", "ops.train.config.learning_rate=0.05", "--tag", "model=churn"),
    ("payments", "--assets", "+balances"),
    ("marketing", "score_leads"),
    ("marketing", "score_leads", "--tag", "source=fair"),
)

DRAWN = ".graph-view[data-state=drawn]"

# File, address, width, height, colours, and what must be there before the picture is taken.
PICTURES = (
    ("locations", "/", 1280, 420, "light", "tr.note.failed"),
    ("location", "/location?name=risk", 1280, 900, "dark", ".failure"),
    ("logs", "/location?name=payments&view=logs", 1280, 560, "light", ".log .line"),
    ("settings", "/location?name=ml&view=workspace", 1280, 620, "light", ".settings"),
    ("search", "/search?q=churn", 1280, 420, "light", "#results li"),
    (
        "definition",
        "/definition?location=payments&kind=asset&name=balances",
        1280,
        720,
        "light",
        DRAWN,
    ),
    ("job", "/definition?location=payments&kind=job&name=settle", 1280, 760, "light", DRAWN),
    ("definitions", "/definitions?group=location", 1280, 620, "light", "tr.group"),
    ("assets", "/assets", 1280, 760, "dark", DRAWN),
    ("environments", "/environments", 1280, 620, "light", ".packages-table"),
    ("runs", "/runs", 1280, 420, "light", ".runs"),
    ("run", "/run?id={run}", 1280, 900, "light", ".gantt"),
    ("launch", "/launch?location=ml&job=retrain", 1280, 560, "dark", "form.launch"),
    ("automations", "/automations", 1280, 440, "light", ".automations .tick-skipped"),
    ("timeline", "/timeline", 1280, 400, "dark", ".day .bar"),
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
                for arguments in LAUNCHES:  # one of them fails
                    launch = [*command, "launch", *arguments]
                    subprocess.run(launch, cwd=folder, env=environ, check=False)
                listed = [*command, "runs", "ml", "--json"]
                told = subprocess.run(
                    listed, cwd=folder, env=environ, check=True, capture_output=True
                )
                photograph(url.rstrip("/"), json.loads(told.stdout)["runs"][0]["run"])
            finally:
                running.terminate()
                running.communicate()


def photograph(url: str, run: str) -> None:
    """All pictures of the page at ``url``, with that of ``run``."""
    with chromium() as browser:
        for name, address, width, height, colours, wanted in PICTURES:
            size = {"width": width, "height": height}
            context = browser.new_context(viewport=size, color_scheme=colours)
            page = context.new_page()
            page.goto(url + address.format(run=run))
            page.wait_for_selector(wanted, timeout=30_000)
            if address == "/":  # private memory is measured a moment after it is asked for
                page.wait_for_selector("td[data-label=memory] .dim:has-text('+')", timeout=30_000)
            page.screenshot(path=FOLDER / f"{name}.png")
            context.close()


if __name__ == "__main__":
    main()
