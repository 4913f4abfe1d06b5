"""Who may ask what: hosts, origins, tokens, headers, secrets."""

from __future__ import annotations

from pathlib import Path
from urllib.parse import urlencode

import pytest
from commands import supervise
from supervised import job, make_workspace

from supervisor.errors import RequestError
from supervisor.web.app import policy_of
from supervisor.web.security import Policy, safe_path

from .site import Page, Site

TOKEN = "a-token-that-nobody-guesses"


@pytest.mark.parametrize(
    "host",
    [
        "evil.example",
        "evil.example:80",
        "127.0.0.1.evil.example",
        "",
        "a@127.0.0.1",
        "[::1",
        "10.0.0.1",
    ],
)
def test_another_name_is_refused(quiet: Site, host: str) -> None:
    for path in ("/", "/api/v1/status", "/metrics", "/events", "/static/page.js", "/healthz"):
        assert quiet.page.ask(path, headers={"Host": host}).status == 421


def test_own_names_are_known(quiet: Site) -> None:
    for host in ("localhost", "localhost:1", "127.0.0.1", "[::1]:80", "LOCALHOST."):
        assert quiet.page.ask("/healthz", headers={"Host": host}).status == 200


FORM = urlencode({"order": "reload", "location": "risk"}).encode()
TYPE = {"Content-Type": "application/x-www-form-urlencoded"}


@pytest.mark.parametrize(
    "headers",
    [
        {},
        {"Origin": "http://evil.example"},
        {"Origin": "null"},
        {"Origin": "http://127.0.0.1:1"},
        {"Sec-Fetch-Site": "cross-site"},
        {"Sec-Fetch-Site": "same-site"},
        {"Origin": "http://[", "Sec-Fetch-Site": "same-origin"},
    ],
)
def test_no_other_site_can_give_orders(quiet: Site, headers: dict[str, str]) -> None:
    before = quiet.client.status("risk")["locations"][0]["generation"]
    for path in ("/orders", "/api/v1/orders"):
        body = FORM if path == "/orders" else b'{"order": "reload", "locations": ["risk"]}'
        if path == "/orders" or headers:
            answer = quiet.page.ask(path, method="POST", body=body, headers={**TYPE, **headers})
            assert answer.status == 403, (path, headers)
    assert quiet.client.status("risk")["locations"][0]["generation"] == before


def test_a_program_sends_json(quiet: Site) -> None:
    """No page elsewhere can have a browser send that without asking first, and we answer no such question."""
    body = b'{"order": "reload", "locations": ["nothing"]}'
    for kind, status in (("text/plain", 403), ("", 403), ("application/json", 404)):
        headers = {"Content-Type": kind}
        answer = quiet.page.ask("/api/v1/orders", method="POST", body=body, headers=headers)
        assert answer.status == status, kind
    asked = quiet.page.ask(
        "/api/v1/orders", method="OPTIONS", headers={"Origin": "http://evil.example"}
    )
    assert "access-control-allow-origin" not in asked.headers


def test_every_answer_has_the_policy(quiet: Site) -> None:
    for path in ("/", "/nothing", "/static/page.js", "/api/v1/status", "/metrics"):
        headers = quiet.page.get(path).headers
        policy = headers["content-security-policy"]
        assert "default-src 'none'" in policy
        assert "unsafe" not in policy
        assert headers["x-content-type-options"] == "nosniff"
        assert headers["referrer-policy"] == "same-origin"
        assert "server" not in headers
        assert "access-control-allow-origin" not in headers
    text = quiet.page.get("/location", name="broken").text
    assert " style=" not in text
    assert " on" not in "".join(part for part in text.split("<") if part.startswith("on"))


def test_no_value_of_a_variable_is_shown(quiet: Site) -> None:
    for path, params in (
        ("/location", {"name": "payments"}),
        ("/location", {"name": "payments", "view": "workspace"}),
        ("/location", {"name": "payments", "view": "process"}),
        ("/api/v1/status", {}),
        ("/api/v1/location", {"name": "payments"}),
        ("/api/v1/environments", {}),
        ("/metrics", {}),
    ):
        assert "hunter2" not in quiet.page.get(path, **params).text


