"""What a load's imports took, and that nothing of the timing is seen by the team's code."""

from __future__ import annotations

import json
import subprocess
import textwrap
from typing import Any

import pytest
from loading import ROOT, every_interpreter, write

# Loads defs.py as a shim does, in a directory of the team's.
DRIVER = """
import json, os, sys
sys.path.insert(0, sys.argv[1])
import _frozen_importlib
from runner_shim.loading import target
from runner_shim.loading.load_failure import LoadFailure
before = _frozen_importlib._find_and_load
told = []
quick = lambda name: name == "quick"
try:
    loaded = target.load(
        {"kind": "python_file", "name": os.path.join(os.getcwd(), "defs.py"), "attribute": None,
         "working_directory": os.getcwd()}, told.append, quick)
    answer = {"imports": loaded.report["imports"]}
except LoadFailure as failure:
    answer = failure.as_data()
answer["told"] = told
answer["restored"] = _frozen_importlib._find_and_load is before
print(json.dumps(answer))
"""
JOB = """
from runner_shim import job

@job
def nightly():
    pass
"""
# Busy for a moment that is longer than what is worth a line, whatever the machine does.
BUSY = "import time\nend = time.monotonic() + 0.05\nwhile time.monotonic() < end: pass\n"


def load(directory: Any, files: dict[str, str], python: str) -> dict[str, Any]:
    write(directory, {"driver.py": DRIVER, **files})
    done = subprocess.run(
        [python, "driver.py", str(ROOT)],
        cwd=directory,
        capture_output=True,
        text=True,
        timeout=100,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    answer: dict[str, Any] = json.loads(done.stdout.splitlines()[-1])
    assert answer["restored"]
    return answer


@pytest.mark.parametrize("python", every_interpreter())
def test_what_took_the_time_and_where_it_is_imported(tmp_path, python):
    files = {
        "defs.py": "import outer\nimport quick\nimport outer\n" + JOB,
        "outer.py": "import inner\n" + BUSY,
        "inner.py": BUSY,
        "quick.py": BUSY,
    }
    answer = load(tmp_path, files, python)
    found = {one["name"]: one for one in answer["imports"]}
    assert (found["outer"]["file"], found["outer"]["line"]) == ("defs.py", 1)
    assert (found["inner"]["file"], found["inner"]["line"]) == ("outer.py", 1)
    assert found["outer"]["seconds"] >= found["outer"]["own"] + found["inner"]["seconds"] - 0.001
    assert found["inner"]["own"] >= 0.05
    names = [one["name"] for one in answer["imports"]]
    assert names.index("outer") < names.index("inner")
    told = answer["told"]
    assert told[:4] == ["outer", "inner", "outer", ""]
    assert "quick" not in told
    assert told[-1] == ""


@pytest.mark.parametrize("python", every_interpreter())
def test_tracebacks_and_stacks_show_the_teams_own_frames(tmp_path, python):
    files = {
        "defs.py": "import outer\n",
        "outer.py": """
            import inner
            """,
        "inner.py": """
            import sys, traceback, warnings
            frame, files = sys._getframe(), []
            while frame is not None:
                files.append(frame.f_code.co_filename)
                frame = frame.f_back
            assert not any(name.endswith("import_times.py") for name in files), files
            with warnings.catch_warnings(record=True) as caught:
                warnings.simplefilter("always")
                warnings.warn("old", stacklevel=2)
            assert caught[0].filename.endswith("outer.py"), caught[0].filename
            raise ValueError("on purpose")
            """,
    }
    failure = load(tmp_path, files, python)
    assert failure["exception"]["message"] == "on purpose"
    assert "importlib" not in failure["traceback"]
    assert "import_times" not in failure["traceback"]
    assert [one["file"] for one in failure["frames"] if one["user"]] == [
        "defs.py", "outer.py", "inner.py",
    ]  # fmt: skip


@pytest.mark.parametrize("python", every_interpreter()[-3:])
def test_threads_and_children_that_import_are_left_alone(tmp_path, python):
    files = {
        "defs.py": textwrap.dedent(
            """
            import os, threading
            def work():
                import inner
            thread = threading.Thread(target=work)
            thread.start()
            import other
            thread.join()
            child = os.fork()
            if child == 0:
                import third
                os._exit(7)
            assert os.WEXITSTATUS(os.waitpid(child, 0)[1]) == 7
            """
        )
        + JOB,
        "inner.py": BUSY,
        "other.py": BUSY,
        "third.py": BUSY,
    }
    answer = load(tmp_path, files, python)
    assert "inner" not in answer["told"]
    assert "third" not in answer["told"]
    assert "other" in {one["name"] for one in answer["imports"]}
