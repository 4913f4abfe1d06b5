"""Who may do what on the page and over HTTP: tokens, roles, locations, and those who show nothing."""

from __future__ import annotations

import contextlib
import json
import os
import socket
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from urllib.parse import urlencode

import pytest
from asking import REFUSALS, expected, params_of
from commands import supervise
from supervised import job, poll_now

from supervisor.access.audit import entries
from supervisor.access.tokens import TokenFile
from supervisor.protocol.methods import METHODS, Scope
from supervisor.roles import Role
from supervisor.web.peer import user_of

from .site import Answer, Page, Site, Visitor, site

OWN, OTHER = "team-a-jobs", "team-b-jobs"
PAGES = ("/", "/definitions", "/assets", "/schedules", "/environments", "/metrics", "/nothing")
NOBODY = 65534
as_root = pytest.mark.skipif(os.getuid() != 0, reason="only root can become somebody else")
STATUS = {"forbidden": 403, "unauthenticated": 401, "unknown_location": 404, "unknown_run": 404}


@pytest.fixture(scope="module")
def teams(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Site]:
    """A location of each of two teams."""
    files = {"own.py": job("nightly"), "other.py": job("nightly")}
    locations = {OWN: {"relative_path": "own.py"}, OTHER: {"relative_path": "other.py"}}
    with site(tmp_path_factory.mktemp("roles"), files, locations) as made:
        yield made


@pytest.fixture(scope="module")
def runs(teams: Site) -> dict[str, str]:
    """A run that has ended of each location."""
    found = {}
    for name in (OWN, OTHER):
        run = teams.client.launch(name, "nightly")
        run.wait()
        found[name] = run.id
    return found


def tokens(of: Site) -> TokenFile:
    return TokenFile(of.folder / ".supervise" / "workspace.yaml")


def bearer(secret: str) -> dict[str, str]:
    return {"Authorization": f"Bearer {secret}"}


def post(page: Visitor, path: str, value: Any, headers: dict[str, str]) -> Answer:
    body = json.dumps(value).encode()
    sent = {"Content-Type": "application/json", **headers}
    return page.ask(path, method="POST", body=body, headers=sent)


@pytest.mark.slow
@pytest.mark.parametrize("everywhere", [False, True], ids=["own", "everywhere"])
@pytest.mark.parametrize("role", list(Role))
def test_every_method_by_role_and_location(
    teams: Site, runs: dict[str, str], role: Role, everywhere: bool
) -> None:
    patterns = ("*",) if everywhere else ("team-a-*",)
    secret = tokens(teams).add(f"{role}-{everywhere}", role, patterns, None)
    for method in METHODS.values():
        if not method.over_http:
            continue
        if Scope.SUPERVISOR in method.scopes and role is Role.ADMIN and everywhere:
            continue  # it would end
        for location in (OTHER, OWN):
            asked = params_of(method, location, runs[location])
            answer = post(teams.page, f"/api/v1/methods/{method.name}", asked, bearer(secret))
            wanted = expected(method, role, location == OWN, everywhere)
            error = answer.json().get("error") or {}
            code = error.get("code", "")
            assert (code if code in REFUSALS else "allowed") == wanted, (method.name, answer.text)
            if wanted != "allowed":
                assert answer.status == STATUS[wanted]
            if wanted == "forbidden" and not role.includes(method.role):
                assert f"needs the role {method.role}" in error["message"]


@pytest.mark.slow
def test_without_a_token_or_with_a_wrong_one(teams: Site) -> None:
    for wrong in ("sup_wrong", "wrong", "sup_" + "x" * 5000):
        answer = teams.page.ask("/api/v1/status", headers=bearer(wrong))
        assert answer.status == 401, answer.text
        assert answer.headers["www-authenticate"] == "Bearer"
        assert answer.json()["error"]["code"] == "unauthenticated"
    page = Page(teams.folder, teams.runtime, "--host", "0.0.0.0", "--require-token")
    try:
        assert page.get("/api/v1/status").status == 401
        assert page.get("/").headers["location"] == "/login"
        secret = tokens(teams).add("required", Role.VIEWER, ("*",), None)
        assert page.ask("/api/v1/status", headers=bearer(secret)).status == 200
    finally:
        page.end()


