"""What user code can see of the process it is imported in, as one JSON text."""

import gc
import json
import locale
import os
import signal
import subprocess
import sys
import threading
import warnings

CHILD = (
    "import os, json\n"
    "found = {}\n"
    "for name in os.listdir('/proc/self/fd'):\n"
    "    try:\n"
    "        found[name] = os.readlink('/proc/self/fd/' + name).split(':')[0]\n"
    "    except OSError:\n"
    "        pass\n"
    "print(json.dumps(found))\n"
)


def look():
    def importable(name):
        try:
            module = __import__(name)
        except ImportError:
            return None
        return getattr(module, "__file__", "built in")

    main = sys.modules["__main__"]
    inherited = subprocess.Popen(
        [sys.executable, "-S", "-c", CHILD], close_fds=False, stdout=subprocess.PIPE
    ).communicate()[0]
    return {
        "zmq": importable("zmq"),
        "msgpack": importable("msgpack"),
        "private": sorted(
            name for name in sys.modules if name.split(".")[0] in ("zmq", "msgpack", "_cmsgpack")
        ),
        "path": sys.path,
        "argv": sys.argv,
        "environ": dict(os.environ),
        "main": sorted(set(vars(main)) - {"__cached__", "__file__"}),
        "main_file": getattr(main, "__file__", None),
        "threads": [one.name for one in threading.enumerate()],
        "frames": len(sys._current_frames()),
        "signals": {
            str(int(number)): str(signal.getsignal(number))
            for number in range(1, 65)
            if number not in (32, 33)
        },
        "mask": sorted(int(one) for one in signal.pthread_sigmask(signal.SIG_BLOCK, [])),
        "meta_path": [str(getattr(one, "__name__", type(one).__name__)) for one in sys.meta_path],
        "importers": sorted(sys.path_importer_cache),
        "filters": [str(one[:3]) for one in warnings.filters],
        "hooks": [sys.excepthook is sys.__excepthook__, sys.displayhook is sys.__displayhook__],
        "profile": [str(sys.getprofile()), str(sys.gettrace())],
        "gc": [gc.isenabled(), list(gc.get_threshold())],
        "recursion": sys.getrecursionlimit(),
        "locale": list(locale.setlocale(locale.LC_ALL, None).split(";")),
        "streams": [sys.stdout.encoding, sys.stderr.encoding, sys.stdout.errors],
        "stdin": os.readlink("/proc/self/fd/0"),
        "inherited": json.loads(inherited.decode()),
        "cwd": os.getcwd(),
        "flags": {
            name: getattr(sys.flags, name)
            for name in ("isolated", "no_site", "ignore_environment", "optimize", "utf8_mode")
            if hasattr(sys.flags, name)
        },
    }


if __name__ == "__main__":
    print(json.dumps(look()))
