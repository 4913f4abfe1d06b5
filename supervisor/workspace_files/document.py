"""Text of a configuration file → a tree of nodes that know where they stand.

Owns reading (bounded size, plain files only, UTF-8), YAML (composed from parser events, so that
depth, aliases and duplicate keys are judged while they are read), the bounds, and the wording of
what is wrong with the text itself. Does not know what any key means.

A YAML alias shares its node instead of copying it; the size of the tree *as expanded* is counted
and bounded, so ten lines of nested aliases cost nothing. Scalars follow YAML 1.1 as PyYAML reads
it, and keep the text as written: ``3.10`` is a version somewhere and a number elsewhere.
"""

from __future__ import annotations

import errno
import math
import os
import re
import stat
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

from supervisor.errors import ConfigurationProblem
from supervisor.nearest import near
from supervisor.specs import SourcePosition

__all__ = [
    "MAX_DEPTH",
    "MAX_FILE_BYTES",
    "MAX_NODES",
    "MAX_TEXT",
    "UNUSABLE",
    "DocumentError",
    "Node",
    "parse_yaml",
    "read_text",
    "shorten",
]

MAX_FILE_BYTES = 4 * 1024 * 1024
MAX_DEPTH = 50
_TOO_DEEP = f"nested deeper than {MAX_DEPTH} levels"
MAX_NODES = 200_000
MAX_TEXT = 128 * 1024  # what Linux takes for one environment variable (MAX_ARG_STRLEN)

Kind = Literal["scalar", "list", "map"]


class DocumentError(Exception):
    """The text cannot be read as a document at all; ``problems`` say why."""

    def __init__(self, *problems: ConfigurationProblem) -> None:
        super().__init__(problems)
        self.problems = problems


@dataclass(slots=True)
class Node:
    """One value and where it stands.

    ``value`` is a str, int, float, bool or None for a scalar (in TOML also a date), a list of nodes for a list and a
    dict of nodes by key for a map. ``text`` is a scalar as it was written, ``keys`` where each key
    of a map stands, ``size`` the number of nodes in the expanded tree. ``flaw`` is what is wrong with
    the text of a list or map, or of a scalar in it: then not all in it is as it was meant.
    """

    kind: Kind
    value: Any
    position: SourcePosition
    text: str = ""
    keys: dict[str, SourcePosition] = field(default_factory=dict)
    size: int = 1
    flaw: ConfigurationProblem | None = None

    def describe(self) -> str:
        """What stands here, in words short enough for a sentence."""
        if self.kind == "list":
            return "a list" if self.value else "an empty list"
        if self.kind == "map":
            return "a map" if self.value else "an empty map"
        if self.value is None:
            return "nothing"
        if isinstance(self.value, str):
            if not self.value:
                return "an empty text"
            return f'the text "{shorten(self.value)}"'
        shown = shorten(self.text)
        if isinstance(self.value, bool):
            return f"{shown} (true or false)"
        return f"the {'number' if isinstance(self.value, int | float) else 'date'} {shown}"

    def first_flaw(self) -> ConfigurationProblem | None:
        """That of this node, or of one below it."""
        children = self.value.values() if self.kind == "map" else self.value
        below = (child.first_flaw() for child in children) if self.kind != "scalar" else ()
        return self.flaw or next((one for one in below if one is not None), None)

    def plain(self) -> Any:
        """The value as plain data that JSON and msgpack can carry, without positions."""
        if self.kind == "list":
            return [child.plain() for child in self.value]
        if self.kind == "map":
            return {key: child.plain() for key, child in self.value.items()}
        if isinstance(self.value, int | None) and -(2**63) <= (self.value or 0) < 2**64:
            return self.value
        if isinstance(self.value, float) and math.isfinite(self.value):
            return self.value
        return self.text  # a text; or what neither JSON nor msgpack can carry, as it was written


def shorten(text: str, length: int = 60) -> str:
    """``text`` in a length fit for a sentence, on one line, visible when it is empty."""
    if len(text) > length:
        text = text[: length - 3] + "..."
    return text.encode("unicode_escape").decode() if not text.isprintable() else text or '""'


