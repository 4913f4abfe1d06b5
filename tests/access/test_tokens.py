"""Tokens: made, found, expired, revoked; and a file that cannot be believed."""

from __future__ import annotations

import json
from concurrent.futures import ThreadPoolExecutor

import pytest

from supervisor.access.tokens import PREFIX, TokenFile
from supervisor.errors import ConfigurationError


def test_a_token_is_found_by_its_secret_alone(tmp_path):
    tokens = TokenFile(tmp_path)
    assert tokens.find("sup_anything", 0.0) is None
    secret = tokens.add("ci", "editor", ("risk*",), None)
    assert secret.startswith(PREFIX)
    found = tokens.find(secret, 0.0)
    assert found is not None
    assert (found.name, found.role, found.locations) == ("ci", "editor", ("risk*",))
    assert tokens.find(secret + "x", 0.0) is None
    assert tokens.find(found.hash, 0.0) is None


def test_the_secret_is_kept_nowhere(tmp_path):
    secret = TokenFile(tmp_path).add("ci", "viewer", ("*",), None)
    file = tmp_path / "tokens.json"
    assert secret not in file.read_text()
    assert secret.removeprefix(PREFIX) not in file.read_text()
    assert file.stat().st_mode & 0o777 == 0o600


def test_one_that_expired_or_was_revoked_is_found_no_more(tmp_path):
    reader, writer = TokenFile(tmp_path), TokenFile(tmp_path)
    brief = writer.add("brief", "viewer", ("*",), 100.0)
    lasting = writer.add("lasting", "viewer", ("*",), None)
    assert reader.find(brief, 99.9) is not None
    assert reader.find(brief, 100.0) is None
    assert reader.find(lasting, 1e12) is not None
    writer.revoke("lasting")
    assert reader.find(lasting, 0.0) is None
    assert [one.name for one in reader.all()] == ["brief"]


def test_many_that_add_at_once_lose_none(tmp_path):
    with ThreadPoolExecutor(8) as pool:
        list(
            pool.map(lambda n: TokenFile(tmp_path).add(f"t{n}", "viewer", ("*",), None), range(40))
        )
    assert len(TokenFile(tmp_path).all()) == 40


@pytest.mark.parametrize(
    ("name", "words"),
    [("ci", "ci has a token already"), ("../x", "cannot be a token's name"), ("", "cannot be")],
)
def test_names_that_are_refused(name, words, tmp_path):
    tokens = TokenFile(tmp_path)
    tokens.add("ci", "viewer", ("*",), None)
    with pytest.raises(ConfigurationError, match=words):
        tokens.add(name, "viewer", ("*",), None)


def test_revoking_what_is_not_there_says_what_is(tmp_path):
    tokens = TokenFile(tmp_path)
    tokens.add("ci", "viewer", ("*",), None)
    with pytest.raises(ConfigurationError, match="no token is named 'c1'") as raised:
        tokens.revoke("c1")
    assert raised.value.hint == "there is ci"


@pytest.mark.parametrize(
    "text",
    [
        "",
        "{}",
        "[]",
        '{"tokens": [1]}',
        '{"tokens": [{"name": "a"}]}',
        json.dumps(
            {"tokens": [{"name": "a", "hash": "b", "role": 3, "locations": [], "created": 1}]}
        ),
        json.dumps(
            {"tokens": [{"name": "a", "hash": "b", "role": "x", "locations": [1], "created": 1}]}
        ),
    ],
)
def test_a_file_that_is_no_list_of_tokens_is_an_error_and_lets_nobody_in(text, tmp_path):
    (tmp_path / "tokens.json").write_text(text)
    (tmp_path / "tokens.json").chmod(0o600)
    with pytest.raises(ConfigurationError, match="no list of tokens"):
        TokenFile(tmp_path).find("sup_x", 0.0)


def test_a_file_that_others_may_write_is_not_believed(tmp_path):
    secret = TokenFile(tmp_path).add("ci", "viewer", ("*",), None)
    (tmp_path / "tokens.json").chmod(0o666)
    with pytest.raises(ConfigurationError, match="others than you may write it"):
        TokenFile(tmp_path).find(secret, 0.0)
