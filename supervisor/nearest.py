"""What somebody who mistyped a name may have meant.

Owns the comparing of one name with those that there are, in bounded time. Knows no locations.
"""

from __future__ import annotations

import difflib
from collections.abc import Sequence

__all__ = ["nearest"]

# With how many names one that is unknown is compared, and how far their lengths may differ.
_MOST_COMPARED, _MISTYPED, _LONGEST_NEAR = 200, 4, 200


def nearest(name: str, names: Sequence[str]) -> str:
    """The hint for a location that is not there, of those that are."""
    # Comparing takes long: a typing error changes a name's length by little.
    alike = [one for one in names if abs(len(one) - len(name)) <= _MISTYPED]
    near = difflib.get_close_matches(name[:_LONGEST_NEAR], alike[:_MOST_COMPARED], n=1)
    if near:
        return f"did you mean {near[0]}?"
    return "there are " + ", ".join(sorted(names)) if names else "the workspace is empty"
