"""A stand-in for the webserver: says what it was started with, and its workspace file, over HTTP."""

import json
import os
import sys
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

from dagster._core.workspace.context import WorkspaceProcessContext

arguments = dict(zip(sys.argv[1::2], sys.argv[2::2], strict=True))
home = Path(os.environ["DAGSTER_HOME"])
instance = home / "dagster.yaml"
if instance.exists() and "broken" in instance.read_text():
    print("Traceback (most recent call last):\n  somewhere", file=sys.stderr)
    print("dagster.DagsterInvalidConfigError: Errors whilst loading dagster.yaml", file=sys.stderr)
    sys.exit(1)
workspace = WorkspaceProcessContext(arguments["--workspace"])


class Handler(BaseHTTPRequestHandler):
    def do_GET(self) -> None:
        about = {
            "pid": os.getpid(),
            "workspace": workspace.text,
            "home": str(home),
            "directory": os.getcwd(),  # noqa: PTH109
            "environ": dict(os.environ),
        }
        self.send_response(200 if self.path in ("/server_info", "/about") else 404)
        self.end_headers()
        self.wfile.write(json.dumps(about).encode())

    def log_message(self, *arguments: object) -> None:
        pass


print("\x1b[32m2026 - dagster-webserver - \x1b[34mINFO\x1b[0m - serving", flush=True)
ThreadingHTTPServer((arguments["--host"], int(arguments["--port"])), Handler).serve_forever()
