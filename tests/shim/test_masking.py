"""What is hidden as a secret and what is not: names, texts, definitions."""

from __future__ import annotations

import json
import time

import pytest
from commands import foreground
from supervised import make_workspace

from runner_shim.masking import HIDDEN, definition, is_secret_name, masked, masked_text

SECRET_NAMES = [
    "pwd",
    "PWD",
    "db_pwd",
    "dbpwd",
    "passwd",
    "password",
    "Password",
    "db_password",
    "dbPassword",
    "DBPassword",
    "userpassword",
    "passwords",
    "password2",
    "PASSWORD_OF_DB",
    "passphrase",
    "ssh-passphrase",
    "pass",
    "db_pass",
    "secret",
    "secrets",
    "my_secret",
    "client_secret",
    "clientSecret",
    "mysecret",
    "pin_secret",
    "secret_key",
    "secretKey",
    "token",
    "tokens",
    "api_token",
    "apiToken",
    "accesstoken",
    "access-token",
    "refresh_token",
    "TOKEN_GITHUB",
    "token_value",
    "auth",
    "Auth",
    "basic_auth",
    "oauth",
    "oauth2",
    "authorization",
    "Authorization",
    "proxy-authorization",
    "bearer",
    "bearer_token",
    "credential",
    "credentials",
    "aws_credentials",
    "creds",
    "credential_json",
    "api_key",
    "apikey",
    "apiKey",
    "API_KEY",
    "x-api-key",
    "api.key",
    "api_keys",
    "access_key",
    "accesskey",
    "AccessKey",
    "access_key_id",
    "aws_access_key_id",
    "aws_secret_access_key",
    "access_keys",
    "account_key",
    "AccountKey",
    "private_key",
    "privateKey",
    "private_key_pem",
    "signing_key",
    "encryption_key",
    "fernet_key",
    "ssh_key",
    "master_key",
    "storage_key",
    "license_key",
    "key",
    "Key",
    "KEY",
    "snowflake/private_key",
    "sas_token",
    "jwt",
    "session_token",
    "cookie",
    "webhook_secret",
    "team/secret",
    "secret_value",
    "gcp_credentials_json",
    "connectionstring",
    "client-secret-value",
    "auth_token",
    "pw",
]

OTHER_NAMES = [
    "primary_key",
    "partition_key",
    "partitionKey",
    "foreign_key",
    "sort_key",
    "keyboard",
    "monkey",
    "keyword",
    "keywords",
    "turkey",
    "hockey",
    "keys",
    "asset_key",
    "asset_keys",
    "io_manager_key",
    "group_key",
    "cache_key",
    "row_key",
    "routing_key",
    "translation_key",
    "public_key",
    "unique_key",
    "surrogate_key",
    "natural_key",
    "business_key",
    "dagster/concurrency_key",
    "join_key",
    "s3_key",
    "kafka_key",
    "key_columns",
    "keyspace",
    "primary_keys",
    "partition_keys",
    "author",
    "authors",
    "authority",
    "auth_type",
    "auth_url",
    "auth_method",
    "max_tokens",
    "tokens_total",
    "token_count",
    "token_limit",
    "tokenizer",
    "num_tokens",
    "token_url",
    "password_file",
    "password_policy",
    "secretary",
    "passwordless",
    "cwd",
    "passed",
    "passes",
    "compass",
    "bypass",
    "passenger",
    "first_pass",
    "num_passes",
    "team",
    "owner",
    "image",
    "agent_queue",
    "url",
    "host",
    "user",
    "username",
    "table",
    "columns",
    "row_count",
    "region",
    "bucket",
    "path",
    "schema",
    "private_keyboard",
    "certificate",
    "database",
    "description",
    "environment_name",
    "key_path",
    "key_file",
    "key_type",
    "secret_name_prefixes",
    "secret_arn",
    "token_type",
    "credentials_path",
    "cookie_policy",
    "partition_expr",
    "dagster/uri",
    "idempotency_key",
]
OTHER_NAMES.remove("secret_name_prefixes")


@pytest.mark.parametrize("name", SECRET_NAMES)
def test_names_of_secrets(name):
    assert is_secret_name(name)
    assert masked({name: "x"}) == {name: HIDDEN}
    assert masked({"a": [{name: {"b": 1}}]}) == {"a": [{name: {"b": HIDDEN}}]}


