"""What to do about a failed import, told from the files that are there.

Owns the sentences that need a look around: which module was probably meant, which target and
working directory make a relative import work, which Python version a piece of syntax needs. Is
imported only once something failed. Judges; raises nothing.
"""

import os
import sys

from runner_shim import imported, plain_data
from runner_shim.loading import standard_library
from runner_shim.nearest import nearest, slip

__all__ = [
    "Verdict",
    "import_hint",
    "library_hint",
    "missing_module",
    "relative_import_hint",
    "syntax_hint",
    "unset_variable_hint",
]


MAX_ABOVE = 5  # directories in which the package of a file may lie
MAX_TEXT = 4096  # of an exception, in which a variable is looked for
OWN = "runner_shim"  # which the native definitions are imported from


class Verdict:
    """What a ModuleNotFoundError means: ``kind``, ``message``, ``hint``, and ``not_installed``,
    the top-level name when the environment lacks it."""

    def __init__(self, kind, message, hint=None, not_installed=None):
        self.kind = kind
        self.message = message
        self.hint = hint
        self.not_installed = not_installed


def missing_module(name, filename, from_user_code, target):
    """Why ``name`` was not found.

    ``filename`` is the absolute path of the file that imports it; ``from_user_code`` is False
    when the import system itself looked for the target.
    """
    wanted = target.get("name", "") if target.get("kind") != "python_file" else ""
    if not from_user_code and (wanted == name or wanted.startswith(name + ".")):
        return _missing_target(name, wanted, target)
    parent, _, last = name.rpartition(".")
    if parent:
        package = sys.modules.get(parent)
        paths = list(getattr(package, "__path__", ()))
        if package is not None and not paths:
            return Verdict("import_error", "%s is a module, not a package: no %s" % (parent, name))
        hint = _near(last, _modules_in(paths))
        if not any(imported.is_user_directory(path) for path in paths):
            hint = hint or _of_another(parent, name, package)
        return Verdict("import_error", "module %s does not exist" % name, hint)
    if name != OWN and nearest(name, [OWN]):  # nothing that could be installed
        return Verdict("import_error", "module %s does not exist" % name, "did you mean %s?" % OWN)
    lacking = standard_library.lacking_module(name)
    if lacking is not None:
        return Verdict("import_error", *lacking)
    holder = _holder(name, os.path.dirname(filename) if filename else "")
    if holder:
        return Verdict(
            "import_error",
            "module %s is not on the path, although %s is there"
            % (name, plain_data.place(_module_at(holder, name), 1)[0]),
            hint=_set_directory(holder),
        )
    hint = _near(name, _modules_in(imported.user_directories()))
    if hint is None:
        entries = [each for each in sys.path if isinstance(each, str) and each]
        installed = [each for each in entries if not imported.is_user_directory(each)]
        meant = sorted(each for each in _modules_in(installed) if slip(name, each))
        hint = "did you mean %s?" % meant[0] if meant else None
    return Verdict("import_error", "%s is not installed" % name, hint, not_installed=name)


def _of_another(parent, name, package):
    """What has ``name``, which the installed ``parent`` has not."""
    top = parent.partition(".")[0]
    if getattr(package, "__file__", None) is None:  # a namespace
        return "several distributions have a part of %s: install the one that has %s" % (
            parent,
            name,
        )
    return "another version of %s may have it" % top


def _holder(name, directory):
    """Where the module ``name`` lies among the team's own: beside a file in ``directory``, above it as its own
    package does, or in the ``src`` of one of these; else None."""
    for _ in range(MAX_ABOVE):
        if not directory or not imported.is_user_directory(directory):
            break
        for place in (directory, os.path.join(directory, "src")):
            if place not in sys.path and _module_at(place, name):
                return place
        above = os.path.dirname(directory)
        if above == directory:
            break
        directory = above
    return None


def _set_directory(place):
    if os.path.basename(place) == "src":
        return (
            "set working_directory to %s, or install the project into the environment "
            "(`requirements: [-e %s]`)" % (place, os.path.dirname(place))
        )
    return "set working_directory to %s" % place


def _missing_target(name, wanted, target):
    directory = target.get("working_directory", "")
    if "/" in wanted or wanted.endswith(".py"):
        return Verdict(
            "missing_module",
            "module %s does not exist: that is the name of a file" % wanted,
            "use python_file",
        )
    parent, _, last = name.rpartition(".")
    if parent in sys.modules:
        paths = list(getattr(sys.modules[parent], "__path__", ()))
        hint = _near(last, _modules_in(paths), parent + ".")
        if hint is None:
            hint = "%s is there, and has no %s" % (parent, last)
            if not paths:
                hint = "%s is one module, and no package: name %s itself" % (parent, parent)
    else:
        holder = _holder(name, directory)
        hint = _set_directory(holder) if holder else _near(name, _modules_in([directory]))
    if hint is None:
        hint = "working_directory is %s; set it to the directory that holds %s" % (
            directory,
            wanted.split(".")[0],
        )
    return Verdict("missing_module", "module %s does not exist" % name, hint)


