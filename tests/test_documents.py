"""What is made from the declarations of documents: the tables of docs/protocol.md, and no late start."""

from __future__ import annotations

import importlib.util
import subprocess
import sys

from places import ROOT

from supervisor.protocol.document_modules import CONTROL_DOCUMENTS
from supervisor.protocol.document_schema import components
from supervisor.web import documents as api_documents


def test_the_tables_of_the_protocol_are_those_of_the_declarations() -> None:
    spec = importlib.util.spec_from_file_location("generate", ROOT / "docs" / "generate.py")
    assert spec is not None
    assert spec.loader is not None
    generate = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(generate)
    text = generate.PAGE.read_text()
    assert generate.generated(text) == text, "run: python docs/generate.py"


def test_every_document_and_every_field_says_what_it_is() -> None:
    for name, schema in components(*CONTROL_DOCUMENTS, api_documents).items():
        assert schema["description"], name
        assert schema["properties"], name
        for field, one in schema["properties"].items():
            assert one["description"], f"{name}.{field}"


def test_no_command_waits_for_the_declarations() -> None:
    code = (
        "import sys, supervisor.cli.status, supervisor.cli.control, supervisor.client.client\n"
        "print(*(one for one in sys.modules if 'document' in one))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert not {"supervisor.protocol.documents", "supervisor.protocol.document_schema"} & set(
        done.stdout.split()
    )