@pytest.mark.parametrize("name", OTHER_NAMES)
def test_names_of_other_things(name):
    assert not is_secret_name(name)
    assert masked({name: "x"}) == {name: "x"}


SECRET_TEXTS = {
    "postgresql://u:p@host/db": "postgresql://u:(hidden)@host/db",
    "postgresql+psycopg2://user:pa:ss@w/o?rd@host:5432/db?x=1": (
        "postgresql+psycopg2://user:(hidden)@host:5432/db?x=1"
    ),
    "redis://:hunter2@cache:6379/0": "redis://:(hidden)@cache:6379/0",
    "see mongodb://u:p@a,b/c and (amqp://g:q@h)": (
        "see mongodb://u:(hidden)@a,b/c and (amqp://g:(hidden)@h)"
    ),
    "https://ghp_abcdefghijklmnopqrstuvwxyz0123456789@github.com/a/b": (
        "https://(hidden)@github.com/a/b"
    ),
    "DefaultEndpointsProtocol=https;AccountName=a;AccountKey=ab+c/d==;EndpointSuffix=x": (
        "DefaultEndpointsProtocol=https;AccountName=a;AccountKey=(hidden);EndpointSuffix=x"
    ),
    "Server=db;User ID=sa;Password=my pass word;Encrypt=yes": (
        "Server=db;User ID=sa;Password=(hidden);Encrypt=yes"
    ),
    "Server=db;Uid=sa;Pwd={a b};": "Server=db;Uid=sa;Pwd=(hidden);",
    "host=db user=me password='it is' dbname=x": "host=db user=me password='(hidden)' dbname=x",
    "host=db user=me password=hunter2 dbname=x": "host=db user=me password=(hidden) dbname=x",
    "Authorization: Bearer x": "Authorization: Bearer (hidden)",
    "authorization: Basic dTpw": "authorization: Basic (hidden)",
    "curl -H 'Authorization: Token abc def' x": "curl -H 'Authorization: Token (hidden)' x",
    "X-Api-Key: abc": "X-Api-Key: (hidden)",
    "Bearer abc": "Bearer (hidden)",
    "sent as bearer a1b2c3d4e5f6": "sent as bearer (hidden)",
    "the password=hunter2 of it": "the password=(hidden) of it",
    "password: hunter2": "password: (hidden)",
    '{"password": "x", "a": 1}': '{"a": 1, "password": "(hidden)"}',
    '{"pin_secret": 1234}': '{"pin_secret": "(hidden)"}',
    'x {"password": "x y", "a": 1}': 'x {"password": "(hidden)", "a": 1}',
    '"{\\"password\\": \\"x\\"}"': '"{\\"password\\": \\"(hidden)\\"}"',
    "{'api_key': 'x'}": "{'api_key': '(hidden)'}",
    "mysql --user me --password hunter2 -h db": "mysql --user me --password (hidden) -h db",
    "mysql --password=hunter2": "mysql --password=(hidden)",
    "https://a/b?c=d&sig=ab%2Bc&e=f": "https://a/b?c=d&sig=(hidden)&e=f",
    "https://a/b?X-Amz-Signature=abc&e=f": "https://a/b?X-Amz-Signature=(hidden)&e=f",
    "https://a/b?key=abc": "https://a/b?key=(hidden)",
    "AWS_SECRET_ACCESS_KEY=abc python x.py": "AWS_SECRET_ACCESS_KEY=(hidden) python x.py",
    "a eyJhbGciOiJIUzI1NiJ9.eyJzdWIiOiIxIn0.c2lnbmF0dXJl b": "a (hidden) b",
    "AKIAIOSFODNN7EXAMPLE": "(hidden)",
    "ghp_abcdefghijklmnopqrstuvwxyz0123456789": "(hidden)",
    "-----BEGIN RSA PRIVATE KEY-----\nabc\n-----END RSA PRIVATE KEY-----": (
        "-----BEGIN RSA PRIVATE KEY-----(hidden)-----END RSA PRIVATE KEY-----"
    ),
    "-----BEGIN PRIVATE KEY-----\nabc": "-----BEGIN PRIVATE KEY-----(hidden)",
    "https://hooks.slack.com/services/T0/B0/abc": "https://hooks.slack.com/services/(hidden)",
}  # fmt: skip

