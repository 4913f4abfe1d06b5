"""dbt projects that definitions are made from: which of their files a reload waits for, and what is missing.

Owns finding the projects among the team's modules and the metadata of assets. A manifest that the load
itself has made anew (``prepare_if_dev``) would ask for the next load; then the project's own files count. The same
is true of the copy of a project that a component makes; there the original project counts.
Runs no dbt and imports nothing of it.
"""

import os
import sys

from runner_shim import imported
from runner_shim.frameworks.dagster.assets import assets_by_key
from runner_shim.frameworks.dagster.partitions import yaml_files
from runner_shim.loading import listed

__all__ = ["project_files", "remedy"]

_SOURCES = (".sql", ".yml", ".yaml", ".csv")
_GENERATED = ("target", "dbt_packages", "dbt_modules", "logs")


def project_files(repository):
    """Absolute paths of what the dbt projects in use are read from; [] without the integration."""
    if "dagster_dbt" not in sys.modules:
        return []
    assets, found = assets_by_key(repository, ()).values(), set()
    for project in _projects(assets) + _of_components(repository):
        if _is_copy(str(project.project_dir)):
            continue
        manifest = str(project.manifest_path)
        try:
            fresh = os.stat(manifest).st_mtime >= imported.began()
        except OSError:
            fresh = False
        if not fresh:
            found.add(manifest)
            continue
        root = str(project.project_dir)
        for path in yaml_files(root, _SOURCES):
            if os.path.relpath(path, root).split(os.sep)[0] not in _GENERATED:
                found.add(path)
                if os.path.dirname(path) != root:  # a new model; dbt itself writes into the root
                    listed.note(os.path.dirname(path))
    return sorted(found)


def _projects(assets):
    candidates = []
    for _name, members, filename in imported.modules():
        if imported.is_user(filename):
            candidates.extend(list(members.values()))
    for one in assets:
        for metadata in (getattr(one, "metadata_by_key", None) or {}).values():
            candidates.extend((metadata or {}).values())
    seen = {}
    for one in candidates:
        if type(one).__name__ == "DbtProject" and hasattr(one, "manifest_path"):
            seen[str(one.manifest_path)] = one
    return list(seen.values())


def _of_components(repository):
    """The projects that components name; each load copies them, and its assets are those of the copy."""
    found = []
    try:
        tree = repository.get_component_tree()
        kind = sys.modules["dagster.components"].Component
        for component in tree.get_all_components(of_type=kind):
            project = getattr(component, "dbt_project", None)
            if type(project).__name__ == "DbtProject" and hasattr(project, "manifest_path"):
                found.append(project)
    except Exception:  # no components, an older Dagster, or one that is not to be had now
        return found
    return found


def _is_copy(folder):
    """True for a project in the hidden folder where Dagster keeps the state of components."""
    return ".local_defs_state" in folder.split(os.sep)


def remedy(error):
    """What to do about ``error`` where it comes from a dbt project, or None."""
    if type(error).__name__ == "DagsterDbtCliRuntimeError":
        try:
            lacking = "dbt deps" in str(error)
        except Exception:  # it asks objects of the team's for text
            return None
        return (
            "install its packages: run `dbt deps` in the directory of the dbt project"
            if lacking
            else None
        )
    return _missing_manifest(error)


def _missing_manifest(error):
    """A remedy where ``error`` says that the manifest of a dbt project is not there, or None."""
    name = type(error).__name__
    path = getattr(error, "filename", None) if isinstance(error, OSError) else None
    lost = isinstance(path, (str, bytes)) and os.path.basename(os.fsdecode(path)) == "manifest.json"
    if name != "DagsterDbtManifestNotFoundError" and not (
        lost and isinstance(error, FileNotFoundError)
    ):
        return None
    remedy = "make it with `dbt parse` in the directory of the dbt project"
    if os.environ.get("DAGSTER_IS_DEV_CLI"):
        return remedy + ", or have each load make it: call prepare_if_dev() on its DbtProject"
    return remedy + "; DAGSTER_IS_DEV_CLI is empty here, so prepare_if_dev() makes none"
