"""Asset checks of today's Dagster: what they are, and what they said last, on the page of their asset."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
from web.site import site

from .eras import CURRENT, Environment

pytestmark = [pytest.mark.real_dagster, pytest.mark.timeout(600)]

TEAM = """\
import dagster as dg


@dg.asset(kinds={"dbt"})
def orders():
    note = dg.MetadataValue.md("**12** of <b>them</b>")
    return dg.MaterializeResult(metadata={"note": note})


@dg.asset_check(asset=orders, blocking=True, description="No hour without an order.")
def no_gaps():
    return dg.AssetCheckResult(passed=True)


@dg.asset_check(asset=orders)
def fresh():
    return dg.AssetCheckResult(passed=False, severity=dg.AssetCheckSeverity.WARN)


defs = dg.Definitions(
    assets=[orders], asset_checks=[no_gaps, fresh], jobs=[dg.define_asset_job("everything")]
)
"""


def test_the_page_of_an_asset_has_its_checks_and_their_last_results(
    tmp_path: Path, dagster_environment: Environment
) -> None:
    python = str(dagster_environment(CURRENT))
    with site(tmp_path, {"shop.py": TEAM}, {"shop": {"executable_path": python}}) as made:

        def rows() -> str:
            page = made.page.get("/definition", location="shop", kind="asset", name="orders").text
            table = page[page.index("<h2>Checks</h2>") :].partition("</table>")[0]
            return re.sub(r"\s+", " ", re.sub(r"<[^>]*>", " ", table))

        assert rows().count("unknown") == 2
        assert made.client.launch("shop", "everything").wait(timeout=300)["state"] == "success"
        found = rows()
        assert re.search(r"no_ gaps ✓ passed .* blocks what is downstream No hour", found), found
        assert re.search(r"fresh ▲ failed .* is reported", found), found
        (asset,) = made.page.api("/assets")["assets"]
        assert (asset["kinds"], sorted(asset["checks"])) == (["dbt"], ["fresh", "no_gaps"])
        page = made.page.get("/definition", location="shop", kind="asset", name="orders").text
        assert "<strong>12</strong> of &lt;b&gt;them&lt;/b&gt;" in page
        check = made.page.get(
            "/definition", location="shop", kind="asset_check", name="orders:fresh"
        )
        assert '<a href="/definition?location=shop&amp;kind=asset&amp;name=orders">' in check.text
