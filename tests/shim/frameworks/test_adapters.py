"""Every registered adapter holds to the contract (``runner_shim/frameworks/adapter.py``).

With its framework, each is held to it by its samples in ``tests/programs/adapters/``: ours here, the
others where they are installed (tests/real/test_adapters.py).
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
import textwrap
from pathlib import Path
from typing import Any

import pytest
from loading import every_interpreter, write
from places import PROGRAMS, ROOT

from runner_shim.frameworks import registry


def held(python: str, *arguments: str, hash_seed: str = "0") -> Any:
    """What the program found; it fails with the place where an adapter does not hold."""
    done = subprocess.run(
        [python, str(PROGRAMS / "hold_to_contract.py"), str(ROOT), *arguments],
        capture_output=True,
        text=True,
        timeout=100,
        env={**os.environ, "PYTHONHASHSEED": hash_seed},
        check=False,
    )
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout.splitlines()[-1])


@pytest.mark.slow
@pytest.mark.parametrize("python", every_interpreter())
def test_each_adapter_is_declared_and_leaves_an_absent_framework_alone(python: str) -> None:
    assert held(python) == [entry.adapter().name for entry in registry.entries()]


@pytest.mark.slow
@pytest.mark.parametrize("python", every_interpreter())
def test_our_own_adapter_holds_to_the_contract(python: str) -> None:
    found = held(python, "native", hash_seed="0")
    assert found == held(sys.executable, "native", hash_seed="1")
    assert sorted(found["found"]) == ["job:nightly", "job:weekly", "schedule:daily"]


def test_each_adapter_has_samples() -> None:
    for entry in registry.entries():
        folder = PROGRAMS / "adapters" / entry.adapter().name
        assert (folder / "sample.py").exists(), folder
        assert (folder / "wrong.py").exists(), folder


# --- one that is added later, and has to be there before its framework

ACME = {
    "acme.py": """\
        # Keeps what is defined while a module is known to be loading, as some do.
        current = None
        kept = []

        def flow(function):
            if current is not None:
                kept.append((current, function.__name__))
            return function
        """,
    "acme_adapter.py": """\
        import os
        import sys

        from runner_shim.frameworks.adapter import Adapter
        from runner_shim.loading.autoload import speaks_of
        from runner_shim.plain_data import definition


        class Acme(Adapter):
            \"\"\"A framework of a team's own.\"\"\"

            name = "acme"

            def before_import(self, target):
                os.environ["ACME_HOME"] = "/nowhere"
                if speaks_of([target["name"]], "acme"):
                    import acme

                    acme.current = target["name"]

            def loaded(self):
                return "acme" in sys.modules

            def version(self):
                return "1"

            def discover(self, members, module_name, warn):
                return list(sys.modules["acme"].kept) or None

            def from_attribute(self, value, name, module_name, warn):
                return None

            def collect(self, roots, warn):
                return [], [definition("job", name) for _module, name in roots], {}

            def describe(self, roots, kind, name, repository=None):
                return None
        """,
    "uses_it.py": """\
        import acme

        acme.flow(lambda: None)

        @acme.flow
        def nightly():
            pass
        """,
    "does_not.py": """\
        from runner_shim import job

        @job
        def weekly():
            pass
        """,
}
LOAD = textwrap.dedent("""\
    import json, os, sys

    root, folder = sys.argv[1:]
    sys.path[:1] = [root, folder]
    from runner_shim.frameworks import registry
    from runner_shim.loading import target

    sys.path.remove(root)
    registry.add(registry.Entry("acme", "acme_adapter:Acme", ["before_import"]))
    found = []
    for name in ("does_not.py", "uses_it.py"):
        loaded = target.load({
            "kind": "python_file",
            "name": os.path.join(folder, name),
            "attribute": None,
            "working_directory": folder,
        })
        names = [one["name"] for one in loaded.document["definitions"]]
        frameworks = [one["name"] for one in loaded.report["frameworks"]]
        found.append([names, frameworks, "acme" in sys.modules, os.environ["ACME_HOME"]])
    print(json.dumps(found))
    """)


@pytest.mark.parametrize("python", every_interpreter())
def test_a_framework_that_is_added_is_asked_before_the_import(python: str, tmp_path: Path) -> None:
    write(tmp_path, ACME)
    done = subprocess.run(
        [python, "-c", LOAD, str(ROOT), str(tmp_path)],
        capture_output=True,
        text=True,
        timeout=100,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    assert json.loads(done.stdout) == [
        [["weekly"], ["native"], False, "/nowhere"],
        [["<lambda>", "nightly"], ["acme"], True, "/nowhere"],
    ]
