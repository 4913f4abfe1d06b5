"""What modules do that a fork could answer otherwise: libraries, scenarios, and mixtures of them.

A scenario is the source of a location that notes what it sees in ``seen``. Its working directory has
``FILES``; ``LIBRARIES`` are installed. All of it runs on Python 3.6.
"""

from __future__ import annotations

import io
import random
import textwrap
import zipfile
from pathlib import Path

from loading import write

__all__ = ["EVERYTHING", "LIBRARIES", "NEIGHBOUR", "SCENARIOS", "make_folder", "mixture"]

LIBRARIES = {
    "helpers/__init__.py": "WHOSE = 'installed'\n",
    "helpers/deep.py": "WHOSE = 'installed'\n",
    "more_helpers.py": "WHOSE = 'installed'\n",
    "zipped_helpers.py": "WHOSE = 'installed'\n",
    "found_helpers.py": "WHOSE = 'installed'\n",
    "helpers_user.py": "import helpers\nfrom helpers import deep\nWHOSE = helpers.WHOSE, deep.WHOSE\n",
    "base_library.py": "class Base: pass\n",
    "optional_user.py": """\
        try:
            import speedups
        except ImportError:
            speedups = None
        try:
            import importlib.util
            has_extra = importlib.util.find_spec("extras") is not None
        except ValueError:
            has_extra = True
        """,
    "mode_library.py": "import os\nMODE = os.environ.get('LIBRARY_MODE', 'none')\n",
    "mode_user.py": "import mode_library\nMODE = mode_library.MODE\n",
    "all_modes_library.py": "import os\nMODES = sorted(k for k in os.environ if k.startswith('LIBRARY_'))\n",
    "setting_library.py": """\
        import logging, os, sys, warnings
        os.environ["LIBRARY_SET"] = "by the library"
        os.environ.setdefault("LIBRARY_MODE", "set by default")
        warnings.filterwarnings("ignore", message="of the library")
        sys.setrecursionlimit(1357)
        """,
    "ini_library.py": """\
        import os
        TEXT = None
        if os.path.exists("library.ini"):
            with open("library.ini") as file:
                TEXT = file.read()
        """,
    "place_reader.py": "import os\nHERE = os.getcwd()\nBELOW = os.path.abspath('below')\n",
    "plugins_library.py": """\
        import os, sys
        NAMES = sorted(
            name for entry in sys.path if os.path.isdir(entry)
            for name in os.listdir(entry) if name.startswith("acme_plugin")
        )
        """,
    "version_library.py": """\
        try:
            from importlib import metadata
        except ImportError:
            metadata = None

        def version(name):
            try:
                return metadata.version(name) if metadata else "none"
            except metadata.PackageNotFoundError:
                return "not found"

        VERSION = version("acme-plugin")
        """,
    "lock_library.py": "import multiprocessing\nlock = multiprocessing.Lock()\n",
    "memory_library.py": "import mmap\nshared = mmap.mmap(-1, 4096)\n",
    "child_handler_library.py": """\
        import os, signal
        caught = []
        def on_child(number, frame):
            caught.append(number)
        signal.signal(signal.SIGCHLD, on_child)
        """,
    "hook_library.py": """\
        import sys
        class Importer(object):
            def find_spec(self, name, path=None, target=None):
                return None
        sys.meta_path.append(Importer())
        """,
    # As importlib_metadata does: the standard library's finder answers no more.
    "backport_library.py": """\
        import sys
        from importlib.machinery import PathFinder
        try:
            from importlib import metadata
        except ImportError:
            metadata = None
        else:
            class Backport(metadata.DistributionFinder):
                def find_distributions(self, *context):
                    return metadata.MetadataPathFinder.find_distributions(*context)
                def find_spec(self, name, path=None, target=None):
                    return None
            sys.meta_path.append(Backport())
            del PathFinder.find_distributions
        """,
    "acme_helpers-1.2.dist-info/METADATA": "Metadata-Version: 2.1\nName: acme-helpers\nVersion: 1.2\n",
    "exit_library.py": "import atexit\natexit.register(len, '')\n",
    "temporary_library.py": "import tempfile\nfolder = tempfile.TemporaryDirectory()\n",
    "fork_library.py": """\
        import os
        forks = []
        if hasattr(os, "register_at_fork"):
            os.register_at_fork(after_in_child=lambda: forks.append(1))
        """,
    "spread/__init__.py": "from pkgutil import extend_path\n__path__ = extend_path(__path__, __name__)\n",
    "spread/lib.py": "WHOSE = 'installed'\n",
    "space/lib.py": "WHOSE = 'installed'\n",
    "neighbours_only.py": """\
        import base_library, helpers.deep
        class Plugin(object): pass
        """,
    "lazy_library/__init__.py": """\
        import sys
        def __getattr__(name):
            if name == "Lazy":
                from lazy_library.inner import Lazy
                globals()["Lazy"] = Lazy
                return Lazy
            raise AttributeError(name)
        """,
    "lazy_library/inner.py": "class Lazy: pass\n",
    "lazy_user.py": "import sys, lazy_library\nif sys.version_info >= (3, 7):\n    lazy_library.Lazy\n",
    "circle_a.py": "import circle_b\nNAME = 'a'\n",
    "circle_b.py": "import circle_a\nNAME = 'b'\n",
    "replacing_library.py": """\
        import sys
        class Module(type(sys)):
            answer = 42
        sys.modules[__name__] = Module(__name__)
        sys.modules["alias_of_it"] = sys.modules[__name__]
        """,
}

