"""Loads one target as a shim would and prints the result: ``python load_target.py ROOT JSON``.

ROOT holds the runner_shim package; JSON is a target, with an optional ``describe`` list of
``[kind, name, repository]``. Needs Python 3.6 and nothing else. ROOT leaves ``sys.path`` before
user code runs, as in a shim.
"""

import json
import sys

root, request = sys.argv[1], json.loads(sys.argv[2])
del sys.path[0]
sys.path.insert(0, root)
from runner_shim.loading import target  # noqa: E402
from runner_shim.loading.load_failure import LoadFailure  # noqa: E402

sys.path.remove(root)


def attempt(function, *arguments):
    try:
        return function(*arguments)
    except LoadFailure as failure:
        return {"failure": failure.as_data()}


stdout = sys.stdout
sys.stdout = sys.stderr  # what user code prints is not the answer
asked = request.pop("describe", [])
loaded = attempt(target.load, request)
if isinstance(loaded, dict):
    answer = loaded
else:
    answer = {
        "document": loaded.document,
        "sources": loaded.sources,
        "report": loaded.report,
        "described": [attempt(loaded.describe, *question) for question in asked],
        "path": sys.path[0],
        "argv": sys.argv,
        "main_file": getattr(sys.modules["__main__"], "__file__", None),
    }
stdout.write(json.dumps(answer))
stdout.flush()
