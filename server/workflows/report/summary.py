"""A report as lines for people: DiagnosticReport.text."""

from collections.abc import Iterator, Sequence
from itertools import islice
from typing import Any

from dicomweb.attributes import DicomJson
from dicomweb.render.report import Line, lines_of
from fhir.model import systems
from server.workflows.report.concepts import PROBABILITY

Json = Any

MAX_LINES = 50  # of a narrative; the Observations, or the document, have them all
MAX_LINE_CHARACTERS = 1_000  # of an item of a document; the page has it whole


def prose_lines(document: DicomJson) -> list[str]:
    """The items of a document that say something, in its order, as "what: value"."""
    said = (f"{line.name}: {line.value}" if line.name else line.value for line in _said(document))
    lines = [text[:MAX_LINE_CHARACTERS] for text in islice(said, MAX_LINES + 1)]
    return [*lines[:MAX_LINES], "…"] if len(lines) > MAX_LINES else lines


def _said(document: DicomJson) -> Iterator[Line]:
    return (line for line in lines_of(document) if line.value)


def summary_lines(observations: Sequence[dict[str, Json]]) -> list[str]:
    """One line per Observation that has a value or says why not, as "where, what: value"."""
    lines = [line for each in observations if (line := _line(each)) is not None]
    if len(lines) > MAX_LINES:
        lines = [*lines[:MAX_LINES], f"… and {len(lines) - MAX_LINES} more."]
    return lines


def _line(observation: dict[str, Json]) -> str | None:
    likely = _likelihood(observation)
    said = next(_values(observation), None)
    if said is None or ("hasMember" in observation and not likely):
        return None
    said += likely
    where = observation.get("bodySite", {}).get("text")
    what = ", ".join([observation["code"]["text"], *_qualifiers(observation)])
    return f"{where}, {what}: {said}" if where else f"{what}: {said}"


def _likelihood(observation: dict[str, Json]) -> str:
    """How probable a finding is, in brackets; empty: it does not say."""
    said = (
        f"{each['code']['text']} {each['valueQuantity']['value']}"
        for each in observation.get("component", ())
        if "valueQuantity" in each and _is_probability(each["code"])
    )
    return "".join(f" ({text})" for text in said)


def _is_probability(code: dict[str, Json]) -> bool:
    value, _ = PROBABILITY
    codings = code.get("coding", ())
    return any(each.get("system") == systems.DICOM and each.get("code") == value for each in codings)


def _qualifiers(observation: dict[str, Json]) -> Iterator[str]:
    """What a reader must know to tell two values apart: Mean, Maximum, …"""
    for component in observation.get("component", ()):
        if "valueCodeableConcept" in component:
            yield component["valueCodeableConcept"]["text"]


def _values(observation: dict[str, Json]) -> Iterator[str]:
    if quantity := observation.get("valueQuantity"):
        unit = quantity.get("code", quantity.get("unit"))
        bare = unit is None or unit == "1" or unit.startswith("{")
        yield f"{quantity['value']}" if bare else f"{quantity['value']} {unit}"
    if code := observation.get("valueCodeableConcept"):
        yield code["text"]
    if text := observation.get("valueString"):
        yield text
    if reason := observation.get("dataAbsentReason"):
        yield f"not measured ({reason.get('text', 'no reason given')})"
