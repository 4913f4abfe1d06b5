"""Loads a target as a shim does and forks runs of it: one for each line of standard input.

A line is a JSON object ``{"order", "directory", "monitor", "environ", "tokens"}``; the answer is a line
of JSON: what ``birth.start`` returned. The first argument is the checkout, the second a target, the third
what pyzmq and msgpack are imported from where the interpreter has none.
"""

import json
import os
import sys
from os import dup2


def main():
    sys.path.insert(0, sys.argv[1])
    if sys.argv[3:]:
        from runner_shim.process import channel

        channel.import_private(sys.argv[3])
    from runner_shim.loading import target
    from runner_shim.process import birth, run

    sys.path.remove(sys.argv[1])
    null = os.open(os.devnull, os.O_RDONLY)
    read, say, write, lines = json.loads, json.dumps, os.write, sys.stdin.buffer
    loaded = target.load(read(sys.argv[2]))
    sys.stdout.flush()  # as a shim does before it answers: a module may have replaced it
    write(1, say("loaded").encode() + b"\n")
    for line in lines:
        request = read(line.decode())

        def become(ends, request=request):
            dup2(null, 0)
            run.become(ends, request, lambda: loaded)

        write(1, say(birth.start(request, set(), become)).encode() + b"\n")


main()