FILES = {
    "vendor/helpers/__init__.py": "WHOSE = 'vendored'\n",
    "vendor/helpers/deep.py": "WHOSE = 'vendored'\n",
    "sites/more_helpers.py": "WHOSE = 'of the site'\n",
    "more/spread/__init__.py": "from pkgutil import extend_path\n__path__ = extend_path(__path__, __name__)\n",
    "more/spread/team.py": "WHOSE = 'team'\n",
    "more/space/team.py": "WHOSE = 'team'\n",
}

# What the location that shares their environment imports: all of it.
EVERYTHING = (
    *("neighbours_only", "helpers.deep", "more_helpers", "zipped_helpers", "found_helpers"),
    *("helpers_user", "optional_user", "mode_library", "mode_user", "all_modes_library"),
    *("setting_library", "ini_library", "place_reader", "plugins_library", "version_library"),
    *("backport_library", "lock_library", "memory_library", "child_handler_library"),
    *("hook_library",),
    *("exit_library", "temporary_library", "fork_library", "spread.lib", "space.lib"),
    *("lazy_user", "circle_a", "replacing_library", "asyncio", "decimal", "multiprocessing"),
    *("tabnanny", "fractions"),
)
NEIGHBOUR = "\n".join(f"import {name}" for name in EVERYTHING)

