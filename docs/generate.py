"""Writes the parts of docs/protocol.md and docs/systemd.md that the code declares: ``python docs/generate.py``.

Between ``<!-- documents: NAME NAME -->`` and ``<!-- end -->`` stand the tables of these documents and of
all that they hold, but for those that came before; between ``<!-- methods -->`` and ``<!-- end -->`` that
of the control methods. A test compares.
"""

from __future__ import annotations

import re
import sys
from pathlib import Path
from typing import Any

from supervisor.drafts.unit import unit_text
from supervisor.protocol.document_modules import CONTROL_DOCUMENTS
from supervisor.protocol.document_schema import components
from supervisor.protocol.methods import METHODS

PAGE = Path(__file__).parent / "protocol.md"
UNIT_PAGE = Path(__file__).parent / "systemd.md"
_PART = re.compile(r"(<!-- documents: (.*?) -->\n).*?(<!-- end -->)", re.DOTALL)
_METHODS = re.compile(r"(<!-- methods -->\n).*?(<!-- end -->)", re.DOTALL)


def generated(text: str) -> str:
    """``text`` with its marked parts made anew."""
    schemas, done = components(*CONTROL_DOCUMENTS), set[str]()

    def part(found: re.Match[str]) -> str:
        tables: list[str] = []
        waiting = found[2].split()
        while waiting:
            name = waiting.pop(0)
            if name not in done:
                done.add(name)
                tables.append(_table(name, schemas[name]))
                waiting[:0] = re.findall(r"#/components/schemas/(\w+)", repr(schemas[name]))
        return found[1] + "\n" + "\n".join(tables) + "\n" + found[3]

    text = _PART.sub(part, text)
    text = _METHODS.sub(lambda found: f"{found[1]}\n{_methods()}\n{found[2]}", text)
    if missing := schemas.keys() - done:
        raise SystemExit(f"error: {PAGE.name} has no place for {', '.join(sorted(missing))}")
    return text


def with_unit(text: str) -> str:
    """``text`` with the unit in it made anew, as ``supervise install-service`` writes it."""
    command = ["/opt/workspace-supervisor/bin/supervise", "run", "-w", "workspace.yaml"]
    unit = unit_text(command, "/srv/analytics", user="analytics")
    return re.sub(r"```ini\n.*?```", lambda _: f"```ini\n{unit}```", text, count=1, flags=re.DOTALL)


def _methods() -> str:
    rows = ["| method | role | parameters | answer |", "|---|---|---|---|"]
    for method in METHODS.values():
        parameters = "; ".join(
            f"`{one.name}` ({one.kind}{'' if one.required else ', optional'}): {one.sentence}"
            for one in method.parameters
        )
        answer = f"[{method.result}](#{method.result.lower()})"
        if method.streaming:
            answer = f"a stream of {answer}"
        if method.frames:
            answer += f" + frames {', '.join(method.frames)}"
        rows.append(
            f"| `{method.name}` | {method.role} | {parameters} | {answer}. {method.sentence} |"
        )
    return "\n".join(rows) + "\n"


def _table(name: str, schema: dict[str, Any]) -> str:
    rows = [
        f"#### {name}",
        "",
        schema["description"],
        "",
        "| field | type | meaning |",
        "|---|---|---|",
    ]
    for field, one in schema["properties"].items():
        absent = "" if field in schema["required"] else ", or absent"
        rows.append(f"| `{field}` | {_type(one)}{absent} | {one.get('description', '')} |")
    return "\n".join(rows) + "\n"


def _type(one: dict[str, Any]) -> str:
    if "$ref" in one:
        name = one["$ref"].rpartition("/")[2]
        return f"[{name}](#{name.lower()})"
    if "enum" in one:
        return " \\| ".join(f"`{value}`" for value in one["enum"])
    if "anyOf" in one:
        return " \\| ".join(_type(each) for each in one["anyOf"])
    if one.get("type") == "array":
        return f"list of {_type(one['items'])}" if "items" in one else "list"
    if one.get("type") == "object":
        inner = one.get("additionalProperties")
        return f"map to {_type(inner)}" if inner else "map"
    kinds = one.get("type", "anything")
    names = {"string": "text", "boolean": "bool"}
    return " or ".join(
        names.get(one, one) for one in ([kinds] if isinstance(kinds, str) else kinds)
    )


if __name__ == "__main__":
    PAGE.write_text(generated(PAGE.read_text()))
    UNIT_PAGE.write_text(with_unit(UNIT_PAGE.read_text()))
    sys.exit(0)