def _beside(path: Path) -> list[str]:
    """The names of what lies in the directory of ``path``; none where that cannot be read."""
    try:
        return [] if path.name == ".env" else sorted(one.name for one in path.parent.iterdir())
    except (OSError, ValueError):
        return []


def _problem(
    position: SourcePosition, message: str, *, expected: str = "", suggestion: str = ""
) -> DocumentError:
    return DocumentError(ConfigurationProblem(position, "", message, expected, suggestion))


def read_text(path: Path, *, what: str = "the file") -> str:
    """The text of ``path``; DocumentError for anything that is not a readable text file."""
    place = SourcePosition(str(path))
    try:
        status = path.stat()
        if stat.S_ISDIR(status.st_mode):
            raise _problem(place, f"{what} is a directory; name the file inside it")
        if not stat.S_ISREG(status.st_mode):
            raise _problem(place, f"{what} is not a regular file")
        if status.st_size > MAX_FILE_BYTES:
            raise _problem(place, f"{what} is larger than {MAX_FILE_BYTES // 2**20} MiB")
        with path.open("rb") as stream:
            data = stream.read(MAX_FILE_BYTES + 1)[:MAX_FILE_BYTES]
    except FileNotFoundError:
        if path.is_symlink():
            missing = f"{what} is a link to {os.path.realpath(path)}, which does not exist"
            raise _problem(place, missing) from None
        meant = near(path.name, _beside(path))
        raise _problem(place, f"{what} does not exist", suggestion=meant) from None
    except NotADirectoryError:
        raise _problem(place, f"{what} does not exist: its path leads through a file") from None
    except PermissionError:
        raise _problem(place, f"{what} cannot be read: permission denied") from None
    except ValueError:  # a NUL or a lone surrogate in the name
        place = SourcePosition(str(path).encode("unicode_escape").decode())
        raise _problem(place, f"{what} has a name that no file can have") from None
    except OSError as error:
        reason = (error.strerror or errno.errorcode.get(error.errno or 0, "error")).lower()
        raise _problem(place, f"{what} cannot be read: {reason}") from None
    try:
        text = data.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        good = data[: error.start].decode("utf-8", "replace")
        raise _problem(
            _position_at(str(path), good, len(good)),
            f"byte 0x{data[error.start]:02x} is not valid UTF-8; save {what} as UTF-8",
        ) from None
    match = _UNPRINTABLE.search(text)
    if match:
        raise _problem(
            _position_at(str(path), text, match.start()),
            f"control character U+{ord(match[0]):04X} does not belong in a text file",
        )
    return text


# What YAML calls non-printable (and TOML forbids too), less the line ends both know.
_UNPRINTABLE = re.compile("[\x00-\x08\x0b\x0c\x0e-\x1f\x7f\x80-\x84\x86-\x9f\ufffe\uffff]")


def _position_at(file: str, text: str, offset: int) -> SourcePosition:
    line = text.count("\n", 0, offset) + 1
    return SourcePosition(file, line, offset - (text.rfind("\n", 0, offset) + 1) + 1)


def parse_yaml(text: str, file: str) -> tuple[Node | None, list[ConfigurationProblem]]:
    """The tree of the one YAML document in ``text``, None when there is none, and all its flaws.

    Flaws are duplicate keys, bad scalars and the like: the rest can be read. Raises DocumentError for
    what is no YAML.
    """
    import yaml

    try:
        return _Composer(text, file).document()
    except yaml.MarkedYAMLError as error:
        mark = error.problem_mark or error.context_mark
        where = SourcePosition(file, mark.line + 1, mark.column + 1) if mark else None
        reason = " ".join(str(error.problem or error.context or "cannot be parsed").split())
        if "'\\t'" in reason or ("cannot start any token" in reason and _tab_at(text, mark)):
            reason = "a tab cannot indent; use spaces"
        message = f"this is not valid YAML: {reason}"
        if "nesting depth" in reason:  # libyaml has a bound of its own since 0.2.6
            message = _TOO_DEEP
        elif error.context and error.context_mark and error.problem:
            message += f" ({error.context} in line {error.context_mark.line + 1})"
        raise _problem(where or SourcePosition(file), message) from None
    except yaml.YAMLError as error:
        reason = " ".join(str(error).split())
        raise _problem(SourcePosition(file), f"this is not valid YAML: {reason}") from None


