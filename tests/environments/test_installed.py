"""Installed distributions, from the names of their metadata directories."""

from __future__ import annotations

from pathlib import Path

from envs.installed import distributions


def test_names_and_versions_of_one_python(tmp_path: Path) -> None:
    site = tmp_path / "lib" / "python3.8" / "site-packages"
    other = tmp_path / "lib" / "python3.9" / "site-packages"
    for name in (
        "pandas-1.5.3.dist-info",
        "ruamel.yaml-0.17.0.dist-info",
        "Typing_Extensions-4.0+local.dist-info",
        "old_style-2.0-py3.8.egg-info",
        "in-development.egg-info",
        "no_package",
        ".dist-info",
    ):
        (site / name).mkdir(parents=True)
    (other / "numpy-2.0.dist-info").mkdir(parents=True)
    assert distributions(tmp_path, "3.8.18") == [
        {"name": "in-development", "version": ""},
        {"name": "old-style", "version": "2.0"},
        {"name": "pandas", "version": "1.5.3"},
        {"name": "ruamel-yaml", "version": "0.17.0"},
        {"name": "typing-extensions", "version": "4.0+local"},
    ]
    assert [one["name"] for one in distributions(tmp_path, "3.9.0")] == ["numpy"]
    assert distributions(tmp_path / "none", "3.9.0") == []
