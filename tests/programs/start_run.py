"""Loads a target as a shim does and forks runs of it: one for each line of standard input.

A line is a JSON object ``{"order", "directory", "monitor", "environ", "tokens"}``; the answer is a line
of JSON: what ``birth.start`` returned. The first argument is the checkout, the second a target.
"""

import json
import os
import sys
from os import dup2


def main():
    sys.path.insert(0, sys.argv[1])
    from runner_shim.loading import target
    from runner_shim.process import birth, run

    sys.path.remove(sys.argv[1])
    null = os.open(os.devnull, os.O_RDONLY)
    loaded = target.load(json.loads(sys.argv[2]))
    print(json.dumps("loaded"), flush=True)
    for line in sys.stdin.buffer:
        request = json.loads(line.decode())

        def become(ends, request=request):
            dup2(null, 0)
            run.become(ends, request, lambda: loaded)

        print(json.dumps(birth.start(request, set(), become)), flush=True)


main()