def _tab_at(text: str, mark: Any) -> bool:
    lines = text.splitlines()
    return (
        mark is not None and mark.line < len(lines) and "\t" in lines[mark.line][: mark.column + 1]
    )


@dataclass(slots=True)
class _Frame:
    """A collection that is being read. ``key`` is the map key whose value comes next."""

    node: Node
    anchor: str | None
    key: tuple[str, SourcePosition] | None = None
    merges: list[tuple[Node, SourcePosition]] = field(default_factory=list)


_PREFIX = "tag:yaml.org,2002:"
_PLAIN = frozenset(f"{_PREFIX}{name}" for name in ("null", "bool", "int", "float", "str"))


class _Composer:
    """Parser events → nodes, without recursion, so that depth is our bound and not Python's."""

    def __init__(self, text: str, file: str) -> None:
        import yaml

        loader: type[Any] = getattr(yaml, "CSafeLoader", yaml.SafeLoader)
        self._yaml = yaml
        self._loader = loader(text)
        self._file = file
        self._flaws: list[ConfigurationProblem] = []
        self._anchors: dict[str, Node] = {}
        self._stack: list[_Frame] = []
        self._root: Node | None = None

    def document(self) -> tuple[Node | None, list[ConfigurationProblem]]:
        yaml = self._yaml
        documents = 0
        while self._loader.check_event():
            event = self._loader.get_event()
            if isinstance(event, yaml.DocumentStartEvent):
                documents += 1
                if documents > 1:
                    raise _problem(
                        self._place(event), "a second document starts here; one file holds one"
                    )
            elif isinstance(event, yaml.AliasEvent):
                self._alias(event)
            elif isinstance(event, yaml.ScalarEvent):
                self._scalar(event)
            elif isinstance(event, yaml.SequenceStartEvent):
                self._open(event, "list", [], ("seq",))
            elif isinstance(event, yaml.MappingStartEvent):
                self._open(event, "map", {}, ("map",))
            elif isinstance(event, yaml.SequenceEndEvent | yaml.MappingEndEvent):
                self._close()
        return self._root, self._flaws

    def _place(self, event: Any) -> SourcePosition:
        return SourcePosition(self._file, event.start_mark.line + 1, event.start_mark.column + 1)

    def _add(
        self, position: SourcePosition, message: str, node: Node | None = None, **more: str
    ) -> None:
        """A flaw of ``node``, by default of what is open."""
        flaw = ConfigurationProblem(position, "", message, **more)
        if node is None and self._stack:
            node = self._stack[-1].node
        if node is not None:
            node.flaw = node.flaw or flaw
        if len(self._flaws) < 100:
            self._flaws.append(flaw)

    def _tag(self, event: Any, allowed: tuple[str, ...]) -> None:
        tag = event.tag
        if tag and tag != "!" and tag not in tuple(_PREFIX + name for name in allowed):
            shown = tag.replace(_PREFIX, "!!")
            self._add(
                self._place(event),
                f"the tag {shorten(shown)} is not allowed here; only plain data is",
            )

    def _open(self, event: Any, kind: Kind, value: Any, tags: tuple[str, ...]) -> None:
        if len(self._stack) >= MAX_DEPTH:
            raise _problem(self._place(event), _TOO_DEEP)
        self._tag(event, tags)
        self._stack.append(_Frame(Node(kind, value, self._place(event)), event.anchor))

    def _close(self) -> None:
        frame = self._stack.pop()
        if frame.merges:
            self._merge(frame)
        if frame.anchor:
            self._anchors[frame.anchor] = frame.node
        self._put(frame.node, frame.node.position)

    def _merge(self, frame: _Frame) -> None:
        """``<<: *base``: keys of the bases that the map does not have itself; earlier bases win."""
        for value, place in frame.merges:
            bases = value.value if value.kind == "list" else [value]
            for base in bases:
                if base.kind != "map":
                    self._add(
                        place,
                        f"<< merges {base.describe()}",
                        frame.node,
                        expected="a map or a list of maps",
                    )
                    continue
                frame.node.flaw = frame.node.flaw or base.flaw
                for key, child in base.value.items():
                    if key not in frame.node.value:
                        frame.node.value[key] = child
                        frame.node.keys[key] = base.keys[key]
                        frame.node.size += child.size
        self._bound(frame.node, frame.node.position)

    def _alias(self, event: Any) -> None:
        place = self._place(event)
        if any(frame.anchor == event.anchor for frame in self._stack):
            raise _problem(place, f"*{shorten(event.anchor)} contains itself")
        node = self._anchors.get(event.anchor)
        if node is None:
            raise _problem(place, f"*{shorten(event.anchor)} names no anchor above it")
        self._put(node, place, alias=True)

    def _scalar(self, event: Any) -> None:
        yaml, place, text = self._yaml, self._place(event), event.value
        tag = event.tag
        if tag is None or tag == "!":
            tag = self._loader.resolve(yaml.ScalarNode, text, event.implicit)
        merge = tag == _PREFIX + "merge"
        value: Any = text
        if tag in (_PREFIX + "timestamp", _PREFIX + "value") or merge:
            tag = _PREFIX + "str"  # a date is text here: nothing that we read is a date
        if tag not in _PLAIN:
            self._tag(event, ())
        elif tag != _PREFIX + "str":
            try:
                node = yaml.ScalarNode(tag, text, event.start_mark, event.end_mark)
                value = self._loader.construct_object(node)
            except (ValueError, KeyError, ArithmeticError, yaml.YAMLError):
                kind = tag.removeprefix(_PREFIX)
                self._add(place, f"cannot be read as {kind}: write it in quotes if it is a text")
        if len(text) > MAX_TEXT:
            self._add(place, f"a text of {len(text)} characters is too long; at most {MAX_TEXT}")
            value = text = text[:100]
        elif isinstance(value, str) and (bad := UNUSABLE.search(value)):
            self._add(place, f"character U+{ord(bad[0]):04X} cannot be used in any value")
            value = text = UNUSABLE.sub("?", value)
        self._put(Node("scalar", value, place, text), place, merge=merge)
        if event.anchor:
            self._anchors[event.anchor] = Node("scalar", value, place, text)

    def _put(
        self, node: Node, place: SourcePosition, *, merge: bool = False, alias: bool = False
    ) -> None:
        """Hands a finished node to the collection that is open."""
        if not self._stack:
            self._root = node
            return
        frame = self._stack[-1]
        parent = frame.node
        if parent.kind == "list":
            parent.value.append(node)
        elif frame.key is None:
            if node.kind != "scalar":
                self._add(place, f"{node.describe()} cannot be a key", expected="a text")
                frame.key = (f"\0{len(parent.keys)}", place)  # no text is equal to it
            else:
                frame.key = ("<<" if merge and not alias else node.text, place)
                if merge:
                    return
            if frame.key[0] in parent.keys:
                first = parent.keys[frame.key[0]]
                self._add(
                    place,
                    f"the key {shorten(frame.key[0])} stands twice in this map, first in line {first.line}",
                )
            parent.keys.setdefault(*frame.key)
            return
        else:
            key, key_place = frame.key
            frame.key = None
            if key == "<<" and key not in parent.keys:
                frame.merges.append((node, key_place))
            else:
                parent.value.setdefault(key, node)
        parent.size += node.size
        self._bound(parent, place)

    def _bound(self, node: Node, place: SourcePosition) -> None:
        if node.size > MAX_NODES:
            raise _problem(place, f"more than {MAX_NODES} values, aliases expanded")


# A NUL ends a string in every system call; a lone surrogate cannot be encoded.
UNUSABLE = re.compile("[\x00\ud800-\udfff]")
