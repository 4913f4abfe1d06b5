"""The frameworks whose objects can be read, each behind an adapter.

``adapter`` is the contract, ``registry`` the table of the frameworks, ``findings`` what is made of
all that they find, ``unread`` says what was found of frameworks that are not read. Each framework is
a module or a folder of its own; no other place knows its name. May import definitions/,
execution/ and loading/.
"""

__all__ = []
