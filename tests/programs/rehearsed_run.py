"""What a rehearsed run leaves in a process: ``python rehearsed_run.py ROOT FILE JOB`` prints JSON.

``before`` and ``after`` have the threads, descriptors, variables and signal handlers of the process around
``validate``; ``imported`` the modules, but for ours, that the first real run imports after it.
"""

import contextlib
import json
import os
import signal
import sys

root, file, job = sys.argv[1:]
del sys.path[0]
sys.path.insert(0, root)
from runner_shim import execution  # noqa: E402
from runner_shim.loading import target  # noqa: E402

sys.path.remove(root)
os.environ["DAGSTER_HOME"] = "/the/team's/own"
stdout = os.dup(1)
os.dup2(2, 1)


def state():
    descriptors = []
    for name in os.listdir("/proc/self/fd"):
        with contextlib.suppress(OSError):  # that of the listing itself
            descriptors.append(os.readlink("/proc/self/fd/" + name))
    handlers = [str(signal.getsignal(number)) for number in (signal.SIGINT, signal.SIGTERM)]
    threads = len(os.listdir("/proc/self/task"))
    return [threads, sorted(descriptors), sorted(os.environ.items()), handlers]


directory = os.path.dirname(file)
loaded = target.load({"kind": "python_file", "name": file, "working_directory": directory})
before = json.dumps(state())
execution.validate(loaded, {"job": job})
after, known = json.dumps(state()), set(sys.modules)
outcome = execution.execute(loaded, {"job": job}, lambda event: None)
new = sorted(name for name in set(sys.modules) - known if not name.startswith("runner_shim."))
answer = {"before": before, "after": after, "imported": new, "outcome": outcome}
os.write(stdout, json.dumps(answer).encode() + b"\n")
