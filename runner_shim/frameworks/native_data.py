"""What stands in one container of native definitions, and its data.

Owns the checks across definitions: unique names, existing targets. Jobs are one namespace, schedules and
sensors together another, assets, partition sets and resources one each; per container.
"""

from runner_shim import plain_data
from runner_shim.loading.load_failure import LoadFailure, from_exception

__all__ = [
    "data_of", "everything_of", "first_of", "made", "make", "place", "places_of_nodes",
    "repository_data", "shown",
]  # fmt: skip

# Kinds that may not share a name -> what the namespace is called.
_NAMESPACES = {
    "job": "job",
    "schedule": "schedule or sensor",
    "sensor": "schedule or sensor",
    "asset": "asset",
    "partition_set": "partition set",
    "resource": "resource",
}


def shown(source):
    """A place in words."""
    return "%s line %d" % tuple(source) if source else "an unknown place"


def place(source):
    """A place as what a LoadFailure takes."""
    return {"file": source[0], "line": source[1]} if source else {}


def repository_data(container):
    """A repository as in docs/snapshot.md."""
    result = {"name": container.name}
    result.update(container.common)
    return result


def places_of_nodes(job, repository):
    """``(key, [file, line])`` of the ops and graphs in a job, nested ones too."""
    found, waiting = [], [getattr(job, "plan", None)]
    while waiting:
        plan = waiting.pop()
        for node in plan.nodes if plan is not None else ():
            one = node.definition
            data = {"kind": one.KIND, "name": one.name}
            if repository:
                data["repository"] = repository
            found.append((plain_data.key_of(data), one.source))
            waiting.append(getattr(one, "plan", None))
    return found


def first_of(problems):
    """The first of several LoadFailures, with the others in its hint."""
    failure = problems[0]
    if len(problems) > 1:
        also = "; ".join(each.message for each in problems[1:6])
        more = "%d more: %s" % (len(problems) - 1, also + ("; …" if len(problems) > 6 else ""))
        failure.hint = "%s; %s" % (failure.hint, more) if failure.hint else more
    return failure


def everything_of(container, problems):
    """(kind, name) -> definition or lazy entry, targets included; problems are appended."""
    found = {}
    names = {}  # (namespace, name) -> the first that took it
    things = list(container.members) + list(container.lazy)
    for thing in things:
        _add(_kind_of(thing), thing.name, thing, found, names, problems)
    for key in sorted(container.resources):
        _add("resource", key, container.resources[key], found, names, problems)
    targets = [
        (thing, name, target)
        for thing in container.members
        for name, target in sorted(getattr(thing, "targets", {}).items())
    ]
    # Jobs first, then names: a name may be that of a job that only another's target brings in.
    for thing, name, target in sorted(targets, key=lambda each: each[2] is None):
        _add_target(thing, name, target, found, names, problems)
    return found


def _kind_of(thing):
    return thing.kind if hasattr(thing, "kind") else thing.KIND


def _add(kind, name, thing, found, names, problems):
    key = (_NAMESPACES[kind], name)
    other = names.get(key)
    if other is thing:
        return
    if other is None:
        names[key] = thing
        found[(kind, name)] = thing
        return
    source = getattr(thing, "source", None)
    problems.append(
        LoadFailure(
            "duplicate_definition",
            "two definitions are named %r: the %s at %s and the %s at %s"
            % (
                name,
                _kind_of(other).replace("_", " "),
                shown(getattr(other, "source", None)),
                kind.replace("_", " "),
                shown(source),
            ),
            hint="rename one of them: a name belongs to one %s" % key[0],
            **place(source),
        )
    )


def _add_target(thing, name, target, found, names, problems):
    """The job of a schedule, sensor or partition set is part of the location by itself."""
    known = found.get(("job", name))
    what = "%s %r" % (thing.KIND.replace("_", " "), thing.name)
    if target is None:
        if known is None:
            from runner_shim.loading.load_failure import near

            jobs = [each for kind, each in found if kind == "job"]
            problems.append(
                LoadFailure(
                    "invalid_definition",
                    "%s targets job %r, which does not exist (%s)"
                    % (what, name, shown(thing.source)),
                    hint=near(name, jobs),
                    **place(thing.source),
                )
            )
    elif known is None:
        _add("job", name, target, found, names, problems)
    elif known is not target and not hasattr(known, "make"):
        problems.append(
            LoadFailure(
                "duplicate_definition",
                "%s (%s) targets a job %r (%s) that is not the job of that name here (%s)"
                % (what, shown(thing.source), name, shown(target.source), shown(known.source)),
                hint="rename one of the two jobs",
                **place(thing.source),
            )
        )


def data_of(kind, name, thing, known):
    """A definition as in docs/snapshot.md; ``known`` are the names of all assets beside it."""
    if hasattr(thing, "make"):
        return {"kind": kind, "name": plain_data.text(name), "lazy": True}
    if kind == "resource":
        from runner_shim.definitions.base import Definition

        if isinstance(thing, Definition):
            return thing.data(name)
        return plain_data.definition("resource", name, type=plain_data.dotted_name(thing))
    if kind == "asset":
        return thing.data(known)
    return thing.data()


def made(thing, everything):
    """A definition, made where it is lazy."""
    return make(thing, everything) if hasattr(thing, "make") else thing


def make(entry, everything):
    """What a lazy entry makes; raises LoadFailure."""
    try:
        made = entry.make()
    except BaseException as error:
        failure = from_exception(error, None)
        if not failure.file:
            failure.file, failure.line = entry.source
        raise failure
    problems = []
    for name, target in sorted(getattr(made, "targets", {}).items()):
        _add_target(made, name, target, dict(everything), {}, problems)
    if problems:
        raise problems[0]
    return made
