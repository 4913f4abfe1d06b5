"""The page about environments: interpreters and virtualenvs, who uses them, what they hold.

Owns the comparison of packages over environments and the table of Python versions that are past
their end of life. Asks the supervisor; looks into no environment itself.
"""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, date, datetime
from typing import TYPE_CHECKING, Any

from starlette.requests import Request
from starlette.responses import Response

from supervisor.errors import SupervisorError
from supervisor.web.render import numbered, page
from supervisor.web.views import view_of

if TYPE_CHECKING:
    from supervisor.protocol.documents import EnvironmentRow
    from supervisor.web.link import Link

__all__ = ["END_OF_LIFE", "PackageRow", "compared", "end_of_life", "environments", "known"]

# More columns than this are not read side by side.
_MOST_COLUMNS = 12

END_OF_LIFE: Mapping[str, date] = {
    "2.7": date(2020, 1, 1),
    "3.5": date(2020, 9, 30),
    "3.6": date(2021, 12, 23),
    "3.7": date(2023, 6, 27),
    "3.8": date(2024, 10, 7),
    "3.9": date(2025, 10, 31),
    "3.10": date(2026, 10, 31),
    "3.11": date(2027, 10, 31),
    "3.12": date(2028, 10, 31),
    "3.13": date(2029, 10, 31),
    "3.14": date(2030, 10, 31),
}
"""End of security fixes; where python.org gives a month only, its last day.

Source: devguide.python.org/versions, as of 2025-10.
"""


@dataclass(frozen=True, slots=True)
class PackageRow:
    """A package over all environments: a version for each, None where it is not installed."""

    name: str
    versions: tuple[str | None, ...]

    @property
    def differs(self) -> bool:
        """True when two environments have it in different versions."""
        return len({one for one in self.versions if one is not None}) > 1


def end_of_life(python: str | None, today: date) -> date | None:
    """The day when ``python`` (``3.8.18``) ceased to be maintained, if that has passed."""
    minor = ".".join((python or "").split(".")[:2])
    day = END_OF_LIFE.get(minor)
    return day if day is not None and day < today else None


def compared(rows: Sequence[EnvironmentRow]) -> list[PackageRow]:
    """All packages of ``rows`` side by side, by name."""
    held: list[dict[str, str]] = [
        {one["name"]: one["version"] for one in row["packages"] or ()} for row in rows
    ]
    names = sorted({name for one in held for name in one})
    return [PackageRow(name, tuple(one.get(name) for one in held)) for name in names]


async def known(link: Link) -> list[EnvironmentRow]:
    """The environments in use, most used first. Raises ``SupervisorError``."""
    rows = await link.client.environments()
    return sorted(rows, key=lambda row: (-len(row["locations"]), row["name"] or ""))


async def environments(request: Request) -> Response:
    """``GET /environments``: ``q`` searches packages, ``only=differences`` leaves out what agrees.

    ``columns`` is the page of environments that stand side by side; all are compared.
    """
    link: Link = view_of(request).link
    problem: SupervisorError | None = None
    rows: list[EnvironmentRow] = []
    try:
        rows = await known(link)
    except SupervisorError as error:
        problem = error
    asked = request.query_params
    text, only = asked.get("q", "").lower(), asked.get("only", "")
    holding = [row for row in rows if row["packages"]]
    columns, columns_paging = numbered(request, holding, _MOST_COLUMNS, "columns")
    first = columns_paging["first"] - 1
    packages = compared(holding)
    differing = sum(one.differs for one in packages)
    found = [one for one in packages if text in one.name and (only != "differences" or one.differs)]
    shown, paging = numbered(request, found, 200)
    today = datetime.fromtimestamp(time.time(), UTC).date()
    ends: dict[str, Any] = {row["python"] or "": end_of_life(row["python"], today) for row in rows}
    return page(
        request,
        "environments.html",
        rows=rows,
        columns=columns,
        columns_paging=columns_paging,
        packages=[(one, one.versions[first : first + len(columns)]) for one in shown],
        total=len(packages),
        paging=paging,
        differing=differing,
        ends=ends,
        q=text,
        only=only,
        problem=problem,
    )
