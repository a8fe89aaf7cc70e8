"""The generated structures are what the tool wrote from its pinned sources."""

import hashlib
import importlib.util
import json
from pathlib import Path
from typing import Any

import pytest
import zstandard

from fhir.model.validation.definitions import constraint_of, resource_types, structure_of

ROOT = Path(__file__).parents[3]


@pytest.fixture(scope="module")
def document() -> Any:
    packed = (ROOT / "fhir/definitions/structures.json.zst").read_bytes()
    return json.loads(zstandard.ZstdDecompressor().decompress(packed))


@pytest.fixture(scope="module")
def tool() -> Any:
    spec = importlib.util.spec_from_file_location("tool", ROOT / "tools/generate_fhir_structures.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def test_nobody_changed_the_file_by_hand(document: Any, tool: Any) -> None:
    content = {k: v for k, v in document.items() if k not in ("fhirVersion", "sources", "sha256")}
    assert tool.digest_of(content) == document["sha256"]
    assert document["sources"] == {name: digest for name, (digest, _) in tool.SOURCES.items()}


def test_a_source_that_differs_from_its_pin_is_refused(tool: Any, tmp_path: Path) -> None:
    (tmp_path / next(iter(tool.SOURCES))).write_bytes(b"something else")
    with pytest.raises(SystemExit, match="digest differs"):
        tool.source(tmp_path, 0)


def test_every_type_decodes_and_refers_to_known_types(document: Any) -> None:
    for name in document["types"]:
        structure = structure_of(name)
        for below, elements in structure.elements.items():
            for element in elements:
                assert element.types or element.same_as, (name, below, element.name)
                for type_ in element.types:
                    assert type_.structure in document["types"]
                    assert set(type_.targets) <= resource_types()
                for key in element.constraints:
                    assert constraint_of(key, name)


def test_the_resources_are_those_of_r4() -> None:
    assert len(resource_types()) == 146
    assert {"ImagingStudy", "Bundle", "Binary", "Parameters"} <= resource_types()
    assert not {"DomainResource", "Resource", "SubscriptionStatus", "ImagingSelection"} & resource_types()


def test_nothing_of_r5_slipped_in() -> None:
    elements = {
        name: {e.name for e in structure_of(name).elements[""]}
        for name in ("Meta", "Binary", "ResearchStudy")
    }
    assert "accounts" not in elements["Meta"]
    assert "url" not in elements["Binary"]
    assert "associatedParty" not in elements["ResearchStudy"]


def test_the_digest_depends_on_the_content(tool: Any) -> None:
    assert tool.digest_of({"a": 1}) != tool.digest_of({"a": 2})
    assert len(tool.digest_of({})) == len(hashlib.sha256().hexdigest())