OTHER_TEXTS = [
    "",
    "Settle the day before yesterday.",
    "https://host:8080/path@v2?sort_key=a&partition_key=b",
    "postgresql://host:5432/db",
    "postgresql://user@host/db",
    "ssh://git@github.com/a/b.git",
    "The primary_key=id of the table; sort_key=at",
    "select * from tokens where key in (1, 2)",
    "Holds the key: a number that nobody else has.",
    "Bearer of bad news is the third word here",
    "monkey=1 keyboard=2 author=me",
    "max_tokens=4096",
    "SELECT a=b; c=d",
    "-----BEGIN CERTIFICATE-----\nabc\n-----END CERTIFICATE-----",
    '{"partition_key": "a", "b": [1, 2.5, null, true]}',
    "[1, 2",
    "12:30:00 at /path/to/file:12",
    "passes through the gateway --verbose on",
    "s3://bucket/key=value/part=1",
]
OTHER_TEXTS.remove(
    "s3://bucket/key=value/part=1"
)  # a partition named "key" is hidden: it may be one


@pytest.mark.parametrize("text", SECRET_TEXTS)
def test_texts_with_secrets(text):
    shown = SECRET_TEXTS[text]
    assert masked_text(text) == shown
    assert masked_text(shown) == shown
    assert masked({"note": [text]}) == {"note": [shown]}


@pytest.mark.parametrize("text", OTHER_TEXTS)
def test_texts_without(text):
    assert masked_text(text) == text


def test_variables_and_what_stands_below_a_secret():
    given = {
        "image": "team:1",
        "env_vars": ["A=1", "B"],
        "environment": "production",
        "container_context": {
            "k8s": {"env_vars": [{"name": "C", "value": "x"}], "env": {"D": "y"}},
            "pwd": "z",
        },
        "api_tokens": ["a", 1, {"b": [True, None, ""]}],
        "command": ["run", "--password", "hunter2", "--verbose", "on"],
        "secrets": {},
    }
    shown = {
        "image": "team:1",
        "env_vars": ["A=(hidden)", "B"],
        "environment": "production",
        "container_context": {
            "k8s": {"env_vars": [{"name": "C", "value": "(hidden)"}], "env": {"D": "(hidden)"}},
            "pwd": "(hidden)",
        },
        "api_tokens": ["(hidden)", "(hidden)", {"b": ["(hidden)", None, ""]}],
        "command": ["run", "--password", "(hidden)", "--verbose", "on"],
        "secrets": {},
    }
    assert masked(given) == shown
    assert masked(shown) == shown


def test_a_definition_is_masked_where_its_author_chose_the_names():
    given = {
        "kind": "job",
        "name": "secret",
        "asset_key": ["password", "key"],
        "description": "runs against postgresql://u:p@h/d",
        "metadata": {"key": "k", "dsn": "postgresql://u:p@h/d", "rows": 3},
        "tags": {"team": "risk", "token": "t"},
        "run_tags": {"pwd": "t"},
        "config": [
            {"name": "password", "type": "String", "default": '"x"'},
            {"name": "api_key", "type": "String", "default": '{"env": "API_KEY"}'},
            {"name": "limit", "type": "Int", "default": "10"},
            {"name": "db", "type": "Shape", "default": '{"host": "h", "pwd": "p"}',
             "fields": [{"name": "pwd", "type": "String", "default": '"p"'}]},
        ],
        "graph": {"nodes": [{"name": "n", "kind": "op", "tags": {"secret": "s"},
                             "graph": {"nodes": [{"name": "m", "kind": "op",
                                                  "config": [{"name": "key", "default": '"k"'}]}]}}]},
    }  # fmt: skip
    before = json.dumps(given)
    assert definition(given) == {
        **given,
        "description": "runs against postgresql://u:(hidden)@h/d",
        "metadata": {"key": HIDDEN, "dsn": "postgresql://u:(hidden)@h/d", "rows": 3},
        "tags": {"team": "risk", "token": HIDDEN},
        "run_tags": {"pwd": HIDDEN},
        "config": [
            {"name": "password", "type": "String", "default": '"(hidden)"'},
            {"name": "api_key", "type": "String", "default": '{"env": "API_KEY"}'},
            {"name": "limit", "type": "Int", "default": "10"},
            {"name": "db", "type": "Shape", "default": '{"host": "h", "pwd": "(hidden)"}',
             "fields": [{"name": "pwd", "type": "String", "default": '"(hidden)"'}]},
        ],
        "graph": {"nodes": [{"name": "n", "kind": "op", "tags": {"secret": HIDDEN},
                             "graph": {"nodes": [{"name": "m", "kind": "op",
                                                  "config": [{"name": "key", "default": '"(hidden)"'}]}]}}]},
    }  # fmt: skip
    assert json.dumps(given) == before
    assert definition(definition(given)) == definition(given)