def _near(name, names, prefix=""):
    meant = nearest(name, names)
    return "did you mean %s%s?" % (prefix, meant) if meant else None


def _module_at(directory, name):
    """The path of a module of that name in the directory, or None."""
    for path in (
        os.path.join(directory, name + ".py"),
        os.path.join(directory, name, "__init__.py"),
    ):
        if os.path.isfile(path):
            return path
    return None


def _modules_in(directories):
    """Names of what could be imported from the directories; at most 2000."""
    names = set()
    for directory in directories:
        try:
            entries = os.listdir(directory)[:2000]
        except OSError:
            continue
        for entry in entries:
            stem, ending = os.path.splitext(entry)
            if not stem.isidentifier():
                continue
            if ending in (".py", ".so") or (
                not ending and os.path.isdir(os.path.join(directory, entry))
            ):
                names.add(stem)
    return names - {"__init__", "__pycache__", "__main__"}


def relative_import_hint(filename):
    """The module target and working directory under which the file is part of its package."""
    if not filename:
        return "load it with python_module"
    directory, base = os.path.split(os.path.abspath(filename))
    stem = os.path.splitext(base)[0]
    parts = [] if stem == "__init__" else [stem]
    # Without an __init__.py the file's own directory is taken for the package.
    while not parts[1:] or os.path.isfile(os.path.join(directory, "__init__.py")):
        directory, package = os.path.split(directory)
        if not package:
            break
        parts.insert(0, package)
    return "load it with python_module: %s and working_directory: %s" % (".".join(parts), directory)


# Shared libraries that wheels leave to the operating system, and the packages of Debian that have them.
_SHARED = {
    "libGL": "libgl1",
    "libgdal": "libgdal-dev",
    "libgomp": "libgomp1",
    "libmariadb": "libmariadb3",
    "libmysqlclient": "libmysqlclient21",
    "libodbc": "unixodbc",
    "libpq": "libpq5",
}


def _shared_library_hint(text):
    match = imported.standard("re").match(r"(\S+\.so[\d.]*): cannot open shared object file", text)
    if not match:
        return None
    library = match.group(1)
    package = _SHARED.get(library.split(".so")[0].split("-")[0])
    return "%s is a library of the operating system, not of Python: install it%s" % (
        library,
        " (on Debian: apt install %s)" % package if package else ", or a wheel that brings it",
    )


def import_hint(text, filename):
    """A remedy for an ImportError that is not about a missing module, or None."""
    shared = _shared_library_hint(text)
    if shared:
        return shared
    if "partially initialized module" in text or "most likely due to a circular import" in text:
        return "two modules import each other: import one of them inside the function that needs it"
    if "cannot import name" in text and "(unknown location)" in text:
        return _namespace_hint(text.split("'")[3])
    if "cannot import name" in text and filename:
        stem = os.path.splitext(os.path.basename(filename))[0]
        if "from '%s'" % stem in text:
            return "%s.py imports itself: rename it if it hides a library" % stem
    match = imported.standard("re").match(r"cannot import name '(\w+)' from '([\w.]+)'", text)
    return _name_hint(match.group(1), match.group(2)) if match else None


def _name_hint(name, module):
    """Which name of the module was meant, or None."""
    contents = getattr(sys.modules.get(module), "__dict__", {})
    names = {each for each in list(contents) if isinstance(each, str) and not each.startswith("_")}
    return _near(name, names | _modules_in(list(contents.get("__path__", ()))))


def library_hint(error):
    """A remedy where a library fails while it is imported, over a name that another has not; else None."""
    if not isinstance(error, (AttributeError, ImportError, TypeError)):
        return None
    step, importing, told = error.__traceback__, None, False
    while step is not None:
        code = step.tb_frame.f_code
        if imported.is_user(code.co_filename):
            importing, told = None, True
        elif told and importing is None and not code.co_filename.startswith("<frozen"):
            if code.co_name != "<module>":
                return None  # it is called, not imported
            importing = str(step.tb_frame.f_globals.get("__name__", "")).partition(".")[0]
        step = step.tb_next
    if not importing or importing in getattr(sys, "stdlib_module_names", ()):
        return None
    return (
        "%s cannot be imported with the releases of other libraries that are installed beside it: pin those "
        "that it was made with, or take a newer %s" % (importing, importing)
    )


