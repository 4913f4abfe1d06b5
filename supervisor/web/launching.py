"""The form that launches a job or assets, and what it would run.

Owns the reading of the form and where on it a refusal is shown. The supervisor judges what is launched; a
dry run of it is the preview. Leaves markup to the template.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any, cast

from starlette.requests import Request
from starlette.responses import RedirectResponse, Response

from supervisor.errors import ForbiddenError, RequestError, UnfitOrderError, UnknownDefinitionError
from supervisor.presentation import runs as in_words
from supervisor.web.catalogue import Catalogue
from supervisor.web.config_form import (
    ConfigError,
    Entry,
    config_of,
    entries_of_asset,
    entries_of_job,
)
from supervisor.web.forms import form
from supervisor.web.render import href, page
from supervisor.web.shapes import checked
from supervisor.web.views import view_of

if TYPE_CHECKING:
    from supervisor.protocol.run_documents import Launched

__all__ = ["launch"]

_FIELDS = (
    "location",
    "job",
    "assets",
    "repository",
    "partition",
    "last",
    "op_selection",
    "tags",
    "config",
)


async def launch(request: Request) -> Response:
    """``GET /launch?location=…&job=…`` (or ``assets``, and ``repository``): the form; ``POST`` with
    ``do=preview`` shows what would run, with ``do=launch`` it runs and the page of the run follows."""
    if request.method == "POST":
        sent = {name: values[-1] for name, values in (await form(request)).items()}
    else:
        sent = dict(request.query_params)
    given = {name: sent.get(name, "").strip() for name in _FIELDS}
    catalogue: Catalogue = view_of(request).catalogue
    entries, partitions = await _of(catalogue, given)
    shown: dict[str, Any] = {}
    status = 200
    if request.method == "POST":
        try:
            answer = await _launched(request, given, entries, sent, dry=sent.get("do") != "launch")
        except ConfigError as error:
            status, shown = 422, {"wrong_json": str(error)}
        except ForbiddenError:
            raise
        except RequestError as error:
            problems = error.problems if isinstance(error, UnfitOrderError) else ()
            status, shown = 409, {"refused": error, **_placed(problems, entries)}
        else:
            if answer["run"] is not None:
                return RedirectResponse(href("/run", id=answer["run"]["run"]), 303)
            shown = {"preview": in_words.preview(answer, given["location"]), "answer": answer}
    return page(
        request,
        "launch.html",
        status=status,
        live="none",
        given=given,
        what=given["job"] or given["assets"],
        entries=entries,
        values=sent,
        partitions=partitions,
        keys=_keys(partitions),
        **shown,
    )


async def _of(
    catalogue: Catalogue, given: Mapping[str, str]
) -> tuple[Sequence[Entry], Mapping[str, Any] | None]:
    """The fields of what is to be launched, and its partitions."""
    place, repository = given["location"], given["repository"] or None
    shelf = await catalogue.shelf(place)
    resources = [] if shelf is None else shelf.of_kind("resource")
    if given["job"]:
        kind = None
        for row in shelf.rows if shelf is not None else ():
            if row.name == given["job"] and row.kind in ("job", "pipeline"):
                kind = row.kind
        if kind is None:
            raise UnknownDefinitionError(given["job"], f"{place} has no job {given['job']!r}")
        sent, _, _ = await catalogue.definition(place, given["job"], kind, repository)
        return entries_of_job(checked(sent), resources), _map(sent.get("partitions"))
    names = {one.strip() for one in given["assets"].split(",")}
    rows = [one for one in (shelf.rows if shelf is not None else ()) if one.kind == "asset"]
    chosen = [shelf.definition(row) for row in rows if row.name in names] if shelf else []
    partitions = next((one["partitions"] for one in chosen if one.get("partitions")), None)
    return entries_of_asset([checked(one) for one in chosen], resources), _map(partitions)


def _map(value: Any) -> Mapping[str, Any] | None:
    return value if isinstance(value, Mapping) else None


def _keys(partitions: Mapping[str, Any] | None) -> list[str]:
    """The keys to choose from, where the snapshot has all of them."""
    keys = (partitions or {}).get("keys")
    if not isinstance(keys, list) or (partitions or {}).get("count") != len(keys):
        return []
    return [str(one) for one in keys]


async def _launched(
    request: Request,
    given: Mapping[str, str],
    entries: Sequence[Entry],
    sent: Mapping[str, str],
    *,
    dry: bool,
) -> Launched:
    partition, last = given["partition"], given["last"]
    params = {
        "location": given["location"],
        **{name: given[name] or None for name in ("job", "assets", "repository", "op_selection")},
        "config": config_of(entries, sent, given["config"]),
        "tags": _tags(given["tags"]),
        "partition": None if last else partition or None,
        "partition_range": f"{partition}..{last}" if last else None,
        "dry_run": dry,
    }
    if given["job"]:
        params["assets"] = None
    answer = await view_of(request).link.ordering_client.call_method("launch", params)
    return cast("Launched", answer)


def _tags(text: str) -> dict[str, str]:
    """Tags as lines of ``name=value``."""
    pairs = (line.partition("=") for line in text.splitlines() if line.strip())
    return {name.strip(): value.strip() for name, _, value in pairs}


def _placed(problems: Sequence[Mapping[str, str]], entries: Sequence[Entry]) -> dict[str, Any]:
    """The problems at the fields that they are about, and the others."""
    keys = {one.key for one in entries}
    at = {one["path"]: one["message"] for one in problems if one["path"] in keys}
    return {"at": at, "others": [one for one in problems if one["path"] not in keys]}
