"""Evaluates schedules and sensors of one target: ``python tick_orders.py ROOT JSON`` prints what each says.

JSON is ``{"target": target, "orders": [order, …]}``; printed is a list of ``{"result"}`` or ``{"failure"}``, and
``"plain"`` where no function of the team's is called for it. Needs Python 3.6 and nothing else.
"""

import json
import sys

root, request = sys.argv[1], json.loads(sys.argv[2])
del sys.path[0]
sys.path.insert(0, root)
from runner_shim import execution  # noqa: E402
from runner_shim.loading import target  # noqa: E402
from runner_shim.loading.load_failure import LoadFailure  # noqa: E402

sys.path.remove(root)
stdout, sys.stdout = sys.stdout, sys.stderr  # what user code prints is not the answer


def evaluate(loaded, order):
    try:
        found = {"result": execution.tick(loaded, order)}
    except LoadFailure as failure:
        return {"failure": failure.as_data()}
    return dict(found, plain=loaded.plain_tick(order) is not None)


loaded = target.load(request["target"])
stdout.write(json.dumps([evaluate(loaded, order) for order in request["orders"]]) + "\n")
stdout.flush()
