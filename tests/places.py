"""Where things lie in a checkout."""

from __future__ import annotations

from pathlib import Path

__all__ = ["PROGRAMS", "ROOT", "TESTS"]

TESTS = Path(__file__).resolve().parent
ROOT = TESTS.parent
PROGRAMS = TESTS / "programs"
