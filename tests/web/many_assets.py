"""A workspace of many assets: in groups, in several locations, with edges inside and across them.

For the graph of assets, in tests and by hand.
"""

from __future__ import annotations

__all__ = ["many_assets"]

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


def many_assets(total: int = 2000, groups: int = 40, locations: int = 4) -> dict[str, str]:
    """Files of ``locations`` teams that have ``total`` assets in ``groups`` groups among them."""
    return {
        f"team_{number}.py": _TEAM.format(
            number=number, locations=locations, groups=groups, each=total // groups
        )
        for number in range(locations)
    }
