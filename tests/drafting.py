"""What the tests of drafts share: files, and a draft read as a workspace."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

from supervisor.drafts.draft import Draft
from supervisor.specs import WorkspaceSpec
from supervisor.workspace_files import Selection, resolve

ENVIRON = {"HOME": "/home/ops"}


def tree(root: Path, files: Mapping[str, str]) -> None:
    for name, text in files.items():
        path = root / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)


def read(root: Path, draft: Draft) -> WorkspaceSpec:
    path = root / "workspace.yaml"
    path.write_text(draft.text())
    return resolve(Selection(files=(path,)), cwd=root, environ=ENVIRON)
