"""Words that the command and the web page share: durations, sizes, states, failures.

Owns texts and knows documents; reads and sends nothing. May import client/ and what is below it.
"""

from __future__ import annotations

__all__: list[str] = []
