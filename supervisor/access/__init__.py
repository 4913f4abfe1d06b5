"""Who may do what: tokens and their grants, and the record of what was done.

Owns the files ``tokens.json`` and ``audit.log`` of a workspace's state directory. Roles are declared
with the control methods; the control socket asks here and enforces. May import the modules of
``supervisor/`` itself, and no other folder.
"""

__all__: list[str] = []
