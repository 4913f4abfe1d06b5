"""Credentials of a package index reach the installer, and never its command line."""

from __future__ import annotations

import base64
import contextlib
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest
from envs_support import private_environ

from envs import EnvError, EnvironmentRequest, EnvironmentStore
from envs.credentials import apart

SECRET = "hunter2-of-the-index"


class Index:
    """Answers every request with 404; ``asked`` is who asked, ``seen`` the command lines meanwhile that say more."""

    def __init__(self) -> None:
        self.asked: set[str] = set()
        self.seen: set[str] = set()
        index = self

        class Handler(BaseHTTPRequestHandler):
            def do_GET(self) -> None:
                index.seen |= {one for one in command_lines() if SECRET in one}
                given = self.headers.get("Authorization", "").removeprefix("Basic ")
                if not given:
                    self.send_response(401)
                    self.send_header("WWW-Authenticate", 'Basic realm="x"')
                else:
                    index.asked.add(base64.b64decode(given).decode())
                    self.send_response(404)
                self.send_header("Content-Length", "0")
                self.end_headers()

            do_HEAD = do_GET

            def log_message(self, *_: object) -> None:
                pass

        self._server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.address = f"http://ops:{SECRET}@127.0.0.1:{self._server.server_port}"
        self._thread = threading.Thread(target=self._server.serve_forever)
        self._thread.start()

    def close(self) -> None:
        self._server.shutdown()
        self._thread.join()
        self._server.server_close()


def command_lines() -> Iterator[str]:
    for path in Path("/proc").glob("[0-9]*/cmdline"):
        with contextlib.suppress(OSError):
            yield path.read_bytes().replace(b"\0", b" ").decode("utf-8", "replace")


@pytest.fixture
def index() -> Iterator[Index]:
    found = Index()
    yield found
    found.close()


@pytest.mark.skipif(
    not Path("/proc/self/cmdline").exists(), reason="command lines are seen on Linux"
)
@pytest.mark.parametrize("installer", ["uv", pytest.param("pip", marks=pytest.mark.slow)])
@pytest.mark.parametrize("how", ["index", "address", "option"])
def test_no_command_line_has_them(installer: str, how: str, tmp_path: Path, index: Index) -> None:
    environ = private_environ(tmp_path / "home")
    store = EnvironmentStore(tmp_path / "envs", environ, installer=installer)  # type: ignore[arg-type]
    requirements: tuple[str, ...] = ()
    script = None
    if how == "index" and installer == "uv":
        script = tmp_path / "a.py"
        lines = (
            'dependencies = ["lemon"]',
            "[[tool.uv.index]]",
            f'url = "{index.address}/simple"',
            "default = true",
        )
        script.write_text("# /// script\n" + "".join(f"# {one}\n" for one in lines) + "# ///\n")
    elif how == "address":
        requirements = (f"lemon @ {index.address}/lemon-1.0-py3-none-any.whl",)
    else:
        requirements = (f"--index-url {index.address}/simple", "lemon")
    with pytest.raises(EnvError):
        store.sync(EnvironmentRequest(script=script, requirements=requirements))
    assert index.asked == {f"ops:{SECRET}"}
    assert index.seen == set()
    kept = [path for path in (tmp_path / "envs").rglob("*.txt") if SECRET in path.read_text()]
    assert kept == []


def test_what_is_moved() -> None:
    words = ["--no-index", "a @ https://t@h/a.whl", "--index", "n=https://h", "--index", "https://u:p@h", "-e", "git+https://t@h/x", "b==1", "-r", "/r.txt"]  # fmt: skip
    shown, variables, lines = apart(words, {"--index": "UV_INDEX"})
    assert shown == ["--no-index", "b==1", "-r", "/r.txt"]
    assert variables == {"UV_INDEX": "n=https://h https://u:p@h"}
    assert lines == ["a @ https://t@h/a.whl", "-e git+https://t@h/x"]
