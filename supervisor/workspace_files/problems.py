"""The problems of one pass over the files, and which part of a file each concerns.

Owns their collecting: each is told once, and all at once in the end. What stands alone, such as one
location, is read in a scope of its own, which then says whether it is sound. Knows no key.
"""

from __future__ import annotations

import contextlib
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field

from supervisor.errors import ConfigurationProblem
from supervisor.specs import SourcePosition

__all__ = ["MAX_PROBLEMS", "Reading", "Scope"]

MAX_PROBLEMS = 1000
"""More than anybody reads; a bound for files that are not what they seem."""


@dataclass(slots=True)
class Scope:
    """A part of a file that stands alone; ``problem`` is the first thing wrong with it."""

    problem: ConfigurationProblem | None = None


@dataclass(slots=True)
class Reading:
    """One pass over the files: the environment for ``{env: …}``, and the problems found so far.

    ``expands``: what is read now is a file in which ``${NAME}`` stands for a variable.
    """

    environ: Mapping[str, str]
    expands: bool = False
    problems: list[ConfigurationProblem] = field(default_factory=list)
    warnings: list[str] = field(default_factory=list)
    _told: set[tuple[SourcePosition, str]] = field(default_factory=set)
    _flawed: set[SourcePosition] = field(default_factory=set)
    _scope: Scope = field(default_factory=Scope)

    def warn(self, position: SourcePosition, message: str) -> None:
        """Note what changes nothing, and may not be what was meant."""
        self.warnings.append(f"{position}: {message}")

    def flaws(self, found: Iterable[ConfigurationProblem]) -> None:
        """Tell what is wrong with the text of a document; what follows from that is not told."""
        for one in found:
            self.problem(one.position, one.path, one.message, expected=one.expected)
            self._flawed.add(one.position)

    @contextlib.contextmanager
    def apart(self) -> Iterator[Scope]:
        """A scope for what is read meanwhile: its problems concern it, and not what it is part of."""
        outer, self._scope = self._scope, Scope()
        try:
            yield self._scope
        finally:
            self._scope = outer

    @contextlib.contextmanager
    def expanding(self) -> Iterator[None]:
        """What is read meanwhile is a file in which ``${NAME}`` stands for a variable."""
        before, self.expands = self.expands, True
        try:
            yield
        finally:
            self.expands = before

    def blame(self, problem: ConfigurationProblem | None) -> None:
        """What is read now depends on what has ``problem``, which is told elsewhere."""
        self._scope.problem = self._scope.problem or problem

    def problem(
        self,
        position: SourcePosition,
        path: str,
        message: str,
        *,
        expected: str = "",
        suggestion: str = "",
    ) -> None:
        """Notes one problem; the same one is noted once, however many aliases lead to it."""
        found = ConfigurationProblem(position, path, message, expected, suggestion)
        self.blame(found)
        if position in self._flawed:
            return
        if (position, message) not in self._told and len(self._told) < MAX_PROBLEMS:
            self._told.add((position, message))
            self.problems.append(found)
