"""Why a target could not be loaded, as data.

Owns LoadFailure and the judgement of any exception that user code raises while it is imported:
its kind, one sentence, the user's own frames, bounded in number and size. Refuses to guess about
environments (the supervisor knows their names) and to raise because a user's exception does.
"""

__all__ = ["LoadFailure"]


class LoadFailure(Exception):
    """The target, or one of its definitions, cannot be loaded; ``as_data`` is what is sent.

    ``kind`` is one of docs/snapshot.md "Load failures", ``message`` one lowercase sentence and
    ``hint`` the remedy. ``exception`` is what user code raised, ``file`` and ``line`` the place
    at fault.
    """

    def __init__(self, kind, message, hint=None, exception=None, file=None, line=None):
        Exception.__init__(self, message)
        self.kind = kind
        self.message = message
        self.hint = hint
        self.exception = exception
        self.file = file
        self.line = line

    def as_data(self):
        """The failure as docs/snapshot.md has it."""
        data = {"kind": self.kind, "message": self.message}
        for key in ("hint", "file", "line"):
            if getattr(self, key):
                data[key] = getattr(self, key)
        return data