def test_large_requests_are_refused(quiet: Site) -> None:
    body = b"order=stop&" + b"location=risk&" * 40_000
    headers = {**TYPE, "Origin": quiet.page.url}
    assert quiet.page.ask("/orders", method="POST", body=body, headers=headers).status == 413
    # One that does not say how large it is.
    pieces = [f"{len(body):x}\r\n".encode(), body, b"\r\n0\r\n\r\n"]
    for path in ("/orders", "/api/v1/orders"):
        chunked = {**headers, "Transfer-Encoding": "chunked"}
        answer = quiet.page.ask(path, method="POST", body=b"".join(pieces), headers=chunked)
        assert answer.status == 413, answer.text


@pytest.mark.slow
def test_a_token_is_asked_of_everyone(tmp_path: Path, runtime: Path) -> None:
    make_workspace(tmp_path, {"one.py": job("first")})
    (tmp_path / "token").write_text(TOKEN + "\n")
    page = Page(tmp_path, runtime, "--host", "0.0.0.0", "--token-file", "token")
    try:
        sent = page.get("/")
        assert (sent.status, sent.headers["location"]) == (303, "/login")
        sent = page.get("/location", name="a&b", view="logs")
        wanted = "/location?name=a%26b&view=logs"
        assert sent.headers["location"] == f"/login?{urlencode({'back': wanted})}"
        form = page.ask(sent.headers["location"])
        assert form.status == 200
        assert 'name="back" value="/location?name=a%26b&amp;view=logs"' in form.text
        assert page.get("/static/page.css").status == 200
        assert page.get("/api/v1/status").status == 401
        assert page.get("/metrics").status == 401
        assert page.get("/events").status == 303
        assert page.get("/healthz").status == 200
        bearer = {"Authorization": f"Bearer {TOKEN}"}
        assert page.ask("/metrics", headers=bearer).status == 200
        wrong = {"Authorization": "Bearer a-token-that-somebody-guessed"}
        assert page.ask("/metrics", headers=wrong).status == 401
        origin = {**TYPE, "Origin": f"http://127.0.0.1:{page.port}"}
        refused = page.ask("/login", method="POST", body=b"token=wrong", headers=origin)
        assert refused.status == 403
        for back, led in ((wanted, wanted), ("//evil.example", "/")):
            body = urlencode({"token": TOKEN, "back": back}).encode()
            entered = page.ask("/login", method="POST", body=body, headers=origin)
            assert (entered.status, entered.headers["location"]) == (303, led)
        cookie = entered.headers["set-cookie"]
        assert "HttpOnly" in cookie
        assert "samesite=lax" in cookie.lower()
        assert TOKEN not in cookie
        kept = {"Cookie": cookie.partition(";")[0]}
        assert page.ask("/", headers=kept).status == 200
        assert page.ask("/", headers={"Host": "evil.example", **kept}).status == 421
        assert page.ask("/", headers={"Host": "192.0.2.7:80", **kept}).status == 200
        for other in ("http://127.0.0.1:1", "http://127.0.0.1", "http://192.0.2.7:3070"):
            headers = {**TYPE, **kept, "Origin": other}
            answer = page.ask("/orders", method="POST", body=FORM, headers=headers)
            assert answer.status == 403, other
    finally:
        assert TOKEN not in page.end()


@pytest.mark.slow
def test_without_the_token_nothing_is_told(tmp_path: Path, runtime: Path) -> None:
    make_workspace(tmp_path, {"one.py": job("first")})
    page = Page(tmp_path, runtime, SUPERVISE_WEB_TOKEN=TOKEN)
    try:
        for path, method, status in (
            ("/static/nothing", "GET", 404),
            ("/login", "DELETE", 405),
            ("/healthz", "PUT", 405),
            ("/readyz", "GET", 503),
            ("/login", "GET", 200),
        ):
            headers = {"Origin": page.url}
            answer = page.ask(path, method=method, headers=headers)
            assert answer.status == status
            for word in ("workspace", str(tmp_path), "No supervisor", "Locations"):
                assert word not in answer.text, path
        known = page.ask("/static/nothing", headers={"Authorization": f"Bearer {TOKEN}"})
        assert known.status == 404
        assert "Locations" in known.text
    finally:
        page.end()


