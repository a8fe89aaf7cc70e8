"""In which form a code system, or definitions, are given; found out by the names of files."""

from collections.abc import Iterator
from enum import StrEnum
from pathlib import Path
from typing import Any

from fhir.bundles.files import LINES, read_parts
from fhir.model.json_codec import InvalidJson, decode_json
from fhir.packages import read_package
from server.kernel.faults import Fault, FaultKind
from terminology.loading.files import ReleaseFiles

Json = Any

MAX_DEFINITION_BYTES = 256 << 20  # of a file with one definition: ICD-10-CM has 30 MB
_PACKAGES = (".tgz", ".tar.gz")
_RESOURCES = frozenset({".json", *LINES})


class NotImportable(Fault):
    """A file that cannot be imported; says which, and why."""

    kind = FaultKind.INVALID


class Form(StrEnum):
    """What `--as` names."""

    SNOMED = "snomed"
    LOINC = "loinc"
    PACKAGE = "package"
    RESOURCES = "resources"


def recognise(path: Path) -> Form:
    """The form of a file or folder.

    Raises:
        NotImportable: it is none that is known.
    """
    if path.is_file() and path.name.lower().endswith(_PACKAGES):
        return Form.PACKAGE
    if path.is_file() and path.suffix.lower() in _RESOURCES:
        return Form.RESOURCES
    with ReleaseFiles(path) as files:
        names = [name.rpartition("/")[2] for name in files.names]
    if any(name.startswith(("sct2_Concept_", "xsct2_Concept_")) for name in names):
        return Form.SNOMED
    if "Loinc.csv" in names:
        return Form.LOINC
    raise NotImportable(
        f"{path}: this is no FHIR package (.tgz), no JSON or NDJSON of resources, and neither a release of"
        " SNOMED CT (RF2) nor of LOINC. Say --as what it is."
    )


def read_definitions(form: Form, path: Path) -> Iterator[tuple[str, Json]]:
    """Resources with the place where they stand.

    Raises:
        NotImportable: the file is damaged, or not what it is said to be.
    """
    if form is Form.PACKAGE:
        yield from ((each.file, each.resource) for each in read_package(path, MAX_DEFINITION_BYTES))
        return
    if path.stat().st_size > MAX_DEFINITION_BYTES:
        raise NotImportable(f"{path.name}: it has more than {MAX_DEFINITION_BYTES} bytes.")
    try:
        for part in read_parts(path):
            resource = decode_json(part.text)
            if resource.get("resourceType") != "Bundle":
                yield part.place, resource
                continue
            for number, entry in enumerate(resource.get("entry", ())):
                if isinstance(entry.get("resource"), dict):
                    yield f"{part.place}, entry[{number}]", entry["resource"]
    except (InvalidJson, AttributeError) as problem:
        raise NotImportable(f"{path.name}: this is no JSON of resources: {problem}") from None
