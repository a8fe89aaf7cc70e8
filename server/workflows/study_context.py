"""Why a study was made, what was done and by whom, as its attributes say (PS3.3 C.7.2.1, C.7.3.1, 10.6)."""

from collections.abc import Iterable, Sequence
from typing import Any

from dicomweb.attributes import DicomJson
from dicomweb.wire.dicom_json import items_of, name_text, text_of, values_of
from fhir.model.builders.datatypes import concept
from fhir.model.builders.dicom_values import practitioner
from server.workflows.report.coding import Schemes
from server.workflows.report.content import concepts_of

Json = Any

MAX_PERSONS = 10  # of one attribute that an ImagingStudy names
MAX_CODES = 10


def procedures_of(study: DicomJson, series: Iterable[DicomJson]) -> list[dict[str, Json]]:
    """What was done: as performed, else as requested."""
    return _codes(study, "ProcedureCodeSequence") or _requested(series, "RequestedProcedureCodeSequence")


def reasons_of(study: DicomJson, series: Sequence[DicomJson]) -> list[dict[str, Json]]:
    """Why: as performed, else as requested, in codes or in words."""
    coded = _codes(study, "ReasonForPerformedProcedureCodeSequence") or _requested(
        series, "ReasonForRequestedProcedureCodeSequence"
    )
    return coded or _words(series, "ReasonForTheRequestedProcedure")


def persons_of(data_set: DicomJson, *keywords: str) -> list[dict[str, Json]]:
    """The people that attributes of VR PN name, each once."""
    names = [
        name_text(value)
        for keyword in keywords
        for value in values_of(data_set, keyword)[:MAX_PERSONS]
        if isinstance(value, dict)
    ]
    return [practitioner(name) for name in dict.fromkeys(names) if name.strip("^= ")]


def _codes(data_set: DicomJson, keyword: str) -> list[dict[str, Json]]:
    schemes = Schemes(data_set)
    return [schemes.codeable(each) for each in concepts_of(data_set, keyword)[:MAX_CODES]]


def _requested(series: Iterable[DicomJson], keyword: str) -> list[dict[str, Json]]:
    """Codes of the requests that the series fulfil, each once."""
    found: list[dict[str, Json]] = []
    for request in _requests(series):
        found += [code for code in _codes(request, keyword) if code not in found]
    return found[:MAX_CODES]


def _words(series: Iterable[DicomJson], keyword: str) -> list[dict[str, Json]]:
    texts = (" ".join(text_of(request, keyword).split()) for request in _requests(series))
    return [concept(text=text) for text in dict.fromkeys(text for text in texts if text)][:MAX_CODES]


def _requests(series: Iterable[DicomJson]) -> Iterable[DicomJson]:
    return (request for each in series for request in items_of(each, "RequestAttributesSequence"))
