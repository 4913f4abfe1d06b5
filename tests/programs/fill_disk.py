"""Makes an environment or an overlay below ``argv[2]`` and says how that failed."""

from __future__ import annotations

import json
import os
import sys
from pathlib import Path

import envs

what, place, *requirements = sys.argv[1:]
environ = dict(os.environ)
try:
    if what == "environment":
        store = envs.EnvironmentStore(Path(place) / ".supervise" / "envs", environ=environ)
        store.sync(
            envs.EnvironmentRequest(
                name="ml",
                python=f"{sys.version_info[0]}.{sys.version_info[1]}",
                requirements=tuple(requirements),
            )
        )
    else:
        interpreter = envs.probe(sys.executable, environ=environ)
        envs.ensure_overlay(interpreter, environ=environ, cache_dir=Path(place) / "overlays")
except envs.EnvError as error:
    print(json.dumps([error.kind, error.message, error.hint]))
else:
    print(json.dumps(["made", "", None]))
