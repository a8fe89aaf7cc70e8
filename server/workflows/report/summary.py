"""The measurements of a report as lines for people: DiagnosticReport.text."""

from collections.abc import Iterator, Sequence
from typing import Any

Json = Any

MAX_LINES = 50  # of a narrative; the Observations have them all


def summary_lines(observations: Sequence[dict[str, Json]]) -> list[str]:
    """One line per Observation that has a value or says why not, as "where, what: value"."""
    lines = [line for each in observations if (line := _line(each)) is not None]
    if len(lines) > MAX_LINES:
        lines = [*lines[:MAX_LINES], f"… and {len(lines) - MAX_LINES} more."]
    return lines


def _line(observation: dict[str, Json]) -> str | None:
    if "hasMember" in observation:
        return None
    said = next(_values(observation), None)
    if said is None:
        return None
    where = observation.get("bodySite", {}).get("text")
    what = ", ".join([observation["code"]["text"], *_qualifiers(observation)])
    return f"{where}, {what}: {said}" if where else f"{what}: {said}"


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
