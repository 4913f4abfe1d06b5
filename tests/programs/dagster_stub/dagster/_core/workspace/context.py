"""A stand-in for the class whose instance a program asks for its locations."""

import warnings
from pathlib import Path
from typing import Any


class WorkspaceProcessContext:
    """Knows the text of the workspace file as it was read last."""

    def __init__(self, path: str) -> None:
        self.path = Path(path)
        self.refresh_workspace()

    def refresh_workspace(self) -> None:
        self.text = self.path.read_text()

    def _load_location(self, origin: Any, reload: bool) -> None:
        """As where the server does not answer."""
        warnings.warn(f"Error loading repository location {origin.location_name}")
