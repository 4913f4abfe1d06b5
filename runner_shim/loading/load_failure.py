"""Why a target could not be loaded, as data.

Owns LoadFailure and the judgement of any exception that user code raises while it is imported:
its kind, one sentence, a remedy, the user's own frames, all bounded in number and size. Refuses to
guess about environments (the supervisor knows their names) and to raise because a user's exception
does: its ``__str__`` may do anything.
"""

import os
import sys

from runner_shim import imported, plain_data
from runner_shim.nearest import nearest

__all__ = ["LoadFailure", "ask", "from_exception", "near"]

MAX_MESSAGE = 4096
MAX_CODE = 300
MAX_TRACEBACK = 65536
MAX_CAUSES = 10
FIRST_FRAMES = 10  # of a deep recursion the beginning says how it came, the end what happened
LAST_FRAMES = 40


# Until the registry says which there are: it imports this module, which so does not import it.
_adapters = tuple


def ask(adapters):
    """From now on the adapters that ``adapters()`` returns are asked about failures."""
    global _adapters
    _adapters = adapters


class LoadFailure(Exception):
    """The target, or one of its definitions, cannot be loaded; ``as_data`` is what is sent.

    ``kind`` is one of docs/snapshot.md "Load failures", ``message`` one lowercase sentence and
    ``hint`` the remedy. ``exception`` is what user code raised (an exception object), ``file``
    and ``line`` the place at fault.
    """

    def __init__(self, kind, message, hint=None, exception=None, file=None, line=None):
        Exception.__init__(self, message)
        self.kind = kind
        self.message = message
        self.hint = hint
        self.exception = exception
        self.file = file
        self.line = line
        self.not_installed = None
        self.warnings = []
        self._data = None
        self._files = []
        self._missing = []

    def complete(self, before, target, warnings):
        """Add what a reload must wait for: the files that were read, and those that were looked for.

        ``before`` are the names of the modules that were there before the load.
        """
        self.warnings = warnings
        files = [self.file] if self.file else []
        if target.get("kind") == "python_file":
            files.append(target["name"])
        for adapter in _adapters():
            files.extend(adapter.failure_files(target["working_directory"]))
        for error in _chain(self.exception):
            files.extend(frame[0] for frame in _frames(error))
            if isinstance(error, SyntaxError) and isinstance(error.filename, str):
                files.append(error.filename)
        files = imported.source_files(before, [os.path.abspath(name) for name in files])
        self._files = [name for name in files if os.path.exists(name)]
        from runner_shim.loading.looked_for import looked_for

        self._missing = looked_for(self.kind, _chain(self.exception), target)

    def as_data(self):
        """The failure as docs/snapshot.md has it: plain data."""
        if self._data is None:
            self._data = self._as_data()
        return self._data

    def _as_data(self):
        data = {"kind": self.kind, "message": plain_data.text(self.message, MAX_MESSAGE)}
        if self.hint:
            data["hint"] = plain_data.text(self.hint, MAX_MESSAGE)
        error = self.exception
        if error is not None:
            data["exception"] = _describe(error)
            if self.not_installed:
                data["exception"]["not_installed"] = self.not_installed
            data["frames"] = _frame_data(error)
            data["causes"] = _causes(error)
            data["traceback"] = _traceback(error)
        if self.file:
            data["file"], data["line"] = self.file, self.line or 1
        for key, value in (
            ("files", self._files),
            ("missing", self._missing),
            ("warnings", self.warnings),
        ):
            if value:
                data[key] = value
        return data


def near(name, names):
    """``did you mean X?`` for the nearest of ``names``, else a list of some, else None."""
    names = sorted({each for each in names if isinstance(each, str)})
    meant = nearest(name, names)
    if meant:
        return "did you mean %s?" % meant
    if names:
        shown = ", ".join(names[:10])
        be = "are" if len(names) > 1 else "is"
        return "there %s %s" % (be, shown if len(names) <= 10 else shown + ", …")
    return None


# --- judging


def from_exception(error, target):
    """The LoadFailure for anything that was raised; a LoadFailure is returned as it is.

    ``target`` is the dict given to ``target.load``, or None when a single definition was asked
    for.
    """
    if isinstance(error, LoadFailure):
        return error
    target = target or {}
    for judge in (_judge_definition, _judge_framework, _judge_exit, _judge_syntax, _judge_import):
        failure = judge(error, target)
        if failure is not None:
            break
    else:
        where = _where(error)
        failure = LoadFailure(
            "exception",
            "%s%s" % (_sentence(error), _at(where)),
            exception=error,
            file=where and where[0],
            line=where and where[1],
        )
    if failure.hint is None:
        failure.hint = _hint_of(error)
    error.__traceback__ = _without_our_head(error.__traceback__)
    return failure


def _judge_definition(error, target):
    base = sys.modules.get("runner_shim.definitions.base")
    if base is None or not isinstance(error, base.InvalidDefinitionError):
        return None
    return LoadFailure(
        error.kind,
        error.message,
        hint=error.hint,
        exception=error,
        file=error.file,
        line=error.line,
    )