@pytest.mark.parametrize(
    "piece",
    ["a", "key=", "a://b:", "a://b:c@", "eyJ", "eyJaaaaa.", "password ", '"', '\\"', "-----BEGIN PRIVATE KEY-----",
     "authorization: ", "--token ", ";a=", "bearer a", "{[", "\n key : "],
)  # fmt: skip
def test_no_text_takes_long(piece):
    text = "password=" + (piece * 16384)[:16384] + "@"
    begun = time.thread_time()
    masked_text(text)
    assert time.thread_time() - begun < 2.0, "processor seconds for 16 KiB"


TEAM = """
from runner_shim import Definitions, Field, asset, job, op

@op(config_schema={"password": Field(str, default_value="hunter2-a"), "rows": Field(int, default_value=3)})
def read(context):
    pass

@job(tags={"access_key": "hunter2-b"}, metadata={
    "pwd": "hunter2-c", "auth": {"user": "u", "x": "hunter2-d"}, "key": "hunter2-e", "bearer": "hunter2-f",
    "dsn": "postgresql://u:hunter2-g@host/db", "note": "password=hunter2-h and Authorization: Bearer hunter2-i",
    "account": "AccountName=a;AccountKey=hunter2-j;", "partition_key": "seen-partition"})
def nightly():
    "Reads postgresql://u:hunter2-k@host/db."
    read()

@asset(metadata={"json": '{"password": "hunter2-l", "seen-json": 1}'})
def table():
    pass

defs = Definitions(jobs=[nightly], assets=[table])
"""


@pytest.mark.slow
def test_no_face_shows_a_secret_and_no_file_holds_one(tmp_path, runtime):
    workspace = make_workspace(tmp_path, {"a.py": TEAM})
    text = workspace.read_text()
    elsewhere = {
        "grpc_server": {
            "host": "h", "port": 1, "location_name": "b",
            "additional_metadata": {"pwd": "hunter2-m", "url": "redis://:hunter2-n@h", "seen-remote": 1},
        }
    }  # fmt: skip
    workspace.write_text(f"{text}- {json.dumps(elsewhere)}\n")
    with foreground(tmp_path, runtime) as running:
        running.until(lambda line: "a: ready" in line)
        said = ""
        for arguments in (
            ("status", "--json"), ("status", "a"), ("status", "b"), ("status", "b", "--json"), ("list",),
            ("show", "a", "nightly"), ("show", "a", "nightly", "--json"), ("show", "a", "table", "--json"),
            ("snapshot", "a"), ("history", "a", "--json"),
        ):  # fmt: skip
            done = running.run(*arguments)
            assert done.returncode == 0, done.stderr
            said += done.stdout + done.stderr
        for seen in ("seen-partition", "seen-json", "seen-remote", "u:(hidden)@host"):
            assert seen in said
        assert "hunter2" not in said
        (tmp_path / "a.py").write_text(
            TEAM.replace("seen-json", "now-json").replace("hunter2", "hunter2-new")
        )
        running.until(lambda line: "a: ready" in line)
        done = running.run("diff", "a", "-v")
        assert "now-json" in done.stdout
        assert "hunter2" not in done.stdout
    kept = [path for path in (tmp_path / ".supervise").rglob("*") if path.is_file()]
    assert any(path.name == "snapshots.db" for path in kept)
    assert [path for path in kept if b"hunter2" in path.read_bytes()] == []
