"""What a directory holds that can be a code location, and in which environment.

Owns what is looked for: files that name locations to Dagster (workspace.yaml, dagster_cloud.yaml, dg projects,
``[tool.dagster]``), files that hold definitions, scripts with a block of metadata that do, and in a folder
without any of these the modules with jobs and assets of their own; for each the virtualenv, project or
requirements file nearest above. It reads
texts alone, at most ``_MOST`` files, and not those in virtualenvs, hidden or generated directories.
"""

from __future__ import annotations

import os
import re
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, Final

from envs import EnvError
from envs.projects import locked_root, project_plan
from envs.scripts import has_block
from supervisor.drafts.draft import Draft, DraftEnvironment, DraftLocation, below, unique
from supervisor.errors import ConfigurationError
from supervisor.specs import STATE_DIRECTORY, LocationSpec, TargetKind
from supervisor.workspace_files import Selection, resolve

__all__ = ["MAIN_KEYS", "draft_of", "environment_keys", "location_of_spec"]

_DEPTH: Final = 5
_MOST: Final = 5000
_LARGEST: Final = 1_000_000
_NOT_INTO: Final = {
    STATE_DIRECTORY, "node_modules", "site-packages", "__pycache__", "build", "dist", "tests", "test",
}  # fmt: skip
_DEFINITIONS: Final = re.compile(
    r"^\w+(?::[^=\n]+)? *= *(?:\w+\.)?(?:Definitions|load_defs|load_from_defs_folder)\("
    r"|^@(?:\w+\.)?(?:repository|definitions)\b",
    re.MULTILINE,
)
# What a module without the above is loaded for: all that stands in it by itself.
_LOOSE: Final = re.compile(
    r"^@(?:\w+\.)?(?:job|asset|multi_asset|graph_asset|graph_multi_asset|schedule|sensor)\b"
    r"|^\w+ *= *(?:\w+\.)?(?:JobDefinition|AssetDefinition|ScheduleDefinition|define_asset_job)\(",
    re.MULTILINE,
)
# The first of these that names a location counts, as in a search; those in YAML where one is asked to look.
_PROJECTS: Final = ("pyproject.toml", "dg.toml")
_DECLARING: Final = (
    *_PROJECTS,
    *("workspace.yaml", "workspace.yml", "dagster_cloud.yaml", "dagster_cloud.yml"),
)
# A script with a block of metadata may hold jobs or assets alone. Most scripts hold none, and to load one
# is to run it.
_IMPORTS: Final = re.compile(r"^(?:from|import) +(?:dagster|runner_shim)\b", re.MULTILINE)
_LIBRARIES: Final = re.compile(r"^(?:from|import) +(dagster(?:_\w+)?)\b", re.MULTILINE)
MAIN_KEYS: Final = {
    TargetKind.PYTHON_FILE: "relative_path",
    TargetKind.PYTHON_MODULE: "module_name",
    TargetKind.PYTHON_PACKAGE: "package_name",
    TargetKind.AUTOLOAD: "module_name",
}


def draft_of(root: Path, environ: Mapping[str, str]) -> Draft:
    """The draft of a workspace file in ``root`` (absolute) that loads what is found in it."""
    draft, taken = Draft(), set[str]()
    covered: list[Path] = []
    modules: list[tuple[Path, str]] = []
    for directory, names in _walk(root):
        declaring = _DECLARING if directory == root else _PROJECTS
        declared = next(
            (one for one in declaring if one in names and _is_declared(directory / one)), None
        )
        if declared is not None and _declared(directory / declared, root, environ, draft, taken):
            covered.append(directory)
            if declared not in _PROJECTS:  # a workspace says all that is run in it
                break
        if declared in _PROJECTS:
            continue
        for name in names:
            if name.endswith(".py") and not any(one in directory.parents for one in covered):
                text = _text(directory / name)
                if _is_whole(text) or (_IMPORTS.search(text) and _LOOSE.search(text)):
                    modules.append((directory / name, text))
    known = {_first(one / "dg.toml", root) for one in covered}
    known |= {_first(path, root) for path, text in modules if _is_whole(text)}
    for path, text in modules:
        is_covered = any(one == path.parent or one in path.parents for one in covered)
        if not is_covered and (_is_whole(text) or _first(path, root) not in known):
            draft.locations.append(_location(path, text, root, environ, draft, taken))
    if not draft.locations:
        draft.notes.append(
            "nothing to load was found here: no `defs = Definitions(…)`, no @repository, no @job or @asset and "
            "no dg project; name what you have, as its examples do"
        )
    return draft


def _is_whole(text: str) -> bool:
    """True for a module that says what is in its location, or its environment."""
    return bool(_DEFINITIONS.search(text) or (has_block(text) and _IMPORTS.search(text)))


