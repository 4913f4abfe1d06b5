"""What a function of the team's takes, and the calling of it with a context and values by name.

Owns the reading of parameters: of functions, methods, classes, objects that can be called,
``functools.partial``, and decorators that name what they wrap. A decorator that hands on whatever it gets
(``*args, **kwargs``) has the parameters of the function in it. Without ``inspect``, which takes longer to
import than all definitions of most modules. Python 3.6.
"""

__all__ = [
    "CONTEXT_NAMES",
    "Parameter",
    "call",
    "call_with_context",
    "docstring",
    "is_async_result",
    "is_generator",
    "parameters",
    "runs_later",
]

CONTEXT_NAMES = ("context", "_context", "_", "__")

_ANY_PLACE, _ANY_NAME = 0x04, 0x08  # CO_VARARGS, CO_VARKEYWORDS
_GENERATOR, _COROUTINE, _ASYNC_GENERATOR = 0x20, 0x80, 0x200
_DEEPEST = 20  # functions within functions
_MISSING = object()


class Parameter:
    """One parameter: ``place`` and ``named`` say whether it may be given by place, and by name."""

    __slots__ = ("default", "name", "named", "place")

    def __init__(self, name, place, named, default=_MISSING):
        self.name = name
        self.place = place
        self.named = named
        self.default = default

    @property
    def is_optional(self):
        """True when it has a default."""
        return self.default is not _MISSING

    @property
    def is_context(self):
        """True for a name that means the context, where it is the first."""
        return self.name in CONTEXT_NAMES


def parameters(function):
    """The Parameters of ``function``, the context among them; [] where they cannot be read.

    Those that take any number (``*rows``, ``**rows``) are left out.
    """
    found = _parameters(function, _DEEPEST)
    return found[1:] if found and found[0].name == "self" else found


def _parameters(function, depth):
    if not depth or function is None:
        return []
    if _is_partial(function):
        return _without(_parameters(function.func, depth - 1), function)
    if _is_bound(function):
        return _parameters(function.__func__, depth - 1)[1:]
    code = getattr(function, "__code__", None)
    if code is None:
        if hasattr(function, "__wrapped__"):  # functools.lru_cache
            return _parameters(function.__wrapped__, depth - 1)
        method = _method_of(function)
        return _parameters(method, depth - 1)[1:] if hasattr(method, "__code__") else []
    found = _of_code(function, code)
    inner = getattr(function, "__wrapped__", None)
    if inner is None or not code.co_flags & (_ANY_PLACE | _ANY_NAME):
        return found
    own = {one.name for one in found}
    by_place, by_name = code.co_flags & _ANY_PLACE, code.co_flags & _ANY_NAME
    handed_on = [
        Parameter(one.name, bool(one.place and by_place), bool(one.named and by_name), one.default)
        for one in _parameters(inner, depth - 1)
        if one.name not in own
    ]
    return (
        [one for one in found if one.place]
        + [one for one in handed_on if one.place or one.named]
        + [one for one in found if not one.place]
    )


def _of_code(function, code):
    names = code.co_varnames[: code.co_argcount]
    given = function.__defaults__ or ()
    defaults = dict(zip(names[len(names) - len(given) :], given))  # noqa: B905 - of one length
    only_place = getattr(code, "co_posonlyargcount", 0)
    found = [
        Parameter(name, True, number >= only_place, defaults.get(name, _MISSING))
        for number, name in enumerate(names)
    ]
    others = code.co_varnames[code.co_argcount : code.co_argcount + code.co_kwonlyargcount]
    defaults = function.__kwdefaults__ or {}
    return found + [Parameter(name, False, True, defaults.get(name, _MISSING)) for name in others]


def _without(found, partial):
    """What is left to be given to ``partial``."""
    by_place = [one for one in found if one.place]
    left = by_place[len(partial.args) :] + [one for one in found if not one.place]
    result, behind = [], False
    for one in left:
        if one.name in partial.keywords:
            behind = True  # those behind it have no place any more
        else:
            place = one.place and not behind
            result.append(Parameter(one.name, place, one.named, one.default))
    return result


def _is_partial(function):
    return type(function).__name__ == "partial" and hasattr(function, "keywords")


def _is_bound(function):
    return getattr(function, "__self__", None) is not None and hasattr(function, "__func__")


def _method_of(function):
    """What is called where a class, or an object that is no function, is."""
    return function.__init__ if isinstance(function, type) else type(function).__call__


def call(function, context, arguments):
    """Call user code: the context first where it is asked for, ``arguments`` by name."""
    takes = parameters(function)
    positional, named = [], dict(arguments)
    if takes and takes[0].is_context:
        if takes[0].place:
            positional.append(context)
        else:
            named[takes[0].name] = context
        takes = takes[1:]
    # What has a place alone needs those before it in theirs.
    for one in takes[: max([0] + [n for n, one in enumerate(takes, 1) if not one.named])]:
        if one.name in named:
            positional.append(named.pop(one.name))
        elif one.is_optional:
            positional.append(one.default)
    return function(*positional, **named)


def call_with_context(function, context):
    """Call user code with the context, whatever that is called there, or without where it takes nothing."""
    takes = parameters(function)
    first = takes[0] if takes else None
    if first is None or not (first.place or first.is_context):
        return function()
    if first.is_optional and not first.is_context and not hasattr(function, "__code__"):
        return function()  # a class, an object: what it may be given is its own
    return function(context) if first.place else function(**{first.name: context})


def docstring(function):
    """The docstring of ``function``, or None; of a ``functools.partial`` that of the function in it."""
    while _is_partial(function):
        function = function.func
    return getattr(function, "__doc__", None)


def is_generator(function):
    """True for a function that yields, also within decorators that say what they wrap."""
    return _has_flag(function, _GENERATOR, through_decorators=True)


def runs_later(function):
    """True for an ``async`` function: a call only begins it."""
    return _has_flag(function, _COROUTINE | _ASYNC_GENERATOR, through_decorators=False)


def _has_flag(function, flag, through_decorators):
    for _ in range(_DEEPEST):
        code = getattr(function, "__code__", None)
        if code is not None and code.co_flags & flag:
            return True
        if _is_partial(function):
            function = function.func
        elif code is not None:
            function = getattr(function, "__wrapped__", None) if through_decorators else None
        elif function is not None and not isinstance(function, type):
            function = _method_of(function)
        else:
            return False
    return False


def is_async_result(value):
    """True for what an ``async`` function has returned: nothing of it has run, and nothing awaits it."""
    return hasattr(type(value), "cr_code") or hasattr(type(value), "ag_code")
