"""Hands processes of multiprocessing over to another process; prints what became of them as JSON.

Usage: ``python hand_over.py ROOT``. The other process is forked first, with nothing but this module loaded.
"""

import json
import os
import sys
import time

sys.path.insert(0, sys.argv[1])

import _socket  # noqa: E402

from runner_shim.execution import handing  # noqa: E402
from runner_shim.process import ending  # noqa: E402

ours, theirs = _socket.socketpair(_socket.AF_UNIX, _socket.SOCK_SEQPACKET)


def fork_what_comes():
    """Be the process that forks."""
    ours.close()
    ends = {}
    while True:
        message, descriptors = handing.receive(theirs)
        if message is None:
            break
        answers, handed = descriptors[0], descriptors[1:]
        pid = os.fork()
        if pid == 0:
            os.close(answers)
            ending.end(handing.proceed(handed), handed[1])
        one = _socket.socket(fileno=answers)
        handing.send(one, {"pid": pid})
        one.close()
        for each in handed:
            os.close(each)
        ends[pid] = True
    for pid in ends:
        os.waitpid(pid, 0)
    os._exit(0)


def hand(descriptors):
    answers, answered = _socket.socketpair(_socket.AF_UNIX, _socket.SOCK_SEQPACKET)
    handing.send(ours, {"what": "process"}, [answered.fileno()] + descriptors)
    answered.close()
    answer, _none = handing.receive(answers)
    answers.close()
    return answer["pid"]


def work(queue, event, text):
    event.wait(30)
    queue.put([os.getpid(), os.getppid(), len(text)])
    for number in range(100):
        queue.put(number)


def fail():
    sys.exit(7)


def hang():
    time.sleep(1000)


def main():
    forker = os.fork()
    if forker == 0:
        fork_what_comes()
    theirs.close()
    import multiprocessing

    context = handing.Context(multiprocessing.get_context("spawn"), hand)
    queue, event = context.Queue(), context.Event()
    worker = context.Process(target=work, args=(queue, event, "x" * 20000000))
    worker.start()
    alive = worker.is_alive()
    event.set()
    first = queue.get(timeout=30)
    rest = [queue.get(timeout=30) for _ in range(100)]
    worker.join(30)
    failing = context.Process(target=fail)
    failing.start()
    failing.join(30)
    hanging = context.Process(target=hang)
    hanging.start()
    hanging.join(0.05)
    still = hanging.exitcode
    os.kill(hanging.pid, 9)
    hanging.join(30)
    print(
        json.dumps(
            {
                "alive": alive,
                "forked": first[1] == forker and first[0] == worker.pid,
                "length": first[2],
                "rest": rest == list(range(100)),
                "exits": [worker.exitcode, failing.exitcode, still, hanging.exitcode],
            }
        )
    )
    ours.close()
    os.waitpid(forker, 0)


if __name__ == "__main__":
    # The forked process finds it under its own name, as it would find a team's module.
    sys.modules["hand_over"] = sys.modules["__main__"]
    main()
