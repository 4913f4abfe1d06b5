"""Dagster, of any version from 0.9 on: the adapter and its parts."""

__all__ = []
