"""Which of some names a mistyped one may have stood for.

Owns the comparison and its bounds (comparing long names with many takes long), and the hint for the name of a
location. Holds no names itself.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from difflib import SequenceMatcher

from supervisor.time_slices import Steps, at_once

__all__ = ["hint", "listed", "near", "near_in_steps"]

# A similarity as difflib defines it: one wrong letter of four, three of ten.
_ALIKE = 0.7
# How many names of a similar length are compared: at once, and a step at a time.
_MOST_AT_ONCE, _MOST_IN_STEPS = 200, 5000
_LONGEST = 100
# How the id of a run begins, and no name of a location that people give.
_RUN = re.compile(r"[0-9a-f]{8}-[0-9a-f]{4}(-[0-9a-f]*)*$")
_MOST_LISTED = 20
# Letters of a word that make a beginning.
_LEAST_BEGINNING = 3


def near(word: str, words: Iterable[str]) -> str:
    """The one of ``words`` that ``word`` was probably meant to be, or an empty text."""
    return at_once(near_in_steps(word, words, _MOST_AT_ONCE))


def near_in_steps(word: str, words: Iterable[str], most: int = _MOST_IN_STEPS) -> Steps[str]:
    """As ``near``, a step for each of the words. Case, hyphens, dots and underscores do not count.

    A word that alone begins with what was typed is meant, before one that is more alike: stat is status, not start.
    """
    bare, best, found = _folded(word), _ALIKE, ""
    if len(bare) > _LONGEST:
        return ""
    matcher = SequenceMatcher(None, "", bare)
    compared = 0
    longer: list[str] = []
    for one in words:
        yield
        other = _folded(one)
        if other == bare:
            return one
        if other.startswith(bare) and len(bare) >= _LEAST_BEGINNING and len(longer) < 2:
            longer.append(one)
        # Lengths alone may say that the ratio is too low.
        if 2 * min(len(other), len(bare)) < best * (len(other) + len(bare)):
            continue
        compared += 1
        if compared > most:
            break
        matcher.set_seq1(other)
        if min(matcher.real_quick_ratio(), matcher.quick_ratio()) >= best:
            ratio = matcher.ratio()
            if ratio >= best:
                best, found = ratio, one
    return longer[0] if len(longer) == 1 else found


def hint(name: str, names: Sequence[str]) -> str:
    """The hint for a location that does not exist, where ``names`` do."""
    if _RUN.match(name):
        return f"that is a run: `supervise runs show {name}`"
    meant = near(name, names)
    if meant:
        return f"did you mean {meant}?"
    return listed(sorted(names)) if names else "the workspace is empty"


def listed(names: Sequence[str]) -> str:
    """What there is, as a hint: ``there are a, b``; of many names the first ones."""
    shown = ", ".join(names[:_MOST_LISTED]) + (", …" if len(names) > _MOST_LISTED else "")
    return f"there {'is' if len(names) == 1 else 'are'} {shown}"


def _folded(word: str) -> str:
    return re.sub(r"[-_ .]", "", word.lower())
