"""Who may do what: identities, tokens and their grants, and the record of what was done.

Owns the judgement of every request (``access``), and the files ``tokens.json`` and ``audit.log`` of a
workspace's state directory. Roles and what a method concerns are declared with the control methods; the
control socket asks here and enforces. May import the modules of ``supervisor/`` itself, and no other folder.
"""

__all__: list[str] = []
