"""Sources of Dagster definitions that have no function of the team's: the lines that assign them.

Owns the look at the team's own modules, and which kind and names a Dagster object has in a snapshot.
"""

__all__ = ["find_assignments", "kind_and_names"]


def find_assignments(roots, definitions, sources):
    """Sources of what has no function of the user's: the line where a module assigns it."""
    from runner_shim.plain_data import key_of, place

    missing = {}
    for item in definitions:
        if item["kind"] in ("job", "schedule", "sensor", "asset"):
            key = "%s:%s" % (item["kind"], item["name"])
            full = key_of(item)
            if full not in sources:
                missing.setdefault(key, []).append(full)
    if not missing:
        return

    for filename, members in _user_modules(roots.module_name):
        for variable, value in sorted(members.items()):
            if not missing:
                return
            kind, names = kind_and_names(value)
            keys = ["%s:%s" % (kind, name) for name in names]
            if not any(key in missing for key in keys):
                continue
            line = _line_of_assignment(filename, variable)
            for key in keys if line else ():
                for full in missing.pop(key, ()):
                    sources[full] = place(filename, line)


def _user_modules(module_name):
    """(file, variables) of the loaded module, then of the others of the team's own code."""
    from runner_shim import imported

    found = sorted(
        (name != module_name, name, filename, members)
        for name, members, filename in imported.modules(imported.MARK)
        if imported.is_user(filename)
    )
    return [
        (filename, {key: members[key] for key in members if type(key) is str})
        for _other, _name, filename, members in found
    ]


def _line_of_assignment(filename, variable):
    """The last line that begins with ``variable =``, or None: it may have been imported."""
    import linecache

    line = None
    for number, source in enumerate(linecache.getlines(filename), 1):
        if source.startswith(variable) and source[len(variable) :].lstrip()[:1] in ("=", ":"):
            line = number
    return line


def kind_and_names(value):
    """The kind of a Dagster object and the names it would have in a snapshot."""
    from runner_shim.frameworks.dagster.jobs import is_job
    from runner_shim.frameworks.dagster.read import asset_name, is_a

    try:
        if is_job(value) or is_a(value, "UnresolvedAssetJobDefinition"):
            return "job", [value.name]
        for kind, name in (("schedule", "ScheduleDefinition"), ("sensor", "SensorDefinition")):
            if is_a(value, name):
                return kind, [value.name]
        if is_a(value, "AssetsDefinition"):  # none at all where it is a check
            return "asset", [asset_name(key) for key in getattr(value, "keys", None) or ()]
        if is_a(value, "SourceAsset", "AssetSpec"):
            return "asset", [asset_name(value.key)]
    except Exception:  # a name that cannot be read is no name to miss
        pass
    return None, []
