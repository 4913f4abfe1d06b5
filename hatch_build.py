"""The description of the package on an index: README.md without what only a checkout has.

Pictures are left out, and links to files of the repository become their text, for there is no public address that
they could lead to.
"""

import re
from pathlib import Path

from hatchling.metadata.plugin.interface import MetadataHookInterface

# An address has a scheme; a heading is on the page itself.
_RELATIVE = r"\((?![a-z][a-z0-9+.-]*:|#)[^)\s]+\)"
_PICTURE = re.compile(rf"^!\[[^\]]*\]{_RELATIVE}\n+", re.MULTILINE)
_LINK = re.compile(rf"\[([^\]]+)\]{_RELATIVE}")


class ReadmeHook(MetadataHookInterface):
    """Sets the key ``readme``, which pyproject.toml has as dynamic."""

    def update(self, metadata: dict) -> None:
        """Fill in the description."""
        text = (Path(self.root) / "README.md").read_text(encoding="utf-8")
        text = _LINK.sub(r"\1", _PICTURE.sub("", text))
        metadata["readme"] = {"content-type": "text/markdown", "text": text}
