"""Stand-ins that tell of being read: a function that looks at a path, the variables, ``sys.path``.

Owns their likeness to what they stand for. What is told is recording.py's business.
"""

__all__ = ["Looking", "Path", "Variables"]


class Looking(object):
    """Stands for a function that looks at a path; no function itself, to be no method of any class."""

    def __init__(self, original, look):
        self.original = original
        self.look = look
        self.__name__ = original.__name__
        self.__doc__ = original.__doc__

    def __call__(self, *arguments, **named):
        if arguments and type(arguments[0]) is not int:
            self.look(arguments[0])
        elif not arguments:
            self.look(named.get("path", named.get("file", "")))
        return self.original(*arguments, **named)

    def __eq__(self, other):
        return other is self or other is self.original

    def __hash__(self):
        return hash(self.original)


class Variables(dict):
    """The variables while they are watched."""

    def __getitem__(self, name):
        self.read(name)
        return dict.__getitem__(self, name)

    def __contains__(self, name):
        self.read(name)
        return dict.__contains__(self, name)

    def __iter__(self):
        self.read(None)
        return dict.__iter__(self)

    def __setitem__(self, name, value):
        self.write(name)
        dict.__setitem__(self, name, value)

    def __delitem__(self, name):
        self.write(name)
        dict.__delitem__(self, name)


class Path(list):
    """``sys.path`` while it is watched."""

    def __iter__(self):
        self.read()
        return list.__iter__(self)

    def __getitem__(self, which):
        self.read()
        return list.__getitem__(self, which)

    def __contains__(self, one):
        self.read()
        return list.__contains__(self, one)

    def __radd__(self, other):
        self.read()
        return other + list(list.__iter__(self))

    def __add__(self, other):
        self.read()
        return list.__add__(self, other)

    def copy(self):
        self.read()
        return list.copy(self)
