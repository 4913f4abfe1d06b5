"""A stand-in for the class whose instance a program asks for its locations."""

from pathlib import Path


class WorkspaceProcessContext:
    """Knows the text of the workspace file as it was read last."""

    def __init__(self, path: str) -> None:
        self.path = Path(path)
        self.refresh_workspace()

    def refresh_workspace(self) -> None:
        self.text = self.path.read_text()