def test_a_page_tells_what_the_token_may_see_and_no_more(teams: Site) -> None:
    secret = tokens(teams).add("a-viewer", Role.VIEWER, ("team-a-*",), None)
    for path in (*PAGES, "/api/v1/status", "/api/v1/definitions", "/api/v1/duplicates",
                 "/api/v1/environments", "/api/v1/schedules", "/api/v1/assets",
                 f"/location?name={OWN}", f"/location?name={OWN}&view=process",
                 "/location?name=team-a-job", "/api/v1/location?name=team-a-job"):  # fmt: skip
        text = teams.page.ask(path, headers=bearer(secret)).text
        assert "team-b" not in text and "other.py" not in text, path
    assert OTHER in teams.page.get("/").text  # the operator's
    for path in (f"/location?name={OTHER}", f"/api/v1/logs?location={OTHER}",
                 f"/api/v1/history?location={OTHER}"):  # fmt: skip
        assert teams.page.ask(path, headers=bearer(secret)).status == 404, path


def entered(page: Visitor, secret: str, back: str = "/") -> dict[str, str]:
    """Log in; the headers of a browser from then on."""
    origin = {"Content-Type": "application/x-www-form-urlencoded", "Origin": page.url}
    body = urlencode({"token": secret, "back": back}).encode()
    answer = page.ask("/login", method="POST", body=body, headers=origin)
    assert answer.status == 303, answer.text
    cookie = answer.headers["set-cookie"]
    assert secret not in cookie and "HttpOnly" in cookie
    return {**origin, "Cookie": cookie.partition(";")[0]}


def test_people_log_in_with_a_token_and_see_their_role(teams: Site) -> None:
    secret = tokens(teams).add("person", Role.VIEWER, ("team-a-*",), None)
    wrong = teams.page.send("/login", token="sup_wrong")
    assert wrong.status == 403 and "That is not the token" in wrong.text
    browser = entered(teams.page, secret)
    text = teams.page.ask("/", headers=browser).text
    assert "token:person: viewer of team-a-*" in text and "log out" in text
    assert text.count('<button type="submit" disabled') >= 4  # all orders
    body = urlencode({"order": "reload", "location": OWN}).encode()
    refused = teams.page.ask("/orders", method="POST", body=body, headers=browser)
    assert refused.status == 403 and "needs the role editor" in refused.text
    tokens(teams).revoke("person")
    gone = teams.page.ask("/", headers=browser)
    assert (gone.status, gone.headers["location"]) == (303, "/login")
    assert teams.page.ask("/api/v1/status", headers=browser).status == 401


def test_one_that_logged_out_is_known_no_more(teams: Site) -> None:
    secret = tokens(teams).add("leaver", Role.EDITOR, ("team-a-*",), None)
    browser = entered(teams.page, secret)
    assert "token:leaver" in teams.page.ask("/", headers=browser).text
    assert teams.page.ask("/logout", method="POST", body=b"", headers=browser).status == 303
    assert "token:leaver" not in teams.page.ask("/", headers=browser).text


def test_live_updates_end_with_the_token(teams: Site) -> None:
    secret = tokens(teams).add("live", Role.VIEWER, ("*",), None)
    with socket.create_connection(("127.0.0.1", teams.page.port or 0), timeout=60) as one:
        head = f"GET /events?logs={OWN} HTTP/1.1\r\nHost: localhost\r\n"
        one.sendall(f"{head}Authorization: Bearer {secret}\r\n\r\n".encode())
        seen = b""
        while b"event: change" not in seen:
            seen += one.recv(4096)
        tokens(teams).revoke("live")
        while not seen.endswith(b"0\r\n\r\n"):  # the end of the answer
            more = one.recv(4096)
            assert more, seen
            seen += more


def test_the_operator_may_everything_on_the_local_page(teams: Site) -> None:
    answer = teams.page.post(
        "/api/v1/methods/launch", {"location": OWN, "job": "nightly", "dry_run": True}
    )
    assert answer.status == 200, answer.text
    assert teams.page.post("/api/v1/methods/whoami", {}).json()["name"] == "operator"


STRANGER = """\
import os, socket, sys
os.setgroups([]); os.setgid({user}); os.setuid({user})
for request in sys.argv[2:]:
    one = socket.socket()
    one.connect(("127.0.0.1", int(sys.argv[1])))
    one.sendall(request.encode().replace(b"|", b"\\r\\n"))
    print(one.recv(100).split()[1].decode())
    one.close()
"""