@pytest.mark.slow
def test_an_empty_token_is_refused(tmp_path: Path, runtime: Path) -> None:
    make_workspace(tmp_path, {"one.py": job("first")})
    (tmp_path / "token").write_text(" \n")
    for options, extra in (
        (("--token", ""), {}),
        (("--token-file", "token"), {}),
        (("--token-file", "token"), {"SUPERVISE_WEB_TOKEN": TOKEN}),
        ((), {"SUPERVISE_WEB_TOKEN": ""}),
    ):
        done = supervise("web", "--port", "0", *options, cwd=tmp_path, runtime=runtime, **extra)
        assert done.returncode == 1
        assert "the token has 0 characters" in done.stderr


def test_only_a_page_of_the_same_port_is_ours() -> None:
    proxied = Policy(proxies=frozenset({"data.example.com"}))
    for origin, host, own in (
        ("http://localhost:3070", "localhost:3070", True),
        ("http://localhost:8080", "localhost:3070", False),
        ("http://localhost:8080", "localhost", False),
        ("https://data.example.com", "data.example.com", True),
        # What proxies do to Host: pass it on, leave the port out, put their own name for us there.
        ("https://data.example.com:8443", "data.example.com:8443", True),
        ("https://data.example.com:8443", "data.example.com", True),
        ("https://data.example.com", "127.0.0.1:3070", True),
        ("https://data.example.com:8080", "127.0.0.1:3070", False),
        ("https://data.example.com:8080", "data.example.com:8443", False),
        ("https://data.example.com", "data.example.com:8443", False),
        ("https://evil.example", "data.example.com", False),
        ("http://localhost", "data.example.com", False),
        ("http://data.example.com:x", "data.example.com", False),
        ("null", "data.example.com", False),
    ):
        assert proxied.is_own(origin, host) is own, (origin, host)


def test_what_is_printed_can_be_opened(tmp_path: Path, runtime: Path) -> None:
    make_workspace(tmp_path, {"one.py": job("first")})
    page = Page(tmp_path, runtime, "--host", "127.0.0.2")
    try:
        page.host = "127.0.0.2"
        assert page.url == f"http://127.0.0.2:{page.port}"
        assert page.get("/").status == 200
    finally:
        page.end()


def test_behind_a_proxy_only_its_names_are_known(tmp_path: Path, runtime: Path) -> None:
    make_workspace(tmp_path, {"one.py": job("first")})
    page = Page(tmp_path, runtime, "--host", "0.0.0.0", "--behind-proxy", "Data.Example.com")
    try:
        assert page.ask("/", headers={"Host": "data.example.com"}).status == 200
        assert page.ask("/", headers={"Host": "evil.example"}).status == 421
        assert page.ask("/", headers={"Host": "192.0.2.7"}).status == 421
        for origin, status in (("https://data.example.com", 303), ("https://evil.example", 403)):
            headers = {**TYPE, "Host": "data.example.com", "Origin": origin}
            answer = page.ask("/logout", method="POST", body=b"", headers=headers)
            assert answer.status == status
    finally:
        page.end()


def test_other_addresses_need_a_token_or_a_proxy(tmp_path: Path, runtime: Path) -> None:
    make_workspace(tmp_path, {"one.py": job("first")})
    done = supervise("web", "--host", "0.0.0.0", "--port", "0", cwd=tmp_path, runtime=runtime)
    assert done.returncode == 1
    assert "can be reached from other machines" in done.stderr
    assert "--token-file" in done.stderr
    with pytest.raises(RequestError, match="can be guessed"):
        policy_of("0.0.0.0", "short", ())


def test_a_port_in_use_is_named(quiet: Site, tmp_path: Path) -> None:
    make_workspace(tmp_path, {"one.py": job("first")})
    done = supervise("web", "--port", str(quiet.page.port), cwd=tmp_path, runtime=quiet.runtime)
    assert done.returncode == 1
    assert f"port {quiet.page.port} of 127.0.0.1 is in use" in done.stderr


def test_names_of_a_policy() -> None:
    policy = Policy()
    assert policy.names("localhost:3070")
    assert not policy.names("localhost.evil")
    assert not policy.names("localhost:x")
    assert not Policy(frozenset({"a"})).names("192.0.2.1")
    assert Policy(frozenset({"a"}), addresses=True).names("192.0.2.1:80")


def test_forms_lead_back_here_only() -> None:
    assert safe_path("/location?name=a") == "/location?name=a"
    for path in ("//evil", "/\\evil", "http://evil", "", "/\nevil", "javascript:alert(1)"):
        assert safe_path(path) == "/"
