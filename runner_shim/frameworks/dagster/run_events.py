"""What Dagster records of a run, as the events and failures that all frameworks tell alike.

Owns the translation of one record (of any release) and of the errors in it: those are Dagster's text of
an exception, so the user's frames are read back from the lines of its stack. Knows no instance.
"""

import re

from runner_shim import imported, plain_data
from runner_shim.frameworks.dagster.read import Reader, key_path

__all__ = ["failure_of", "told"]

_FRAME = re.compile(r'\s*File "(?P<file>[^"]+)", line (?P<line>\d+), in (?P<function>[^\n]+)')
_DAGSTERS = re.compile(r"[/\\](site|dist)-packages[/\\]dagster(_shared)?[/\\]")
_MAX_FRAMES = 50
_MAX_CAUSES = 10
# Dagster's own wrappers around what user code raised.
_LOADING = "DagsterExecutionLoadInputError"
_WRAPPERS = (
    "DagsterExecutionStepExecutionError",
    "DagsterExecutionLoadInputError",
    "DagsterExecutionHandleOutputError",
    "DagsterResourceFunctionError",
    "DagsterTypeCheckError",
    "DagsterUserCodeExecutionError",
)
_INTERRUPTS = ("DagsterExecutionInterruptedError", "KeyboardInterrupt")
_LEVELS = {10: "DEBUG", 20: "INFO", 30: "WARNING", 40: "ERROR", 50: "CRITICAL"}


def told(record):
    """``(type, step, message, data, time)`` of a record that an instance's listener was given."""
    event = getattr(record, "dagster_event", None)
    at = getattr(record, "timestamp", None)
    if event is None:
        level = getattr(record, "level", None)
        level = _LEVELS.get(level, level)
        message = getattr(record, "user_message", None) or getattr(record, "message", None)
        return "LOGS", getattr(record, "step_key", None), message or "", {"level": level}, at
    kind = event.event_type_value
    if kind.startswith("PIPELINE_"):
        kind = "RUN_" + kind[len("PIPELINE_") :]
    message = event.message or getattr(record, "user_message", None) or ""
    return kind, event.step_key, message, _data(kind, event), at


def _data(kind, event):
    specific = event.event_specific_data
    data = {}
    error = _error(specific)
    if error is not None:
        data["failure"] = failure_of(error, event.step_key)
    duration = getattr(specific, "duration_ms", None)
    if duration is not None:
        data["seconds"] = duration / 1000.0
    output = getattr(specific, "output_name", None)
    if isinstance(output, str):
        data["output"] = output
    materialization = getattr(specific, "materialization", None)
    for one in (materialization, getattr(specific, "asset_observation", None)):
        if one is not None:
            _add_asset(data, one)
    if kind == "ASSET_CHECK_EVALUATION":
        _add_check(data, specific)
    seconds = getattr(specific, "seconds_to_wait", None)
    if seconds is not None:
        data["seconds_to_wait"] = seconds
    return data or None


def _add_check(data, found):
    passed = getattr(found, "passed", getattr(found, "success", None))  # up to 1.5: success
    if not isinstance(passed, bool) or not isinstance(getattr(found, "check_name", None), str):
        return
    _add_asset(data, found)
    data["check"], data["passed"] = found.check_name, passed
    severity = getattr(getattr(found, "severity", None), "value", None)
    if isinstance(severity, str):
        data["severity"] = severity


def _add_asset(data, found):
    path = key_path(getattr(found, "asset_key", None))
    if path:
        data["asset_key"] = path
    if getattr(found, "partition", None):
        data["partition"] = found.partition
    metadata = getattr(found, "metadata", None) or getattr(found, "metadata_entries", None)
    reader = Reader(_ignore)
    for name, value in (
        ("metadata", reader.metadata(metadata)),
        ("markdown", reader.markdown(metadata)),
    ):
        if value:
            data[name] = value


def _ignore(*_arguments, **_named):
    pass


def _error(specific):
    error = getattr(specific, "error", None)
    return error if hasattr(error, "cls_name") else None


# --- errors


def failure_of(error, step):
    """The failure that Dagster's text of an exception (SerializableErrorInfo) tells of, as data."""
    chain = _chain(error)
    loading = any(one.cls_name == _LOADING for one in chain)
    while len(chain) > 1 and chain[0].cls_name in _WRAPPERS:
        del chain[0]
    first = chain[0]
    frames = _frames(first)
    place = next(([one["file"], one["line"]] for one in reversed(frames) if one["user"]), None)
    said = _said(first)
    sentence = "%s: %s" % (first.cls_name, said) if said else str(first.cls_name)
    kind = "interrupted" if first.cls_name in _INTERRUPTS else "exception"
    data = {
        "kind": kind,
        "message": "it was interrupted" if kind == "interrupted" else plain_data.text(sentence),
        "exception": {"type": plain_data.text(first.cls_name or "", 300), "message": said},
        "frames": frames,
        "causes": [
            {
                "relation": "cause",
                "type": plain_data.text(one.cls_name or "", 300),
                "message": _said(one),
                "frames": _frames(one),
            }
            for one in chain[1:_MAX_CAUSES]
        ],
        "traceback": plain_data.text("".join(_not_ours(first)) + (first.message or ""), 65536),
    }
    if place:
        data["file"], data["line"] = place
        if kind != "interrupted":
            data["message"] += " (at %s line %d)" % tuple(place)
    if step:
        data["step"] = step
    if loading and first.cls_name == "FileNotFoundError":
        data["hint"] = (
            "what it depends on has no value where this run looks: make that, too, with +NAME in the selection"
        )
    return data


def _chain(error):
    found = []
    while error is not None and len(found) <= _MAX_CAUSES:
        found.append(error)
        error = getattr(error, "cause", None) or getattr(error, "context", None)
    return found


def _said(error):
    """What the exception says, without the name of its class in front."""
    text = (error.message or "").strip()
    name = error.cls_name or ""
    head, colon, rest = text.partition(":")
    if name and head.rpartition(".")[2] == name:
        text = rest.strip() if colon else ""
    return plain_data.text(text, 4096)


def _not_ours(error):
    """The entries of a stack without those of this package."""
    for entry in error.stack or ():
        match = _FRAME.match(entry)
        if match is None or not imported.is_own(match.group("file")):
            yield entry


def _frames(error):
    """The frames that are no Dagster's; those of a failed step begin below it."""
    found = []
    for entry in _not_ours(error):
        match = _FRAME.match(entry)
        if match is None or _dagsters(match.group("file")):
            continue
        filename = match.group("file")
        place = plain_data.place(filename, int(match.group("line")))
        code = entry.strip().splitlines()[1:2]
        frame = {
            "file": place[0],
            "line": place[1],
            "function": plain_data.text(match.group("function").strip(), 300),
            "user": imported.is_user(filename),
        }
        if code:
            frame["code"] = plain_data.text(code[0].strip(), 300)
        found.append(frame)
    return found[-_MAX_FRAMES:]


def _dagsters(filename):
    return _DAGSTERS.search(filename) is not None or filename.endswith("contextlib.py")
