"""The generated definitions come from the pinned package, and from nothing else."""

import json

import orjson

from fhir.search.definitions import (
    DEFINITIONS,
    compartment_codes,
    own_search_parameters,
    parameters_of,
    resource_types,
    unsupported_codes,
)
from tools import generate_fhir_search as generator

FILE = DEFINITIONS / "search_parameters.json"


def test_source_is_the_pinned_package() -> None:
    source = orjson.loads(FILE.read_bytes())["source"]
    assert (source["package"], source["version"], source["integrity"]) == (
        generator.PACKAGE,
        generator.VERSION,
        generator.INTEGRITY,
    )


def test_rendering_is_stable() -> None:
    content = json.loads(FILE.read_text(encoding="utf-8"))
    assert generator.render(content) == FILE.read_text(encoding="utf-8")


def test_contents() -> None:
    assert len(resource_types()) == 146  # R4's 148 without the abstract Resource and DomainResource
    assert "SubscriptionStatus" not in resource_types()
    assert unsupported_codes() == {"_content", "_query", "_text", "near", "phonetic"}
    assert compartment_codes("Observation") == ("subject", "performer")
    assert compartment_codes("Device") == ()
    assert "_profile" in parameters_of("Device")


def test_numbers_go_on_after_the_last() -> None:
    numbers = generator.known_numbers()
    entries = [{"code": "new"}, {"code": "identifier"}]
    generator.number_all("Patient", entries, numbers)
    assert entries[0]["number"] == numbers[""] + 1
    assert entries[1]["number"] == parameters_of("Patient")["identifier"].number


def test_own_parameter_is_published_and_indexed() -> None:
    (own,) = own_search_parameters()
    known = parameters_of("DiagnosticReport")["imaging-study"]
    assert (known.url, known.expression, known.targets) == (own["url"], own["expression"], ("ImagingStudy",))
