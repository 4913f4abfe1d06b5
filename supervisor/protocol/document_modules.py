"""The modules that declare documents of the control protocol: the one list of them."""

from __future__ import annotations

from supervisor.protocol import (
    access_documents,
    automation_documents,
    documents,
    face_documents,
    run_documents,
)

__all__ = ["CONTROL_DOCUMENTS"]

CONTROL_DOCUMENTS = (
    documents,
    run_documents,
    automation_documents,
    access_documents,
    face_documents,
)
