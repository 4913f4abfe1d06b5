"""The commands and files of docs/howto: each command runs here, or is listed with the reason why it does not.

The files for other programs are held to what is ours in them; nginx, Caddy, Prometheus and Kubernetes themselves
do not read them here.
"""

from __future__ import annotations

import contextlib
import http.client
import json
import re
import signal
import socket
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml
from commands import DEADLINE
from documented import of_a_reader, shell_commands
from places import ROOT
from supervised import make_workspace, poll_now

HOWTO = ROOT / "docs" / "howto"

NOT_RUN = {
    "supervise dagster": "runs until Ctrl-C, on a Dagster: tests/dagster, tests/real/test_dagster_page.py",
    "cd examples/docker && docker compose up --build": "needs Docker: test_docker.py takes the steps",
    "supervise install-service --system": "writes into /etc: tests/cli/test_cli_init.py has it printed",
    "systemctl --user daemon-reload && systemctl --user enable --now supervise": (
        "needs a systemd of the user: tests/server/test_systemd.py runs the unit under one"
    ),
    "systemctl daemon-reload && systemctl enable --now supervise": (
        "needs a systemd of the machine: tests/server/test_systemd.py runs the unit under one"
    ),
    "loginctl enable-linger": "needs a systemd of the machine",
    "cd /srv/analytics": "the directory of the test is it",
    "supervise wait && supervise status": "waits for what the unit has started",
    "XDG_RUNTIME_DIR=/run/supervise supervise status": "asks what the unit of the machine has started",
    "uv tool upgrade workspace-supervisor": "the version would be another one",
}

SETTLE = """\
from runner_shim import Definitions, job, op

@op
def match():
    print("matched")

@job
def settle():
    match()

defs = Definitions(jobs=[settle])
"""


class Reader:
    """Does what a page says, in a directory with a workspace of one location."""

    def __init__(self, directory: Path, runtime: Path) -> None:
        self.workspace = make_workspace(directory / "here", {"payments.py": SETTLE})
        self.here = self.workspace.parent
        self.environ = of_a_reader(directory / "programs", runtime, HOME=str(directory))

    def run(self, command: str) -> str:
        """What it prints; it exits with 0."""
        done = subprocess.run(
            ["bash", "-c", command], cwd=self.here, env=self.environ, stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, timeout=2 * DEADLINE,
        )  # fmt: skip
        assert done.returncode == 0, f"$ {command}\n{done.stdout}"
        return done.stdout

    def follow(self, page: str) -> list[str]:
        """Run the commands of a page; they are returned."""
        commands = [one for one in shell_commands(text_of(page)) if one not in NOT_RUN]
        for command in commands:
            self.run(command)
        return commands

    @contextlib.contextmanager
    def running(self, words: list[str]) -> Iterator[subprocess.Popen[str]]:
        """A command that runs until the end, with its output in a pipe."""
        process = subprocess.Popen(
            words, cwd=self.here, env=self.environ, stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True,
        )  # fmt: skip
        try:
            yield process
        finally:
            process.send_signal(signal.SIGTERM)
            process.communicate(timeout=DEADLINE)


@pytest.fixture
def reader(tmp_path: Path, runtime: Path) -> Iterator[Reader]:
    reading = Reader(tmp_path, runtime)
    yield reading
    subprocess.run(
        ["supervise", "shutdown", "--now"],
        cwd=reading.here, env=reading.environ, capture_output=True, timeout=DEADLINE,
    )  # fmt: skip


def text_of(page: str) -> str:
    return (HOWTO / page).read_text()


def documents(page: str) -> list[Any]:
    """What the fences with YAML of a page are."""
    return [yaml.safe_load(one) for one in re.findall(r"```yaml\n(.*?)```", text_of(page), re.S)]


def test_every_command_runs_or_has_a_reason() -> None:
    commands = {one for page in HOWTO.glob("*.md") for one in shell_commands(page.read_text())}
    assert not set(NOT_RUN) - commands, "no page has these any more"
    run = commands - set(NOT_RUN)
    pages = {
        page.name for page in HOWTO.glob("*.md") if run & set(shell_commands(page.read_text()))
    }
    here = Path(__file__).read_text()
    assert not [page for page in pages if f'"{page}"' not in here], "a page that no test follows"


@pytest.mark.slow
def test_backup(reader: Reader) -> None:
    reader.run("supervise up -d && supervise wait && supervise launch payments settle")
    assert len(reader.follow("backup.md")) == 1
    kept = reader.run("tar tzf backup.tar.gz")
    assert ".supervise/workspace.yaml/automations.db" in kept
    assert ".supervise/workspace.yaml/runs/" in kept
    reader.run("sqlite3 .supervise/workspace.yaml/automations.db '.backup copy.db'")
    reader.run("supervise shutdown && rm -r .supervise && tar xzf backup.tar.gz && supervise up -d")
    assert "settle" in reader.run("supervise runs")