def _first(file: Path, root: Path) -> str:
    """The folder of ``root`` that ``file`` is in; "" for ``root`` itself."""
    parts = file.relative_to(root).parts
    return parts[0] if len(parts) > 1 else ""


def _walk(root: Path) -> Iterator[tuple[Path, list[str]]]:
    looked = 0
    for directory, folders, names in os.walk(root):
        here = Path(directory)
        depth = len(here.relative_to(root).parts)
        folders[:] = sorted(
            one
            for one in folders
            if depth < _DEPTH
            and not one.startswith(".")
            and one not in _NOT_INTO
            and _is_text(one)
            and not (here / one / "pyvenv.cfg").exists()
        )
        looked += len(names)
        yield here, sorted(filter(_is_text, names))
        if looked > _MOST:
            return


def _is_text(name: str) -> bool:
    """False for a name that no workspace file can hold: it is not in UTF-8."""
    return not any("\ud800" <= one <= "\udfff" for one in name)


def _text(path: Path) -> str:
    try:
        if not path.is_file() or path.stat().st_size > _LARGEST:
            return ""
        return path.read_text(encoding="utf-8", errors="replace")
    except OSError:
        return ""


def _is_declared(path: Path) -> bool:
    """True for a file that names code locations to Dagster."""
    text = _text(path)
    if path.suffix != ".toml":
        return True
    if path.name == "dg.toml":
        return "[project" in text
    return bool(re.search(r"^\[tool\.(dagster|dg\.project)\b", text, re.MULTILINE))


def _declared(
    path: Path, root: Path, environ: Mapping[str, str], draft: Draft, taken: set[str]
) -> bool:
    """The locations that a file of Dagster's names, as its own reader has them; False where it names none."""
    where = below(path, root)
    try:
        spec = resolve(Selection(files=(path,)), cwd=root, environ=environ)
    except ConfigurationError as error:
        draft.notes.append(f"{where} was passed over: {error.problems[0].message}")
        return False
    for one in spec.locations:
        if one.target is None:
            draft.notes.append(f"{where}: {one.name} is served elsewhere, and was passed over")
            continue
        location = location_of_spec(one, root, unique(one.name, taken))
        location.notes.insert(0, f"from {where}")
        if one.environment.script is not None:
            location.notes.append("its `# /// script` block says its environment")
        elif one.environment.managed:
            _share(location, one.environment.name or location.name, _keys_of(one, root), [], draft)
        elif "executable_path" not in location.keys:
            _give_environment(location, _place_of(one), "", root, draft, environ)
        draft.locations.append(location)
    return any(one.target is not None for one in spec.locations)


def _place_of(spec: LocationSpec) -> Path:
    """The directory of the code of a location, as far as its target tells."""
    target, said = spec.target, spec.environment.executable_path
    assert target is not None
    if said is not None and "/" in said:  # one that is not there: that of the project it belongs to
        return Path(said).parents[2]
    if target.kind is TargetKind.PYTHON_FILE:
        return Path(target.name).parent
    place = target.working_directory
    for part in target.name.split("."):
        if not (place / part).is_dir():
            break
        place /= part
    return place


def location_of_spec(spec: LocationSpec, root: Path, name: str) -> DraftLocation:
    """A location that another file declares, as an item of a workspace file in ``root``."""
    target = spec.target
    assert target is not None
    main = target.name
    if target.kind is TargetKind.PYTHON_FILE:
        main = below(Path(main), root)
    keys: dict[str, Any] = {MAIN_KEYS[target.kind]: main}
    if target.attribute:
        keys["attribute"] = target.attribute
    if target.working_directory != root:
        keys["working_directory"] = below(target.working_directory, root)
    keys["location_name"] = name
    executable = spec.environment.executable_path
    if executable and ("/" not in executable or os.path.lexists(executable)):
        keys["executable_path"] = below(Path(executable), root) if "/" in executable else executable
    found = DraftLocation(name, target.kind.value, keys)
    env_file = target.working_directory / ".env"
    if spec.form == "dg project" and env_file.is_file():
        keys["env_file"] = below(env_file, root)
    return found


def _location(
    path: Path, text: str, root: Path, environ: Mapping[str, str], draft: Draft, taken: set[str]
) -> DraftLocation:
    """A file that holds definitions: of a package its module, else the file itself."""
    plain = path.stem in ("definitions", "defs", "repository", "repo", "__init__", "main")
    title = path.parent.name if plain and path.parent != root else path.stem
    package = path.parent
    while (package / "__init__.py").is_file() and package != root:
        package = package.parent
    keys: dict[str, Any]
    if package != path.parent and not has_block(text):
        parts = path.relative_to(package).with_suffix("").parts
        module = ".".join(parts[:-1] if parts[-1] == "__init__" else parts)
        if plain and path.stem != "__init__" and parts[0] != title:
            title = parts[0]
        selector, keys = "python_module", {"module_name": module}
        if package != root:
            keys["working_directory"] = below(package, root)
    else:
        selector, keys = "python_file", {"relative_path": below(path, root)}
        if path.parent != root and _imports_beside(path, text):
            keys["working_directory"] = below(path.parent, root)
    keys["location_name"] = _name(title, path.parent, root, taken)
    found = DraftLocation(keys["location_name"], selector, keys)
    if has_block(text):
        found.notes.append("its `# /// script` block says its environment")
    else:
        _give_environment(found, path.parent, text, root, draft, environ)
    return found


