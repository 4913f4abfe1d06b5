"""The graph of 2,000 assets in a real Chromium: how long a frame takes while one moves in it.

Needs the system's chromium and the extra ``web-dev``. Makes a workspace of 2,000 assets in 40 groups over
four locations, opens its page, unfolds all groups, and drags and zooms with the mouse. A frame's time is from
one ``requestAnimationFrame`` to the next, so it has the drawing, and all that the browser does between.
"""

from __future__ import annotations

import contextlib
import statistics
import subprocess
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from benchmarks.chromium import chromium
from benchmarks.results import Result
from benchmarks.setting import Setting, UnavailableError, all_ready

__all__ = ["ASSETS", "GROUPS", "Moved", "assets", "measure", "moved", "unfolded"]

ASSETS, GROUPS, LOCATIONS = 2000, 40, 4
AIM = 0.050  # seconds of a frame
_WAIT = 120_000  # milliseconds
_STEPS = 40  # of the mouse, in each part

_TEAM = """\
from runner_shim import Definitions, asset

LOCATION, LOCATIONS, GROUPS, EACH = {number}, {locations}, {groups}, {each}


def name(group, number):
    return "g%02d/asset_%03d" % (group, number)


def made(group, number):
    wide = max(EACH // 6, 1)  # six layers, each made from the one before it
    layer = number // wide
    before = [(layer - 1) * wide + (number * step + 3) % wide for step in (1, 3)] if layer else []
    deps = set(name(group, one) for one in before)
    if layer == 0 and group >= 8 and number % 3 == 0:
        deps.add(name(group - 8 + number % 5, EACH - 1 - number % wide))
    prefix, _, short = name(group, number).partition("/")
    kinds = [["dbt", "table"], ["python"], []][number % 3]

    @asset(name=short, key_prefix=[prefix], deps=sorted(deps), group_name="group_%02d" % group, kinds=kinds)
    def one():
        pass

    return one


mine = [group for group in range(GROUPS) if group % LOCATIONS == LOCATION]
defs = Definitions(assets=[made(group, number) for group in mine for number in range(EACH)])
"""

_WATCH = """() => {
  const frames = (window.frames_ = []);
  let last = null;
  const each = (now) => {
    if (last !== null) frames.push(now - last);
    last = now;
    if (window.frames_ === frames) requestAnimationFrame(each);
  };
  requestAnimationFrame(each);
}"""
_WATCHED = "() => { const frames = window.frames_; window.frames_ = null; return frames; }"


def assets(total: int = ASSETS, groups: int = GROUPS, locations: int = LOCATIONS) -> dict[str, str]:
    """Modules of ``locations`` teams that have ``total`` assets in ``groups`` groups among them."""
    return {
        f"team_{number}": _TEAM.format(
            number=number, locations=locations, groups=groups, each=total // groups
        )
        for number in range(locations)
    }


@dataclass(frozen=True, slots=True)
class Moved:
    """Frame times in milliseconds, while one dragged and while one zoomed."""

    dragging: list[float]
    zooming: list[float]


def unfolded(tab: Any, url: str) -> float:
    """Open the graph of assets at ``url`` with all groups unfolded; seconds that its layout took."""
    tab.goto(f"{url}/assets")
    tab.wait_for_selector(".graph-view[data-state=drawn]", timeout=_WAIT)
    tab.get_by_role("button", name="unfold all").click()
    drawn = tab.wait_for_selector(".graph-view[data-state=drawn][data-folded='0']", timeout=_WAIT)
    return float(drawn.get_attribute("data-took")) / 1000


def moved(tab: Any) -> Moved:
    """Drag and zoom in the graph that ``tab`` shows: from all of it to where names can be read, and back."""
    box = tab.locator(".graph-board").bounding_box()
    x, y = box["x"] + box["width"] / 2, box["y"] + box["height"] / 2
    dragging: list[float] = []
    zooming: list[float] = []
    for wheel in (0, -60, -60, 120):
        tab.mouse.move(x, y)
        tab.evaluate(_WATCH)
        for _ in range(_STEPS if wheel else 0):
            tab.mouse.wheel(0, wheel)
        zooming += tab.evaluate(_WATCHED) if wheel else []
        tab.evaluate(_WATCH)
        tab.mouse.down()
        for step in range(_STEPS):
            tab.mouse.move(x + (step % 20 - 10) * 9, y + (step % 13 - 6) * 9)
        tab.mouse.up()
        dragging += tab.evaluate(_WATCHED)
    return Moved(dragging, zooming)


def measure(setting: Setting, rounds: int) -> list[Result]:
    """Frames while dragging and zooming: the median, the 95th of a hundred, the longest; and the layout."""
    workspace = setting.workspace("graph", setting.interpreter(), assets(), "auto")
    layouts: list[float] = []
    found: list[Moved] = []
    with setting.supervised(workspace) as (client, _), chromium() as browser:
        all_ready(client)
        with _page(setting, workspace) as url:
            for _ in range(max(1, rounds // 2)):
                context = browser.new_context(viewport={"width": 1440, "height": 900})
                tab = context.new_page()
                layouts.append(unfolded(tab, url))
                found.append(moved(tab))
                context.close()
    results = [_alone("graph layout", f"{ASSETS} assets, all {GROUPS} groups unfolded", layouts)]
    for part, frames in (
        ("dragging", [one.dragging for one in found]),
        ("zooming", [one.zooming for one in found]),
    ):
        for word, share in (("median", 0.5), ("95th of a hundred", 0.95), ("longest", 1.0)):
            samples = [_at(one, share) / 1000 for one in frames]
            aim = AIM if share == 0.95 else None
            results.append(_alone(f"graph {part}", f"{word} frame", samples, aim))
    return results


def _at(frames: list[float], share: float) -> float:
    if not frames:
        raise UnavailableError("the browser drew no frame")
    if share == 0.5:
        return statistics.median(frames)
    return sorted(frames)[min(int(len(frames) * share), len(frames) - 1)]


def _alone(name: str, what: str, samples: list[float], aim: float | None = None) -> Result:
    return Result(name, what, "", "s", samples, [], aim, "alone")


@contextlib.contextmanager
def _page(setting: Setting, workspace: Path) -> Iterator[str]:
    command = [str(setting.supervise), "web", "--port", "0", "-w", str(workspace)]
    process = subprocess.Popen(
        command, env=setting.environ, cwd=workspace.parent, stdout=subprocess.PIPE, text=True
    )
    try:
        assert process.stdout is not None
        line = process.stdout.readline()
        if "http://" not in line:
            raise UnavailableError(f"supervise web did not start: {line}")
        yield line.split()[-1].rstrip("/")
    finally:
        process.terminate()
        process.communicate()
