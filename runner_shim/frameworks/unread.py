"""What a module has of frameworks that are not read, so that a location without definitions says so.

Owns the table of these frameworks and how their objects are known: by the name of a class and the
package it is from, by a mark that a decorator left, by what a list inside of an object holds. Imports
no framework and calls nothing of the user's or the framework's: no ``isinstance`` (a proxy would
fetch what it stands for), no attribute that is computed. Is imported only once nothing was found.
A framework that gets an adapter loses its lines here.
"""

import sys

__all__ = ["FRAMEWORKS", "sentence"]


class _Of:
    """Objects of a class with one of the names, or of a subclass of it."""

    def __init__(self, noun, *names):
        self.noun = noun
        self.names = names

    def count(self, name, value, package):
        return int(_comes_from(type(value), self.names, package))


class _Class(_Of):
    """The team's own classes below one with one of the names."""

    def count(self, name, value, package):
        return int(
            issubclass(type(value), type)
            and not _is_in(value, package)
            and _comes_from(value, self.names, package)
        )


class _Inside(_Of):
    """What an object holds at the end of a path of attributes: those in a list of a class."""

    def __init__(self, noun, name, path, item):
        _Of.__init__(self, noun, name)
        self.path = path
        self.item = item

    def count(self, name, value, package):
        if not _comes_from(type(value), self.names, package):
            return 0
        for step in self.path:
            value = _variables(value).get(step)
        if type(value) is not list:
            return 0
        return sum(_comes_from(type(one), (self.item,), package) for one in value)


class _Marked(_Of):
    """Functions and classes on which a decorator left one of the names."""

    def count(self, name, value, package):
        marks = _namespace(value) if issubclass(type(value), type) else _variables(value)
        return int(any(one in marks for one in self.names))


class _Named(_Of):
    """A variable of that name, which the framework's own tools look for."""

    def count(self, name, value, package):
        return int(name in self.names)


# Name, top-level package, and what is counted: the first that there is any of.
FRAMEWORKS = (
    ("Airflow", "airflow", (_Of("DAG", "DAG"), _Of("operator", "BaseOperator"))),
    (
        "APScheduler",
        "apscheduler",
        (_Of("scheduler", "BaseScheduler", "Scheduler", "AsyncScheduler"),),
    ),
    ("Celery", "celery", (_Of("task", "Task", "Proxy"), _Of("app", "Celery"))),
    ("dbt", "dbt", (_Of("runner", "dbtRunner"),)),
    ("Dramatiq", "dramatiq", (_Of("actor", "Actor"), _Of("broker", "Broker"))),
    (
        "FastAPI",
        "fastapi",
        (
            _Inside("route", "FastAPI", ("router", "routes"), "APIRoute"),
            _Inside("route", "APIRouter", ("routes",), "APIRoute"),
            _Of("app", "FastAPI"),
        ),
    ),
    (
        "Flyte",
        "flytekit",
        (
            _Of("workflow", "WorkflowBase"),
            _Of("task", "PythonTask"),
            _Of("launch plan", "LaunchPlan"),
        ),
    ),
    ("Huey", "huey", (_Of("task", "TaskWrapper"), _Of("queue", "Huey"))),
    (
        "Kedro",
        "kedro",
        (
            _Of("pipeline", "Pipeline"),
            _Of("node", "Node"),
            _Named("pipeline registry", "register_pipelines"),
        ),
    ),
    ("Luigi", "luigi", (_Class("task", "Task"),)),
    ("Metaflow", "metaflow", (_Class("flow", "FlowSpec"),)),
    (
        "Prefect",
        "prefect",
        (_Of("flow", "Flow"), _Of("deployment", "RunnerDeployment"), _Of("task", "Task")),
    ),
    ("Procrastinate", "procrastinate", (_Of("task", "Task"), _Of("app", "App"))),
    ("RQ", "rq", (_Of("queue", "Queue"),)),
    ("Taskiq", "taskiq", (_Of("task", "AsyncTaskiqDecoratedTask"), _Of("broker", "AsyncBroker"))),
    (
        "Temporal",
        "temporalio",
        (
            _Marked("workflow", "__temporal_workflow_definition"),
            _Marked("activity", "__temporal_activity_definition"),
        ),
    ),
    ("ZenML", "zenml", (_Of("pipeline", "Pipeline", "BasePipeline"), _Of("step", "BaseStep"))),
)


def sentence(members):
    """``3 Celery tasks found; Celery is not read``, or None when there is nothing of the kind.

    ``members`` are (name, value) pairs of modules; an object counts once.
    """
    distinct = {id(value): (name, value) for name, value in reversed(members)}
    told, names = [], []
    for name, package, nouns in FRAMEWORKS:
        if sys.modules.get(package) is None:
            continue
        theirs = _own_objects(package)
        mine = [each for key, each in distinct.items() if key not in theirs]
        for noun in nouns:
            count = sum(noun.count(variable, value, package) for variable, value in mine)
            if count:
                told.append("%d %s %s" % (count, name, _plural(noun.noun, count)))
                names.append(name)
                break
    if not told:
        return None
    verb = "is" if len(names) == 1 else "are"
    return "%s found; %s %s not read" % (" and ".join(told), " and ".join(names), verb)


def _plural(noun, count):
    if count == 1:
        return noun
    return noun[:-1] + "ies" if noun.endswith("y") else noun + "s"


def _own_objects(package):
    """The ids of what stands in the framework's own modules: imported from there, it is no team's."""
    found = set()
    for name, module in list(sys.modules.items()):
        if isinstance(name, str) and name.partition(".")[0] == package:
            found.update(id(value) for value in list(_variables(module).values()))
    return found


# --- looking without asking

_mro = type.__dict__["__mro__"].__get__
_name = type.__dict__["__name__"].__get__
_namespace = type.__dict__["__dict__"].__get__


def _variables(value):
    """An object's own ``__dict__``, or an empty one."""
    try:
        found = object.__getattribute__(value, "__dict__")
    except AttributeError:
        return {}
    return found if type(found) is dict else {}


def _is_in(kind, package):
    module = _namespace(kind).get("__module__")
    return isinstance(module, str) and module.partition(".")[0] == package


def _comes_from(kind, names, package):
    return any(_name(base) in names and _is_in(base, package) for base in _mro(kind))
