"""A shell with one job, argv[1:]: Ctrl-Z stops it, and a line that is typed then continues it."""

import os
import signal
import sys

signal.signal(signal.SIGTTOU, signal.SIG_IGN)
job = os.fork()
if job == 0:
    os.setpgid(0, 0)
    os.tcsetpgrp(0, os.getpid())
    signal.signal(signal.SIGTTOU, signal.SIG_DFL)
    os.execv(sys.argv[1], sys.argv[1:])
while True:
    _, status = os.waitpid(job, os.WUNTRACED)
    if not os.WIFSTOPPED(status):
        break
    os.tcsetpgrp(0, os.getpgrp())
    print(f"[stopped by {signal.Signals(os.WSTOPSIG(status)).name}]", flush=True)
    sys.stdin.readline()
    print("[continued]", flush=True)
    os.tcsetpgrp(0, job)
    os.killpg(job, signal.SIGCONT)
print(f"[ended with {os.waitstatus_to_exitcode(status)}]", flush=True)