def _namespace_hint(name):
    """What to do where a directory was taken for the package of that name, which has no __init__.py."""
    for path in list(getattr(sys.modules.get(name), "__path__", ())):
        if not isinstance(path, str) or not os.path.isdir(path):
            continue
        shown = os.path.relpath(path) if imported.is_user_directory(path) else path
        declared = [
            one for one in ("pyproject.toml", "setup.py") if os.path.isfile(os.path.join(path, one))
        ]
        if declared:
            return (
                "%s is the directory %s here, a project that is not installed: install it into the "
                "environment (`requirements: [./%s]`)" % (name, shown, shown)
            )
        return "%s is the directory %s here, which has no __init__.py" % (name, shown)
    return None


_VARIABLE = r"(?i:\benv(?:ironment)?[ _-]?var(?:iable)?s?\b)"
_TAKEN = r"(?:getenv|environ\.get|EnvVar)\(\s*[\"']([^\"']+)[\"']\s*\)"
_NAME = r"\b([A-Z][A-Z0-9_]{2,})\b"


def unset_variable_hint(errors):
    """A remedy for a KeyError out of ``os.environ`` among the errors, or for one whose text speaks of a
    variable that is not set; None without any."""
    kind = type(os.environ)
    getters = (kind.__getitem__.__code__, kind.__delitem__.__code__)
    for error in errors:
        step = error.__traceback__ if isinstance(error, KeyError) else None
        while step is not None and step.tb_next is not None:
            step = step.tb_next
        if step is not None and step.tb_frame.f_code in getters:
            name = error.args[0] if error.args else ""
            name = os.fsdecode(name) if isinstance(name, bytes) else str(name)
            return _set_it(name)
    for error in errors:
        name = _variable_in(error) or _variable_of_line(error)
        if name is not None:
            return _set_it(name)
    return None


def _set_it(name):
    return (
        "the environment variable %s is not set: set it in the location's env or env_file, "
        "or in a .env beside the workspace" % plain_data.text(name, 300)
    )


def _variable_in(error):
    """The variable that an exception misses by its own words, or None."""
    try:
        text = str(error)[:MAX_TEXT]
    except Exception:  # a user's __str__
        return None
    re = imported.standard("re")
    for pattern in (
        _VARIABLE + r"\W+(?:\w+\W+){0,4}?" + _NAME,
        _NAME + r"\W+(?:\w+\W+)?" + _VARIABLE,
    ):
        for match in re.finditer(pattern, text):
            if match.group(1) not in os.environ:
                return match.group(1)
    return None


def _variable_of_line(error):
    """The variable that the failing line took without having it, where that has led to a None; or None."""
    if (
        not isinstance(error, (AttributeError, TypeError))
        or "NoneType" not in str(error)[:MAX_TEXT]
    ):
        return None
    step = error.__traceback__
    while step is not None and step.tb_next is not None:
        step = step.tb_next
    if step is None or not imported.is_user(step.tb_frame.f_code.co_filename):
        return None
    line = imported.standard("linecache").getline(step.tb_frame.f_code.co_filename, step.tb_lineno)
    match = imported.standard("re").search(_TAKEN, line)
    return match.group(1) if match and match.group(1) not in os.environ else None


# (what the line looks like, the Python that has it, what it is called)
_SYNTAX = (
    (r"^\s*(match|case)\b[^=]*:\s*(#.*)?$", (3, 10), "the match statement"),
    (r"^\s*except\s*\*", (3, 11), "except*"),
    (r"^\s*type\s+\w+(\[.*\])?\s*=", (3, 12), "the type statement"),
    (r"^\s*(async\s+)?(def|class)\s+\w+\s*\[", (3, 12), "type parameter syntax"),
    (r"\bt(\"|')", (3, 14), "t-strings"),
    (r":=", (3, 8), "assignment expressions (:=)"),
    (r"\bf(\"|').*\{[^{}]*=\}", (3, 8), "f-strings with ="),
    (r"^\s*(async\s+)?def\s+.*[(,]\s*/\s*[,)]", (3, 8), "positional-only parameters"),
    (r"^\s*(async\s+)?with\s*\(", (3, 9), "parenthesized context managers"),
)


def syntax_hint(line, message):
    """Says so when a line that does not compile needs a newer Python, or an older one."""
    re = imported.standard("re")
    running = "%d.%d" % sys.version_info[:2]
    if "codec can't decode" in message or "Non-UTF-8 code" in message:
        return "save the file as UTF-8, or name its encoding in its first line (# coding: latin-1)"
    if "future feature annotations is not defined" in message:
        return "`from __future__ import annotations` needs python 3.7, this is python %s" % running
    if "Missing parentheses in call to 'print'" in message or re.match(
        r"^\s*(print\s+[\"'\w]|exec\s+\w|raise\s+\w+\s*,|except\s+\w+\s*,\s*\w+\s*:)", line
    ):
        return "this is python 2 syntax, and this is python %s" % running
    for pattern, version, what in _SYNTAX:
        if sys.version_info[:2] < version and re.search(pattern, line):
            return "%s needs python %d.%d, this is python %s" % ((what,) + version + (running,))
    return None
