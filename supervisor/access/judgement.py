"""One request in ``Access``: authorized, answered with the client's identity, recorded.

Owns the order of these steps, which is the same for every method. Knows no socket and no handler.
"""

from __future__ import annotations

import contextlib
from collections.abc import AsyncGenerator, Mapping
from typing import Any

from supervisor.access.access import Access
from supervisor.access.identity import Identity, asking
from supervisor.errors import SupervisorError
from supervisor.protocol.methods import Method

__all__ = ["Judgement"]


class Judgement:
    """What ``access`` says of one request; ``answer`` is what it was answered, for the record."""

    def __init__(self, access: Access) -> None:
        self._access = access
        self._who: Identity | None = None
        self.answer: Any = None

    @contextlib.asynccontextmanager
    async def passed(
        self,
        key: str | None,
        request: Mapping[str, Any],
        method: Method,
        params: Mapping[str, Any],
    ) -> AsyncGenerator[Mapping[str, Any], None]:
        """Gives the parameters that the handler is asked with; raises what the request is refused
        with."""
        access, given, outcome = self._access, params, "interrupted"
        try:
            who = self._who = await access.identify(key, request)
            given = method.read(params)
            given = access.allow(who, method, given)
            with asking(who):
                async with access.admitted(who):
                    yield given
            outcome = "done"
        except SupervisorError as error:
            outcome = error.code
            raise
        except Exception:
            outcome = "internal"
            raise
        finally:
            access.record(self._who, method, given, outcome, self.answer)

    def shown(self, error: SupervisorError) -> SupervisorError:
        """``error`` as the one who asks may see it."""
        return error if self._who is None else self._access.shown(self._who, error)
