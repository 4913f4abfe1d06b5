"""Which of some names a mistyped one may have stood for: the shim's half of ``supervisor.nearest``."""

from .imported import standard

__all__ = ["nearest", "slip"]

# As supervisor/nearest.py has it.
_ALIKE = 0.7


def slip(name, other):
    """True where ``name`` is ``other`` with one slip of the fingers in it: a letter too many, too few or another,
    or two that have changed places. A letter more or less at the end is none: that may be a name of its own."""
    if name == other or abs(len(name) - len(other)) > 1 or min(len(name), len(other)) < 4:
        return False
    if name.startswith(other) or other.startswith(name):
        return False
    pairs = enumerate(zip(name, other))  # noqa: B905 - needs Python 3.10
    first = next(i for i, (a, b) in pairs if a != b)
    a, b = name[first:], other[first:]
    if len(a) == len(b):
        return a[1:] == b[1:] or (a[:2] == b[1::-1] and a[2:] == b[2:])
    return a[1:] == b or a == b[1:]


def nearest(name, names):
    """The one of ``names`` that ``name`` was probably meant to be, or None."""
    close = standard("difflib").get_close_matches(name, sorted(names), 1, _ALIKE)
    return close[0] if close else None
