"""Runs orders of one target as a run would: ``python run_orders.py ROOT JSON`` prints what happened.

JSON is ``{"target": target, "orders": [order, …], "validate": bool, "forked": bool}``; printed is a list
of ``{"events", "outcome"}`` or ``{"refused": failure, "events"}`` for each order, in this process, or as a
shim does it: checked here and run in a fork. When user code logs ``asleep``, this process's group is sent
SIGINT, as by a monitor. Needs Python 3.6 and nothing else.
"""

import json
import os
import signal
import subprocess
import sys

root, request = sys.argv[1], json.loads(sys.argv[2])
del sys.path[0]
sys.path.insert(0, root)
from runner_shim import execution  # noqa: E402
from runner_shim.loading import target  # noqa: E402
from runner_shim.loading.load_failure import LoadFailure  # noqa: E402

sys.path.remove(root)
stdout, sys.stdout = sys.stdout, sys.stderr  # what user code prints is not the answer


def run(loaded, order):
    events = []
    signal.signal(signal.SIGINT, signal.default_int_handler)  # a run that has ended ignores it

    def emit(event):
        events.append(event)
        if event["type"] == "LOGS" and event["message"] == "asleep":
            subprocess.Popen(["kill", "-INT", "--", f"-{os.getpgrp()}"])

    try:
        if order.get("span"):
            return {"partitions": execution.partition_range(loaded, order, *order["span"])}
        if request.get("validate"):
            return {"refused": execution.validate(loaded, order), "events": events}
        return {"outcome": execution.execute(loaded, order, emit), "events": events}
    except LoadFailure as failure:
        return {"refused": failure.as_data(), "events": events}


def run_forked(loaded, order):
    execution.validate(loaded, order)
    reading, writing = os.pipe()
    pid = os.fork()
    if pid == 0:
        with os.fdopen(writing, "w") as file:
            json.dump(run(loaded, order), file)
        os._exit(0)
    os.close(writing)
    with os.fdopen(reading) as file:
        answer = json.load(file)
    os.waitpid(pid, 0)
    return answer


try:
    loaded = target.load(request["target"])
except LoadFailure as failure:
    answer = {"failure": failure.as_data()}
else:
    how = run_forked if request.get("forked") else run
    answer = {"runs": [how(loaded, order) for order in request["orders"]]}
stdout.write(json.dumps(answer) + "\n")
stdout.flush()
