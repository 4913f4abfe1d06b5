"""What schemathesis is told beside the description (see its documentation of hooks)."""

from __future__ import annotations

from typing import Any

import schemathesis


@schemathesis.hook
def before_call(context: Any, case: Any, kwargs: Any) -> None:
    """No waiting for log lines that nobody writes."""
    if case.query and str(case.query.get("timeout", "")).isdecimal():
        case.query["timeout"] = "0"
