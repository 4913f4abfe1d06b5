"""Code servers of Dagster become locations: from compose files, Dockerfiles, units and Procfiles."""

from __future__ import annotations

from pathlib import Path

import pytest
from drafting import ENVIRON, read, tree

from supervisor.drafts.code_servers import converted
from supervisor.errors import ConfigurationError

COMPOSE = """\
services:
  database: {image: "postgres:11"}
  risk_code:
    build: {context: ./risk}
    environment: {USER_NAME: me, TOKEN: "${HOME}", DAGSTER_CURRENT_IMAGE: x, MIXED: "a${B}"}
  pay:
    build: ./pay
    command: ["dagster", "code-server", "start", "-h", "0.0.0.0", "-p", "4001", "-m", "pay.defs"]
    environment: [REGION=eu, PASSED]
    env_file: pay/.env
    volumes: ["./pay:/srv/app", "named:/data"]
  page: {build: ., entrypoint: [dagster-webserver, -h, "0.0.0.0"]}
"""
RISK = """\
FROM python:3.10-slim
RUN pip install \\
    dagster --extra-index-url https://host/simple \\
    "pandas<3" && rm -rf /root/.cache
WORKDIR /opt/dagster/app
COPY definitions.py /opt/dagster/app
CMD ["dagster", "api", "grpc", "-h", "0.0.0.0", "-p", "4000", "-f", "definitions.py", "-a", "defs"]
"""
PAY = """\
FROM node:20 AS page
FROM python:3.11
WORKDIR /srv/app
COPY --from=page /x /y
COPY requirements.txt .
RUN pip install -r requirements.txt
"""


def test_compose_files_and_the_dockerfiles_that_they_build(tmp_path: Path) -> None:
    tree(
        tmp_path,
        {
            "docker-compose.yml": COMPOSE,
            "risk/Dockerfile": RISK,
            "risk/definitions.py": "",
            "pay/Dockerfile": PAY,
            "pay/requirements.txt": "dagster",
            "pay/.env": "SECRET=1\n",
        },
    )
    spec = read(tmp_path, converted(tmp_path, ENVIRON))
    risk, pay = spec.locations
    assert risk.target is not None
    assert (risk.name, risk.target.name) == ("risk_code", f"{tmp_path}/risk/definitions.py")
    assert (risk.target.attribute, risk.target.working_directory) == ("defs", tmp_path / "risk")
    assert risk.env == {"USER_NAME": "me", "TOKEN": "/home/ops"}
    assert (risk.environment.python, risk.environment.requirements) == (
        "3.10",
        ("dagster", "pandas<3"),
    )
    assert pay.target is not None
    assert (pay.target.name, pay.target.working_directory) == ("pay.defs", tmp_path / "pay")
    assert pay.env == {"SECRET": "1", "REGION": "eu"}
    assert pay.environment.requirements_file == tmp_path / "pay" / "requirements.txt"


def test_a_workspace_of_grpc_servers_gives_names(tmp_path: Path) -> None:
    tree(
        tmp_path,
        {
            "compose.yaml": COMPOSE,
            "risk/Dockerfile": RISK,
            "workspace.yaml": "load_from:\n"
            "- grpc_server: {host: risk_code, port: 4000, location_name: risk models}\n"
            "- grpc_server: {host: localhost, port: 4001, location_name: payments}\n"
            "- grpc_server: {host: elsewhere, port: 4002, location_name: partner}\n"
            "- python_file: other.py\n",
            "pay/.env": "",
        },
    )
    draft = converted(tmp_path, ENVIRON)
    assert [one.name for one in draft.locations] == [
        "risk models",
        "payments",
        "partner",
        "other.py",
    ]
    assert draft.locations[2].selector == "grpc_server"
    assert "is not there" in draft.text()  # definitions.py of risk


@pytest.mark.parametrize(
    "command",
    [
        "/srv/ml/.venv/bin/dagster api grpc --module-name ml.defs --host 0.0.0.0 --port 4003",
        "/srv/ml/.venv/bin/dagster api grpc --port=4003 -m ml.defs --lazy-load-user-code",
        "/bin/sh -c 'cd /x && exec /srv/ml/.venv/bin/dagster api grpc -m ml.defs'",
    ],
)
def test_units_name_their_interpreter(tmp_path: Path, command: str) -> None:
    unit = (
        f'[Service]\nWorkingDirectory=/srv/ml\nEnvironment=A=1 "B=two words"\nExecStart={command}\n'
    )
    tree(tmp_path, {"units/ml.service": unit})
    (found,) = read(tmp_path, converted(tmp_path, ENVIRON)).locations
    assert found.target is not None
    assert (found.name, found.target.name) == ("ml", "ml.defs")
    assert str(found.target.working_directory) == "/srv/ml"
    assert found.environment.executable_path == "/srv/ml/.venv/bin/python"
    assert found.env == {"A": "1", "B": "two words"}


def test_procfiles(tmp_path: Path) -> None:
    tree(
        tmp_path,
        {
            "Procfile": "# old\nweb: dagster-webserver\nreports: uv run dagster api grpc -f r.py -d sub\n",
            "r.py": "",
            "pyproject.toml": '[project]\nname = "p"\nversion = "1"\n',
            "sub/x": "",
        },
    )
    (found,) = read(tmp_path, converted(tmp_path, ENVIRON)).locations
    assert found.target is not None
    assert (found.name, found.target.name) == ("reports", f"{tmp_path}/r.py")
    assert found.target.working_directory == tmp_path / "sub"
    assert found.environment.project == tmp_path


@pytest.mark.parametrize(
    "text", ["", "services: 1\n", "services: {a: 1, b: {command: 3}}\n", "{", "- a\n"]
)
def test_nothing_to_convert(tmp_path: Path, text: str) -> None:
    tree(tmp_path, {"compose.yaml": text})
    with pytest.raises(ConfigurationError, match="no code server of Dagster was found here"):
        converted(tmp_path, ENVIRON)