def _name(title: str, place: Path, root: Path, taken: set[str]) -> str:
    """``title``; where that is taken, with as many of the directories above as make it differ."""
    name = title
    for part in reversed(place.relative_to(root).parts):
        if name not in taken:
            break
        if part != name:
            name = f"{part}-{name}"
    return unique(name, taken)


def _imports_beside(path: Path, text: str) -> bool:
    """True when it imports a module that stands beside it."""
    names = re.findall(r"^(?:from|import) +(\w+)", text, re.MULTILINE)
    here = path.parent
    return any(
        (here / f"{one}.py").is_file() or (here / one / "__init__.py").is_file()
        for one in names
        if one != path.stem
    )


def _give_environment(
    location: DraftLocation,
    start: Path,
    text: str,
    root: Path,
    draft: Draft,
    environ: Mapping[str, str],
) -> None:
    """Give it the environment nearest above: a virtualenv that is there, a project, requirements; else that
    which is active, and without that one with the Dagster libraries that its ``text`` imports."""
    place = start
    while True:
        for name in (".venv", "venv"):
            python = place / name / "bin" / "python"
            if os.path.lexists(python):
                location.keys["executable_path"] = below(python, root)
                return
        keys, notes = environment_keys(place, root)
        if keys:
            _share(location, place.name, keys, notes, draft)
            return
        if place == root or not place.is_relative_to(root):
            break
        place = place.parent
    missing = "no virtualenv, pyproject.toml or requirements.txt found"
    libraries = sorted({one.replace("_", "-") for one in _LIBRARIES.findall(text)})
    if libraries and not environ.get("VIRTUAL_ENV"):
        notes = [f"{missing}: complete what its code imports"]
        _share(location, location.name, {"requirements": libraries}, notes, draft)
    else:
        location.notes.append(f"{missing}: the default interpreter")


def _share(
    location: DraftLocation, name: str, keys: dict[str, Any], notes: list[str], draft: Draft
) -> None:
    """Give it the environment of these keys, which is that of others with the same."""
    known = next((one for one in draft.environments if one.keys == keys), None)
    if known is None:
        taken = {one.name for one in draft.environments}
        known = DraftEnvironment(unique(name, taken), keys, notes)
        draft.environments.append(known)
    location.keys["environment"] = known.name


def _keys_of(spec: LocationSpec, root: Path) -> dict[str, Any]:
    """The environment that a workspace file has us make for a location, as the keys of an entry."""
    asked = spec.environment
    files = {key: getattr(asked, key) for key in ("requirements_file", "project")}
    keys = {
        "python": asked.python,
        "requirements": list(asked.requirements),
        **{key: below(path, root) for key, path in files.items() if path is not None},
        "extras": list(asked.extras),
        "groups": list(asked.groups),
    }
    return {key: value for key, value in keys.items() if value}


def environment_keys(place: Path, root: Path) -> tuple[dict[str, Any], list[str]]:
    """The keys of an environment that is made from what ``place`` holds, and notes; {} without any."""
    keys: dict[str, Any] = {}
    notes: list[str] = []
    version = _text(place / ".python-version").split("\n")[0].strip()
    table = _text(place / "pyproject.toml")
    if (
        re.search(r"^\[(project|tool\.poetry)\]", table, re.MULTILINE)
        or (place / "setup.py").is_file()
    ):
        keys = {"project": below(place, root)}
        lock = locked_root(place)
        if lock is not None:
            notes.append(f"versions from {below(lock / 'uv.lock', root)}")
        elif (place / "poetry.lock").is_file():
            notes.append(f"versions from {below(place / 'poetry.lock', root)}")
        else:
            notes.append("no uv.lock or poetry.lock: what is newest when it is made")
        try:
            if project_plan(place) == "dependencies":
                notes.append("it is no package: its dependencies alone are installed")
        except EnvError as error:
            notes.append(" ".join(error.message.split()))
        if "[dependency-groups]" in table or "[tool.poetry.group." in table:
            notes.append("to add dependency groups: `groups: [dev]`")
    elif (place / "requirements.txt").is_file():
        keys = {"requirements_file": below(place / "requirements.txt", root)}
        notes.append("`supervise env lock` writes the versions that every machine gets")
    if keys and re.fullmatch(r"\d+\.\d+(\.\d+)?", version):
        keys["python"] = version
    return keys, notes
