"""The block of a script that says what it needs (PEP 723): its Python, its dependencies, uv's settings.

Owns finding and reading it. Raises ``EnvError`` (``requirements``) for one that cannot be read. Starts no
process and installs nothing.
"""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final

from .errors import EnvError

__all__ = ["Script", "has_block", "lock_of_script", "read_script"]

# The expression of PEP 723 itself.
_BLOCK: Final = re.compile(
    r"(?m)^# /// (?P<type>[a-zA-Z0-9-]+)[ \t\r]*$\s(?P<content>(^#(| .*)$\s)+)^# ///[ \t\r]*$"
)


@dataclass(frozen=True, slots=True)
class Script:
    """What the block says. ``text`` is all of it; ``index`` is uv's settings of where packages come from,
    as command line words; ``sources`` is True where some come from elsewhere than an index."""

    text: str
    requires_python: str | None = None
    dependencies: tuple[str, ...] = ()
    index: tuple[str, ...] = field(default=(), repr=False)
    sources: bool = False


def has_block(text: str) -> bool:
    """True when ``text`` is that of a script with such a block."""
    return any(match["type"] == "script" for match in _BLOCK.finditer(text))


def lock_of_script(path: Path) -> Path:
    """Where ``uv lock --script`` writes the lock of the script at ``path``."""
    return path.with_name(f"{path.name}.lock")


def read_script(path: Path) -> Script:
    """The block of the script at ``path``; an empty one where it has none. Raises ``EnvError``."""
    import tomllib

    try:
        text = path.read_text(encoding="utf-8")
    except (OSError, ValueError) as error:
        reason = error.strerror if isinstance(error, OSError) else str(error)
        raise EnvError("requirements", f"{path} cannot be read: {reason}") from error
    found = [match for match in _BLOCK.finditer(text) if match["type"] == "script"]
    if not found:
        return Script("")
    line = text.count("\n", 0, found[-1].start()) + 1
    if len(found) > 1:
        raise EnvError(
            "requirements",
            f"{path}:{line}: this is a second block of script metadata",
            hint="keep one `# /// script` block (PEP 723)",
        )
    content = "".join(
        one[2:] if one.startswith("# ") else one[1:]
        for one in found[0]["content"].splitlines(keepends=True)
    )
    try:
        table = tomllib.loads(content)
    except tomllib.TOMLDecodeError as error:
        raise EnvError(
            "requirements",
            f"{path}:{line}: the block of script metadata is not valid TOML: {error}",
            hint="the lines and columns count from the line below `# /// script`",
        ) from error
    python, listed = table.get("requires-python"), table.get("dependencies", [])
    if not isinstance(listed, list) or not isinstance(python, str | None):
        wrong = "requires-python" if isinstance(listed, list) else "dependencies"
        expected = "a text" if wrong == "requires-python" else "a list of requirements"
        raise EnvError("requirements", f"{path}:{line}: {wrong} is not {expected}")
    try:
        settings = table.get("tool", {}).get("uv", {})
        index, sources = tuple(_index(settings)), "sources" in settings
    except (AttributeError, KeyError, TypeError) as error:
        raise EnvError(
            "requirements",
            f"{path}:{line}: [tool.uv] in the block of script metadata is not in uv's form",
            hint="`uv lock --script` says what is wrong with it",
        ) from error
    return Script(content, python, tuple(map(str, listed)), index, sources)


def _index(settings: dict[str, Any]) -> list[str]:
    """The settings of ``[tool.uv]`` that say where packages come from, as uv's options."""
    words: list[str] = []
    for one in settings.get("index", ()):
        option = "--default-index" if one.get("default") else "--index"
        named = f"{one['name']}={one['url']}" if "name" in one else str(one["url"])
        words += [option, named]
        if one.get("explicit") and "unsafe-best-match" not in words:
            # Only some packages come from it, and their versions are pinned by then.
            words += ["--index-strategy", "unsafe-best-match"]
    for key, option in (("index-url", "--index-url"), ("index-strategy", "--index-strategy")):
        if key in settings and option not in words:
            words += [option, str(settings[key])]
    for key in ("extra-index-url", "find-links"):
        for place in settings.get(key, ()):
            words += [f"--{key}", str(place)]
    return [*words, "--no-index"] if settings.get("no-index") else words