@pytest.mark.slow
def test_ci(reader: Reader) -> None:
    job, hooks = documents("ci.md")
    install, *steps = [one["run"] for one in job["steps"]]
    assert install == "uv tool install workspace-supervisor"
    for step in steps:
        reader.run(step)
    assert json.loads((reader.here / "check.json").read_text())["ok"]
    assert reader.follow("ci.md") == ["supervise launch payments settle --standalone"]
    (repository,) = hooks["repos"]
    offered = {
        one["id"]: one for one in yaml.safe_load((ROOT / ".pre-commit-hooks.yaml").read_text())
    }
    for hook in repository["hooks"]:
        reader.run(offered[hook["id"]]["entry"])


@pytest.mark.slow
def test_dagster(reader: Reader) -> None:
    (reader.here / "Procfile").write_text("risk: dagster api grpc -f payments.py -p 4266\n")
    assert len(reader.follow("dagster.md")) == 3


@pytest.mark.slow
def test_upgrading(reader: Reader) -> None:
    reader.run("supervise up -d && supervise wait")
    before = json.loads(reader.run("supervise status --json"))["supervisor"]["pid"]
    assert reader.follow("upgrading.md") == ["supervise upgrade", "supervise up -d"]
    assert json.loads(reader.run("supervise status --json"))["supervisor"]["pid"] != before


@pytest.mark.slow
def test_systemd(reader: Reader) -> None:
    assert reader.follow("systemd.md") == ["supervise check", "supervise install-service"]
    unit = Path(reader.environ["HOME"], ".config/systemd/user/supervise.service")
    assert f"WorkingDirectory={reader.here}" in unit.read_text()
    reader.run(f"systemd-analyze verify --user --man=no {unit}")


@pytest.mark.slow
def test_kubernetes(reader: Reader) -> None:
    (manifest,) = documents("kubernetes.md")
    spec = manifest["spec"]
    assert spec["selector"]["matchLabels"] == spec["template"]["metadata"]["labels"]
    (container,) = spec["template"]["spec"]["containers"]
    claims = {one["metadata"]["name"] for one in spec["volumeClaimTemplates"]}
    assert {one["name"] for one in container["volumeMounts"]} == claims
    (mount,) = container["volumeMounts"]
    with reader.running(
        [str(Path(reader.environ["PATH"].split(":")[0], "supervise")), *container["command"][1:]]
    ):

        def ready() -> bool:
            probe = container["startupProbe"]["exec"]["command"]
            done = subprocess.run(probe, cwd=reader.here, env=reader.environ, capture_output=True)
            return done.returncode == 0

        poll_now(ready, "the startup probe succeeds")
        reader.run(" ".join(container["readinessProbe"]["exec"]["command"]))
        inside = Path(mount["mountPath"]).relative_to(container["workingDir"])
        assert (reader.here / inside / "runs").exists() or (reader.here / inside).is_dir()


@pytest.mark.slow
def test_proxy_and_alerting(reader: Reader) -> None:
    (command,) = (one for one in shell_commands(text_of("proxy.md")) if one not in NOT_RUN)
    host = command.split("--behind-proxy ")[1].split()[0]
    assert f"server_name {host};" in text_of("proxy.md")
    assert f"\n{host} {{" in text_of("proxy.md")
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    reader.run("supervise up -d && supervise wait && supervise launch payments settle")

    def ask(path: str, name: str) -> tuple[int, str]:
        connection = http.client.HTTPConnection("127.0.0.1", port, timeout=DEADLINE)
        with contextlib.closing(connection):
            connection.request("GET", path, headers={"Host": name})
            answer = connection.getresponse()
            return answer.status, answer.read().decode()

    def answers() -> bool:
        with contextlib.suppress(OSError):
            return ask("/readyz", host)[0] == 200
        return False

    with reader.running(["bash", "-c", "exec " + command.replace("3070", str(port))]):
        poll_now(answers, "the page answers")
        assert ask("/", host)[0] == 200
        assert ask("/", "elsewhere.example.com")[0] == 421
        status, metrics = ask("/metrics", host)
    assert status == 200
    scrape, rules = documents("alerting.md")
    assert scrape["scrape_configs"][0]["static_configs"] == [{"targets": ["127.0.0.1:3070"]}]
    expressions = [rule["expr"] for group in rules["groups"] for rule in group["rules"]]
    assert len(expressions) > 5
    source = (ROOT / "supervisor" / "web" / "metrics.py").read_text()
    declared = {f"supervise_{one}" for one in re.findall(r'\badd\(\s*"(\w+)"', source)}
    for expression in expressions:
        (name,) = re.findall(r"supervise_\w+", expression)
        assert name in declared, expression
        for label, _ in re.findall(r'(\w+)=~?"([^"]*)"', expression):
            assert re.search(rf'^{name}\{{.*\b{label}="', metrics, re.MULTILINE), expression
