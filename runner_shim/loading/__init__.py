"""Importing a target and finding out what it is, what it imported, or why it could not be loaded.

May import frameworks/, which it asks.
"""

__all__ = []