# name -> (what the location does, the names of files of its working directory: their texts)
SCENARIOS: dict[str, tuple[str, dict[str, str]]] = {
    "insert_and_pop": (
        """\
        sys.path.insert(0, "vendor")
        import helpers
        sys.path.pop(0)
        import helpers_user
        seen.append([helpers.WHOSE, helpers_user.WHOSE])
        """,
        {},
    ),
    "inserted": (
        """\
        sys.path.insert(0, os.path.abspath("vendor"))
        import helpers_user
        seen.append(helpers_user.WHOSE)
        """,
        {},
    ),
    "inserted_too_late": (
        """\
        import helpers
        sys.path.insert(0, os.path.abspath("vendor"))
        import helpers_user
        seen.append(helpers_user.WHOSE)
        """,
        {},
    ),
    "site": (
        """\
        import site
        site.addsitedir(os.path.abspath("sites"))
        sys.path.insert(0, sys.path.pop())
        import more_helpers
        seen.append(more_helpers.WHOSE)
        """,
        {},
    ),
    "finder": (
        """\
        import importlib.machinery, importlib.util
        class Finder(object):
            def find_spec(self, name, path=None, target=None):
                if name == "found_helpers":
                    return importlib.util.spec_from_loader(name, self)
            def create_module(self, spec):
                return None
            def exec_module(self, module):
                module.WHOSE = "of the finder"
        sys.meta_path.insert(0, Finder())
        import found_helpers
        seen.append(found_helpers.WHOSE)
        del sys.meta_path[0]
        import helpers
        seen.append(helpers.WHOSE)
        """,
        {},
    ),
    "zip": (
        """\
        sys.path.insert(0, "bundle.zip")
        import zipped_helpers
        sys.path.remove("bundle.zip")
        seen.append(zipped_helpers.WHOSE)
        """,
        {},
    ),
    "stub": (
        """\
        sys.modules["helpers"] = stub = type(sys)("helpers")
        stub.WHOSE = stub.deep = "a stub"
        try:
            import helpers_user
            seen.append(str(helpers_user.WHOSE))
        except Exception as error:
            seen.append(str(error))
        """,
        {},
    ),
    "optional": (
        """\
        import optional_user
        seen.append([optional_user.speedups is not None, optional_user.has_extra])
        """,
        {"speedups.py": "", "extras.py": ""},
    ),
    "late_variable": (
        """\
        os.environ["LIBRARY_MODE"] = "late"
        import mode_user
        seen.append(mode_user.MODE)
        """,
        {},
    ),
    "all_variables": (
        """\
        os.environ["LIBRARY_LATE"] = "late"
        import all_modes_library
        seen.append(all_modes_library.MODES)
        """,
        {},
    ),
    "set_by_a_library": (
        """\
        import warnings
        def look():
            seen.append([os.environ.get("LIBRARY_SET"), os.environ.get("LIBRARY_MODE")])
            seen.append([repr(one) for one in warnings.filters])
            seen.append(sys.getrecursionlimit())
        look()
        import setting_library
        look()
        import mode_library
        seen.append(mode_library.MODE)
        """,
        {},
    ),
    "working_directory": (
        """\
        import ini_library, place_reader
        seen.append([ini_library.TEXT, place_reader.HERE, place_reader.BELOW])
        """,
        {"library.ini": "mine"},
    ),
    "plugins": (
        """\
        import plugins_library
        seen.append(plugins_library.NAMES)
        """,
        {"acme_plugin.egg-info/PKG-INFO": "Name: acme-plugin\nVersion: 3.5\n"},
    ),
    "distributions": (
        """\
        import version_library
        seen.append(version_library.VERSION)
        """,
        {"acme_plugin-3.5.dist-info/METADATA": "Name: acme-plugin\nVersion: 3.5\n"},
    ),
    "metadata": (
        """\
        import version_library
        from importlib.machinery import PathFinder
        seen.append(version_library.version("acme-helpers"))
        seen.append(hasattr(PathFinder, "find_distributions"))
        import backport_library
        seen.append(version_library.version("acme-helpers"))
        seen.append(hasattr(PathFinder, "find_distributions"))
        """,
        {},
    ),
    "modules_of_neighbours": (
        """\
        names = ("neighbours_only", "helpers", "helpers.deep", "asyncio", "decimal", "pytest")
        seen.append([name in sys.modules for name in names])
        seen.append(sorted(name for name in sys.modules if not name.startswith("runner_shim")))
        import helpers
        seen.append([hasattr(helpers, "deep"), "helpers.deep" in sys.modules])
        import helpers.deep as deep
        seen.append([helpers.deep is deep, deep.WHOSE])
        seen.append(sorted(name for name in sys.modules if not name.startswith("runner_shim")))
        """,
        {},
    ),
    "standard_modules": (
        """\
        import asyncio, decimal, logging
        seen.append(sorted(name for name in sys.modules if not name.startswith("runner_shim")))
        seen.append(str(decimal.Decimal(1) / 3))
        """,
        {},
    ),
    "shadowed_standard_module": (
        """\
        import tabnanny
        seen.append(getattr(tabnanny, "WHOSE", "the standard library's"))
        import fractions
        seen.append(str(fractions.Fraction(1, 3)))
        """,
        {"tabnanny.py": "WHOSE = 'team'\n"},
    ),
    "own_of_a_preloaded_name": (
        """\
        import helpers
        seen.append(helpers.WHOSE)
        """,
        {"helpers.py": "WHOSE = 'team'\n"},
    ),
    "lock": (
        """\
        import lock_library
        seen.append(lock_library.lock.acquire(timeout=0.2))
        """,
        {},
    ),
    "memory": (
        """\
        import memory_library
        memory_library.shared[0] += 1
        seen.append(memory_library.shared[0])
        """,
        {},
    ),
    "children": (
        """\
        import signal, subprocess
        def handler():
            found = signal.getsignal(signal.SIGCHLD)
            return getattr(found, "__name__", str(found))
        seen.append(handler())
        seen.append(subprocess.call([sys.executable, "-c", "raise SystemExit(3)"]))
        import child_handler_library
        seen.append([handler(), child_handler_library.caught])
        """,
        {},
    ),
    "start_method": (
        """\
        import multiprocessing
        seen.append(multiprocessing.get_start_method(allow_none=True))
        multiprocessing.set_start_method("spawn")
        """,
        {},
    ),
    "spread": (
        """\
        sys.path.append(os.path.abspath("more"))
        import spread.team, spread.lib
        seen.append([spread.team.WHOSE, spread.lib.WHOSE])
        """,
        {},
    ),
    "space": (
        """\
        sys.path.append(os.path.abspath("more"))
        import space.team, space.lib
        seen.append([space.team.WHOSE, space.lib.WHOSE])
        """,
        {},
    ),
    "hooks": (
        """\
        def finders():
            return [getattr(one, "__name__", type(one).__name__) for one in sys.meta_path]
        seen.append(finders())
        import hook_library
        seen.append(finders())
        """,
        {},
    ),
    "registrations": (
        """\
        import atexit
        seen.append(atexit._ncallbacks())
        import exit_library, fork_library
        seen.append(atexit._ncallbacks())
        seen.append(len(fork_library.forks))
        pid = os.fork()
        if pid == 0:
            os._exit(len(fork_library.forks))
        seen.append(os.waitpid(pid, 0)[1])
        """,
        {},
    ),
    "reload_and_specs": (
        """\
        import importlib, importlib.util, pkgutil
        spec = importlib.util.find_spec("helpers")
        seen.append([spec.origin, type(spec.loader).__name__, spec.name])
        import helpers
        seen.append([helpers.__spec__.origin, type(helpers.__loader__).__name__, helpers.__file__])
        helpers.WHOSE = "changed"
        seen.append(importlib.reload(helpers).WHOSE)
        seen.append(sorted(one[1] for one in pkgutil.iter_modules(helpers.__path__)))
        seen.append(pkgutil.get_data("helpers", "deep.py").decode())
        del sys.modules["helpers"]
        import helpers as again
        seen.append([again is helpers, again.WHOSE])
        """,
        {},
    ),
    "peculiar": (
        """\
        import circle_a, circle_b, replacing_library, lazy_library
        seen.append([circle_a.NAME, circle_b.NAME, circle_a.circle_b is circle_b])
        seen.append([replacing_library.answer, "alias_of_it" in sys.modules])
        seen.append(["Lazy" in vars(lazy_library), "lazy_library.inner" in sys.modules])
        import lazy_user
        seen.append(["Lazy" in vars(lazy_library), "lazy_library.inner" in sys.modules])
        """,
        {},
    ),
}