@as_root
def test_another_user_of_the_machine_looks_only(teams: Site) -> None:
    body = json.dumps({"order": "reload", "locations": [OWN]})
    length = f"Content-Length: {len(body)}|Content-Type: application/json"
    launch = json.dumps({"location": OWN, "job": "nightly"})
    requests = (
        "GET /api/v1/status HTTP/1.1|Host: localhost||",
        f"POST /api/v1/orders HTTP/1.1|Host: localhost|{length}||{body}",
        "POST /api/v1/methods/launch HTTP/1.1|Host: localhost|Content-Type: application/json|"
        f"Content-Length: {len(launch)}||{launch}",
    )
    done = subprocess.run(
        [sys.executable, "-I", "-S", "-c", STRANGER.format(user=NOBODY), str(teams.page.port),
         *requests],
        capture_output=True, text=True, timeout=60, check=True, cwd="/",
    )  # fmt: skip
    assert done.stdout.split() == ["200", "403", "403"]

    def told() -> list[Any]:
        return [(one["who"], one["method"]) for one in entries(tokens_directory(teams))]

    poll_now(lambda: ("anonymous", "launch") in told(), "its entry in the audit")


def tokens_directory(of: Site) -> Path:
    return of.folder / ".supervise" / "workspace.yaml"


def test_whose_a_connection_is_is_known_for_loopback_alone() -> None:
    with socket.create_server(("127.0.0.1", 0)) as server:
        ours = server.getsockname()
        with socket.create_connection(ours) as one, server.accept()[0]:
            theirs = one.getsockname()
            if sys.platform == "linux":
                assert user_of(theirs, ours) == os.getuid()
            assert user_of(ours, theirs[:1] + (1,)) is None
            assert user_of(("192.0.2.1", 5), ours) is None
        for nonsense in (("", 0), ("localhost", 5), ("::1", 70_000), ("127.0.0.1", -1)):
            assert user_of(nonsense, ours) is None


@pytest.mark.slow
def test_behind_a_proxy_nobody_is_the_operator(teams: Site) -> None:
    host = {"Host": "data.example.com"}
    for options, role in (((), "viewer"), (("--role", "launcher"), "launcher")):
        page = Page(teams.folder, teams.runtime, "--behind-proxy", "data.example.com", *options)
        try:
            asked = post(page, "/api/v1/methods/whoami", {}, host)
            assert (asked.json()["name"], asked.json()["role"]) == ("anonymous", role)
            # What the proxy shows to others is no token of ours.
            other = {**host, "Authorization": "Bearer eyJhbGciOi"}
            assert page.ask("/api/v1/status", headers=other).status == 200
        finally:
            page.end()


@pytest.mark.slow
def test_the_pages_own_token_has_a_role(teams: Site) -> None:
    own = "a-token-that-nobody-guesses"
    for options, role in (((), "editor"), (("--role", "viewer"), "viewer")):
        page = Page(teams.folder, teams.runtime, *options, SUPERVISE_WEB_TOKEN=own)
        try:
            answer = post(page, "/api/v1/methods/whoami", {}, bearer(own))
            assert answer.json()["role"] == role
            assert page.get("/api/v1/status").status == 401
        finally:
            page.end()


@pytest.mark.slow
def test_while_no_supervisor_judges_a_token_it_opens_nothing(tmp_path: Path) -> None:
    with site(tmp_path, {"team.py": job("one")}) as made:
        secret = tokens(made).add("ci", Role.VIEWER, ("*",), None)
        assert made.page.ask("/api/v1/status", headers=bearer(secret)).status == 200
        made.end_supervisor()
        poll_now(lambda: made.page.get("/api/v1/status").status == 503, "it is gone")
        for path in ("/", "/api/v1/status"):
            answer = made.page.ask(path, headers=bearer(secret))
            assert answer.status == 503
            assert str(tmp_path) not in answer.text and "team" not in answer.text
        made.start_supervisor()
        poll_now(
            lambda: made.page.ask("/api/v1/status", headers=bearer(secret)).status == 200,
            "it is known again",
        )


def test_commands_show_a_token(teams: Site) -> None:
    secret = tokens(teams).add("shell", Role.VIEWER, ("team-a-*",), None)
    with contextlib.ExitStack():
        shown = {"cwd": teams.folder, "runtime": teams.runtime, "SUPERVISE_TOKEN": secret}
        done = supervise("status", **shown)
        assert OWN in done.stdout and "team-b" not in done.stdout + done.stderr
        done = supervise("reload", OWN, **shown)
        assert done.returncode == 1
        assert "token:shell (viewer of team-a-*) may not 'reload'" in done.stderr