def _judge_framework(error, target):
    """What a framework itself raises about a definition."""
    for adapter in _adapters():
        verdict = adapter.judge(error)
        if verdict is not None:
            kind, said = verdict
            where = _where(error)
            return LoadFailure(
                kind,
                _first_line(plain_data.text(said, MAX_MESSAGE)) + _at(where),
                exception=error,
                file=where and where[0],
                line=where and where[1],
            )
    return None


def _hint_of(error):
    from runner_shim.loading import standard_library
    from runner_shim.loading.hints import library_hint, unset_variable_hint

    errors = _chain(error)
    found = [unset_variable_hint(errors)]
    found.extend(adapter.hint(one) for adapter in _adapters() for one in errors)
    if isinstance(error, AttributeError):
        found.append(standard_library.hint(_string(error)))
    found.append(library_hint(error))
    return next(filter(None, found), None)


def _judge_exit(error, target):
    if not isinstance(error, SystemExit):
        return None
    where = _where(error)
    code = error.code
    shown = code if isinstance(code, (int, type(None))) else "'%s'" % _string(error)
    return LoadFailure(
        "system_exit",
        "sys.exit(%s) was called while loading%s" % ("" if shown is None else shown, _at(where)),
        hint='put what only a program should do under `if __name__ == "__main__":`',
        exception=error,
        file=where and where[0],
        line=where and where[1],
    )


def _judge_syntax(error, target):
    if isinstance(error, (SyntaxError, ValueError)) and "null bytes" in _string(error):
        return _judge_null_bytes(error, target)
    if not isinstance(error, SyntaxError) or not isinstance(error.filename, str):
        return None
    from runner_shim.loading.hints import syntax_hint

    shown = plain_data.place(error.filename, error.lineno or 1)
    message = "%s in %s line %d: %s" % (
        "indentation error" if isinstance(error, IndentationError) else "syntax error",
        shown[0],
        shown[1],
        _string(error.msg),
    )
    code = _string(error.text or "").rstrip("\n")
    if code.strip():
        stripped = code.lstrip()
        message += "\n    " + stripped[:MAX_CODE]
        column = (error.offset or 0) - 1 - (len(code) - len(stripped))
        if 0 <= column <= len(stripped[:MAX_CODE]):
            message += "\n    " + " " * column + "^"
    return LoadFailure(
        "syntax_error",
        message,
        hint=syntax_hint(code, _string(error.msg)),
        exception=error,
        file=shown[0],
        line=shown[1],
    )


def _judge_null_bytes(error, target):
    """A file that is no source text: Python does not say which one it is."""
    where = _where(error)
    name = target.get("name", "") if target.get("kind") == "python_file" else ""
    file = plain_data.place(name, 1)[0] if name and not where else None
    return LoadFailure(
        "syntax_error",
        "%s is no source text: there are null bytes in it%s"
        % (file or "an imported file", _at(where, "imported by ")),
        hint="save it as UTF-8; editors of Windows may have saved it as UTF-16",
        exception=error,
        file=file or (where and where[0]),
        line=1 if file else where and where[1],
    )


def _judge_import(error, target):
    if not isinstance(error, ImportError):
        return None
    from runner_shim.loading import hints, standard_library

    where = _where(error)
    text = _string(error)
    file, line = where if where else (None, None)
    filename = _last_user_file(error)
    if "attempted relative import" in text and "no known parent package" in text:
        return LoadFailure(
            "relative_import",
            "relative import in %s, which is loaded as a file and so is in no package"
            % (file or "the target"),
            hint=hints.relative_import_hint(filename or target.get("name", "")),
            exception=error,
            file=file,
            line=line,
        )
    name = getattr(error, "name", None)
    if type(error).__name__ == "PackageNotFoundError":  # of a distribution, that may be there
        return LoadFailure(
            "import_error",
            "%s%s" % (_sentence(error), _at(where)),
            hint="its metadata (a .dist-info directory) is not in the environment: reinstall %s"
            % name,
            exception=error,
            file=file,
            line=line,
        )
    if isinstance(error, ModuleNotFoundError) and isinstance(name, str) and name:
        verdict = hints.missing_module(name, filename, bool(where), target)
        failure = LoadFailure(
            verdict.kind,
            verdict.message + _at(where, "imported by "),
            hint=verdict.hint,
            exception=error,
            file=file,
            line=line,
        )
        failure.not_installed = verdict.not_installed
        return failure
    return LoadFailure(
        "import_error",
        _sentence(error) + _at(where),
        hint=hints.import_hint(text, filename) or standard_library.hint(text, name),
        exception=error,
        file=file,
        line=line,
    )


# --- what an exception says


def _string(value):
    try:
        return plain_data.text(str(value), MAX_MESSAGE)
    except Exception:  # a user's __str__
        return "<unprintable %s>" % type(value).__name__


def _type_name(error):
    return type(error).__name__