_HEAD = "import json, os, sys\nseen = []\n"
_TAIL = """\
from runner_shim import job

@job(description=json.dumps(seen))
def observed():
    pass
"""


def _source(text: str) -> str:
    """The whole location that does ``text``."""
    return _HEAD + textwrap.dedent(text) + _TAIL


def make_folder(folder: Path, name: str, text: str, files: dict[str, str]) -> None:
    """A working directory ``name`` below ``folder`` with the location in ``defs.py``."""
    write(folder / name, {**FILES, **files, "defs.py": _source(text)})
    content = io.BytesIO()
    with zipfile.ZipFile(content, "w") as archive:
        archive.writestr("zipped_helpers.py", "WHOSE = 'zipped'\n")
    (folder / name / "bundle.zip").write_bytes(content.getvalue())


def mixture(seed: int) -> tuple[str, dict[str, str]]:
    """A location that does several of the things above, chosen and ordered by ``seed``."""
    chance = random.Random(seed)
    left_alone = {"start_method", "stub"}  # what no other can follow, or what others undo
    names = chance.sample(sorted(SCENARIOS.keys() - left_alone), chance.randint(2, 5))
    text, files = "", {}
    for name in names:
        lines, more = SCENARIOS[name]
        files.update({path: one for path, one in more.items() if chance.random() < 0.8})
        # Each on its own feet: what one has changed may be too much for the next.
        body = textwrap.indent(textwrap.dedent(lines), "    ")
        text += f"try:\n{body}except Exception as error:\n    seen.append(str(error))\n"
    return text, files
