"""``supervise tokens``, ``keys`` and ``audit``, with a supervisor that runs and without."""

from __future__ import annotations

import json

import pytest
from commands import foreground, supervise
from supervised import job, make_workspace

from supervisor.access.audit import entries
from supervisor.client.client import Client
from supervisor.client.locate import Found
from supervisor.curve_keys import ClientKeys
from supervisor.errors import UnauthenticatedError
from supervisor.runtime_dir import running_supervisors


@pytest.fixture
def run(tmp_path, runtime):
    make_workspace(tmp_path, {"a.py": job("one")})

    def command(*arguments, status=0):
        done = supervise(*arguments, cwd=tmp_path, runtime=runtime)
        assert done.returncode == status, done.stdout + done.stderr
        return done

    return command


def state(tmp_path):
    return tmp_path / ".supervise" / "workspace.yaml"


@pytest.mark.slow
def test_tokens_are_made_listed_and_revoked_without_a_supervisor(run, tmp_path):
    assert run("tokens", "list").stderr == "there are no tokens\n"
    secret = run("tokens", "add", "ci", "--role", "launcher", "--location", "risk*").stdout.strip()
    assert secret.startswith("sup_")
    made = json.loads(
        run("tokens", "add", "tmp", "--role", "viewer", "--expires", "30d", "--json").stdout
    )
    assert made["token"].startswith("sup_") and made["expires"] > 0
    table = run("tokens", "list").stdout
    assert "ci" in table and "launcher" in table and "risk*" in table and "never" in table
    rows = json.loads(run("tokens", "list", "--json").stdout)["tokens"]
    assert [(one["name"], one["role"], one["locations"], one["expired"]) for one in rows] == [
        ("ci", "launcher", ["risk*"], False),
        ("tmp", "viewer", ["*"], False),
    ]
    assert secret not in run("tokens", "list", "--json").stdout
    again = run("tokens", "add", "ci", "--role", "viewer", status=2)
    assert "ci has a token already" in again.stderr
    assert run("tokens", "revoke", "ci").stdout == "the token ci is revoked\n"
    assert "no token is named 'ci'" in run("tokens", "revoke", "ci", status=2).stderr
    assert "hint: there is tmp" in run("tokens", "revoke", "ci", status=2).stderr
    assert "is not one of" in run("tokens", "add", "x", "--role", "king", status=2).stderr
    assert "missing option '--role'" in run("tokens", "add", "x", status=2).stderr
    told = [(one["who"], one["method"], one["subject"]) for one in entries(state(tmp_path))]
    assert told == [
        ("operator", "tokens add", "token:ci"),
        ("operator", "tokens add", "token:tmp"),
        ("operator", "tokens revoke", "token:ci"),
    ]


@pytest.mark.slow
def test_keys_are_made_listed_and_revoked(run, tmp_path):
    file = run("keys", "add", "page", "--role", "none", "-o", "page.keys").stdout.strip()
    assert ClientKeys.read(file)
    run("keys", "add", "ci", "--role", "editor", "--location", "risk*", "--location", "a")
    rows = json.loads(run("keys", "list", "--json").stdout)["keys"]
    assert [(one["name"], one["role"], one["locations"]) for one in rows] == [
        ("ci", "editor", ["risk*", "a"]),
        ("page", None, ["*"]),
    ]
    old = state(tmp_path) / "keys" / "clients" / "ci.pub"
    old.write_text(old.read_text().splitlines()[0] + "\n")
    assert "made before keys had roles" in run("keys", "list").stdout
    assert run("keys", "revoke", "ci").stdout == "the keys of ci are revoked\n"
    assert "no client is named 'ci'" in run("keys", "revoke", "ci", status=2).stderr
    assert "no client is named '../x'" in run("keys", "revoke", "../x", status=2).stderr
    assert [one["method"] for one in entries(state(tmp_path))] == [
        *("keys add", "keys add", "keys revoke"),
    ]


@pytest.mark.slow
def test_one_that_runs_counts_what_is_added_and_revoked_at_once(run, tmp_path, runtime):
    from supervised import environ

    with foreground(tmp_path, runtime) as running:
        running.until(lambda line: ": ready" in line)
        (info,) = running_supervisors(environ(runtime))
        secret = run("tokens", "add", "ci", "--role", "viewer").stdout.strip()
        with Client(found=Found(info), token=secret) as client:
            assert client.call_method("whoami", {})["name"] == "token:ci"
            run("reload", "a")
            run("tokens", "revoke", "ci")
            with pytest.raises(UnauthenticatedError):
                client.status()
        rows = [json.loads(line) for line in run("audit", "--json").stdout.splitlines()]
        assert [(one["who"], one["method"], one["location"]) for one in rows][:3] == [
            ("operator", "tokens add", []),
            ("operator", "reload", ["a"]),
            ("operator", "tokens revoke", []),
        ]
        assert run("audit", "verify").stdout == "the audit is whole\n"
        assert running.end() == 0


@pytest.mark.slow
def test_the_audit_is_read_and_judged(run, tmp_path):
    assert run("audit").stderr == "the audit has no entries\n"
    assert run("audit", "verify").stdout == "the audit is whole\n"
    for number in range(5):
        run("tokens", "add", f"t{number}", "--role", "viewer")
    text = run("audit", "-n", "2").stdout
    assert "token:t4" in text and "token:t3" in text and "token:t2" not in text
    assert "token:t0" in run("audit", "--since", "1h").stdout
    log = state(tmp_path) / "audit.log"
    whole = log.read_bytes()
    lines = whole.splitlines(keepends=True)
    for tampered, line, words in (
        ([*lines[:2], *lines[3:]], 3, "entry 4 follows entry 2"),
        ([*lines[:2], lines[2].replace(b"t2", b"t9"), *lines[3:]], 3, "entry 3 was changed"),
        ([lines[0], lines[2], lines[1], *lines[3:]], 2, "entry 3 follows entry 1"),
        (lines[:4], 4, "entry 5, the last one written, is missing"),
        ([*lines[:2], b"{}\n", *lines[3:]], 3, "the line was changed: it is no entry"),
    ):
        log.write_bytes(b"".join(tampered))
        done = run("audit", "verify", status=1)
        assert f"{log}:{line}: {words}" in done.stderr
        found = json.loads(run("audit", "verify", "--json", status=1).stdout)
        assert found["breaks"][0]["line"] == line and not found["whole"]
    log.write_bytes(whole)
    assert json.loads(run("audit", "verify", "--json").stdout) == {"whole": True, "breaks": []}