def _first_line(text):
    """A sentence of what may be many; the exception has them all."""
    first, _, rest = text.strip().partition("\n")
    return first.rstrip() + " …" if rest else first


def _sentence(error):
    text = _first_line(_string(error))
    return "%s: %s" % (_type_name(error), text) if text else _type_name(error)


def _describe(error):
    data = {"type": plain_data.text(plain_data.dotted_name(type(error))), "message": _string(error)}
    name = getattr(error, "name", None)
    if isinstance(error, ImportError) and isinstance(name, str) and name:
        data["module"] = plain_data.text(name)
    if isinstance(error, SystemExit):
        data["code"] = plain_data.plain(error.code)
    return data


def _ours(filename):
    return (
        filename.startswith("<frozen importlib")
        or imported.is_own(filename)
        or filename.endswith((os.sep + "importlib" + os.sep + "__init__.py", "_bootstrap.py"))
    )


def _without_our_head(traceback):
    """The traceback from the first frame on that is not ours or the import system's."""
    first = traceback
    while first is not None and _ours(first.tb_frame.f_code.co_filename):
        first = first.tb_next
    return first if first is not None else traceback


def _frames(error):
    """(file, line, function) from the outermost on, without our frames and the import system's."""
    result = []
    step = getattr(error, "__traceback__", None)
    while step is not None:
        code = step.tb_frame.f_code
        if not _ours(code.co_filename):
            result.append((code.co_filename, step.tb_lineno, code.co_name))
        step = step.tb_next
    return result


def _last_user_file(error):
    """The absolute file of the innermost frame that is the user's, or None."""
    for filename, _line, _function in reversed(_frames(error)):
        if imported.is_user(filename):
            return os.path.abspath(filename)
    return None


def _where(error):
    """(file, line) of the innermost frame that is the user's, or None."""
    for filename, line, _function in reversed(_frames(error)):
        if imported.is_user(filename):
            return tuple(plain_data.place(filename, line))
    return None


def _at(where, verb="at "):
    return " (%s%s line %d)" % (verb, where[0], where[1]) if where else ""


def _frame_data(error):
    linecache = imported.standard("linecache")
    frames = _frames(error)
    if len(frames) > FIRST_FRAMES + LAST_FRAMES:
        left_out = len(frames) - FIRST_FRAMES - LAST_FRAMES
        marker = ("<%d frames left out>" % left_out, 0, "")
        frames = frames[:FIRST_FRAMES] + [marker] + frames[-LAST_FRAMES:]
    if isinstance(error, SyntaxError) and isinstance(error.filename, str):
        frames.append((error.filename, error.lineno or 1, "<module>"))
    result = []
    for filename, line, function in frames:
        place = plain_data.place(filename, line)
        try:
            code = linecache.getline(filename, line).strip() if line else ""
        except Exception:  # undecodable source, a loader of the user's own
            code = ""
        frame = {
            "file": place[0],
            "line": place[1],
            "function": plain_data.text(function, MAX_CODE),
            "user": imported.is_user(filename),
        }
        if code:
            frame["code"] = plain_data.text(code, MAX_CODE)
        result.append(frame)
    return result


def _linked(error):
    """(relation, exception) of what led to ``error``, and of the members of a group."""
    if getattr(error, "__cause__", None) is not None:
        yield "cause", error.__cause__
    elif getattr(error, "__context__", None) is not None and not error.__suppress_context__:
        yield "context", error.__context__
    members = getattr(error, "exceptions", ())
    if isinstance(members, (list, tuple)):
        for member in members[:MAX_CAUSES]:
            if isinstance(member, BaseException):
                yield "member", member


def _walk(error):
    """(relation, exception) of everything ``error`` is linked to, each once, bounded."""
    seen = {id(error)}
    queue = list(_linked(error))
    count = 0
    while queue and count < MAX_CAUSES:
        relation, linked = queue.pop(0)
        if id(linked) in seen:
            continue
        seen.add(id(linked))
        count += 1
        yield relation, linked
        queue.extend(_linked(linked))


def _chain(error):
    if error is None:
        return []
    return [error] + [linked for _relation, linked in _walk(error)]


def _causes(error):
    result = []
    for relation, linked in _walk(error):
        data = {"relation": relation, "frames": _frame_data(linked)}
        data.update(_describe(linked))
        result.append(data)
    return result


def _traceback(error):
    try:
        traceback = imported.standard("traceback")
        # A negative limit keeps the innermost frames.
        lines = traceback.format_exception(type(error), error, error.__traceback__, limit=-500)
        text = "".join(lines)
    except Exception as other:  # formatting asks the user's objects for text
        text = "<the traceback cannot be shown: %s>\n" % type(other).__name__
    if len(text) > MAX_TRACEBACK:
        text = "%s\n… %d characters left out …\n%s" % (
            text[: MAX_TRACEBACK // 4],
            len(text) - MAX_TRACEBACK // 4 - MAX_TRACEBACK // 2,
            text[-(MAX_TRACEBACK // 2) :],
        )
    return plain_data.text(text, MAX_TRACEBACK)
