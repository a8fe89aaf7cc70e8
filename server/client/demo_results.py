"""What came back for a study, asked for as any client would: UPS-RS, QIDO-RS, FHIR search."""

import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import httpx

from server.kernel.faults import Fault, FaultKind

Json = Mapping[str, Any]

POLL_S = 0.4
FINAL = frozenset({"COMPLETED", "CANCELED"})  # Procedure Step State, PS3.4 CC.1.1
MAX_PAGES = 20  # of one search
SPOKEN_UNITS = {"[hnsf'U]": "HU", "1": ""}  # UCUM codes that people do not read

STATE = "00741000"
PROGRESS_INFORMATION = "00741002"
PROGRESS = "00741004"
PROGRESS_DESCRIPTION = "00741006"
CANCELLATION_REASON = "00741238"
DISCONTINUATION_CODES = "0074100E"
CODE_MEANING = "00080104"
LABEL = "00741204"
SOP_INSTANCE_UID = "00080018"
SERIES_INSTANCE_UID = "0020000E"
SERIES_DESCRIPTION = "0008103E"
MODALITY = "00080060"


class NoAnswer(Fault):
    """The server answered a question of the demo with an error."""

    kind = FaultKind.INTERNAL


@dataclass(frozen=True, slots=True)
class Workitem:
    """A Unified Procedure Step, as far as the demo tells of it."""

    uid: str
    label: str
    state: str
    progress: float  # per cent
    description: str
    reason: str  # of a cancellation; "": none stated

    @property
    def has_ended(self) -> bool:
        """Whether its state is final."""
        return self.state in FINAL


@dataclass(frozen=True, slots=True)
class FoundInstance:
    """One row of QIDO-RS."""

    modality: str
    sop_instance_uid: str
    series_instance_uid: str
    description: str


@dataclass(frozen=True, slots=True)
class Measured:
    """One Observation, in words."""

    name: str
    value: str
    unit: str
    where: str
    is_group: bool = False  # it names what the lines after it were measured on


@dataclass(frozen=True, slots=True)
class Report:
    """The DiagnosticReport of a study, with the Observations it refers to."""

    id: str
    status: str
    conclusion: str
    patient: str  # the reference, "Patient/…"
    measured: tuple[Measured, ...]
    not_measured: Mapping[str, Sequence[str]]  # reason → names
    observations: int


def follow_workitems(
    http: httpx.Client, study_instance_uid: str, *, appear_s: float, end_s: float
) -> Iterator[tuple[Workitem, ...]]:
    """The study's workitems, again and again until all have ended; none at all: no model wants the study.

    Raises:
        NoAnswer: the server fails, or the workitems have not ended after `end_s`.
    """
    started = time.monotonic()
    while True:
        workitems = tuple(workitems_of(http, study_instance_uid))
        yield workitems
        waited = time.monotonic() - started
        if workitems and all(workitem.has_ended for workitem in workitems):
            return
        if not workitems and waited > appear_s:
            return
        if waited > end_s:
            raise NoAnswer(f"The analysis has not ended after {end_s:.0f} s.")
        time.sleep(POLL_S)


def workitems_of(http: httpx.Client, study_instance_uid: str) -> Iterator[Workitem]:
    """The study's workitems by UPS-RS (PS3.18 §11.9), newest first."""
    for item in _get(http, "/dicom-web/workitems", {"StudyInstanceUID": study_instance_uid}) or ():
        said: Json = next(iter(_values(item, PROGRESS_INFORMATION)), {})
        code: Json = next(iter(_values(said, DISCONTINUATION_CODES)), {})
        yield Workitem(
            uid=_text(item, SOP_INSTANCE_UID),
            label=_text(item, LABEL),
            state=_text(item, STATE),
            progress=float(_text(said, PROGRESS) or 0),
            description=_text(said, PROGRESS_DESCRIPTION),
            reason=_text(said, CANCELLATION_REASON) or _text(code, CODE_MEANING),
        )


def describe_instances(rows: Sequence[Json]) -> list[FoundInstance]:
    """Rows of a QIDO-RS search for instances."""
    return [
        FoundInstance(
            _text(row, MODALITY),
            _text(row, SOP_INSTANCE_UID),
            _text(row, SERIES_INSTANCE_UID),
            _text(row, SERIES_DESCRIPTION),
        )
        for row in rows
    ]


def find_reports(http: httpx.Client, study_instance_uid: str, *, wait_s: float) -> list[Report]:
    """The study's reports by FHIR search; waits a moment for the projection of the study to follow."""
    study = _until(lambda: _find_study(http, study_instance_uid), wait_s)
    if study is None:
        return []
    parameters = {"imaging-study": f"ImagingStudy/{study['id']}"}
    return [_report(http, resource) for resource in search(http, "DiagnosticReport", parameters)]


def search(http: httpx.Client, resource_type: str, parameters: Mapping[str, str]) -> Iterator[Json]:
    """Every match of a FHIR search, over its pages (FHIR R4 search.html)."""
    bundle = _get(http, f"/fhir/{resource_type}", parameters)
    for _ in range(MAX_PAGES):
        for entry in bundle.get("entry", ()):
            if entry.get("search", {}).get("mode", "match") == "match":
                yield entry["resource"]
        following = [link["url"] for link in bundle.get("link", ()) if link["relation"] == "next"]
        if not following:
            return
        bundle = _get(http, following[0], {})


def _find_study(http: httpx.Client, study_instance_uid: str) -> Json | None:
    identifier = {"identifier": f"urn:dicom:uid|urn:oid:{study_instance_uid}"}
    return next(search(http, "ImagingStudy", identifier), None)


def _report(http: httpx.Client, resource: Json) -> Report:
    patient = resource.get("subject", {}).get("reference", "")
    wanted = {result["reference"] for result in resource.get("result", ())}
    observations = search(http, "Observation", {"patient": patient, "_count": "100"}) if patient else iter(())
    found = {f"Observation/{each['id']}": each for each in observations}
    mine = [found[reference] for reference in _with_members(wanted, found)]
    return Report(
        id=resource["id"],
        status=resource.get("status", ""),
        conclusion=resource.get("conclusion", ""),
        patient=patient,
        measured=tuple(line for observation in mine for line in _measured(observation)),
        not_measured=_not_measured(mine),
        observations=len(mine),
    )


def _with_members(wanted: set[str], found: Mapping[str, Json]) -> list[str]:
    """References that were found, each group followed by its members (Observation.hasMember)."""
    ordered: dict[str, None] = {}
    waiting = [reference for reference in found if reference in wanted]
    while waiting:
        reference = waiting.pop(0)
        if reference in found and reference not in ordered:
            ordered[reference] = None
            members = found[reference].get("hasMember", ())
            waiting = [member["reference"] for member in members] + waiting
    return list(ordered)


def _measured(observation: Json) -> Iterator[Measured]:
    """The values of an Observation: its own, and those of its components.

    A component whose value is a concept (the derivation "Mean", say) belongs to the name of the value.
    """
    where = _concept(observation.get("bodySite", {}))
    components = observation.get("component", ())
    words = [_concept(part["valueCodeableConcept"]) for part in components if "valueCodeableConcept" in part]
    name = _concept(observation.get("code", {}))
    value, unit = _value(observation)
    if "valueCodeableConcept" in observation:
        yield Measured(value, "", "", where, is_group=True)
    elif value:
        yield Measured(f"{name} ({', '.join(words)})" if words else name, value, unit, where)
    for part in components:
        value, unit = _value(part)
        if value and "valueCodeableConcept" not in part:
            yield Measured(_concept(part.get("code", {})), value, unit, where)


def _value(part: Json) -> tuple[str, str]:
    if quantity := part.get("valueQuantity"):
        return _number(quantity.get("value")), _unit(quantity)
    if concept := part.get("valueCodeableConcept"):
        return _concept(concept), ""
    for name in ("valueString", "valueInteger", "valueBoolean"):
        if name in part:
            return str(part[name]), ""
    return "", ""


def _not_measured(observations: Sequence[Json]) -> dict[str, list[str]]:
    """Names of Observations without a value, by the reason they state."""
    names: dict[str, list[str]] = {}
    for observation in observations:
        if reason := observation.get("dataAbsentReason"):
            names.setdefault(_concept(reason), []).append(_concept(observation.get("code", {})))
    return names


def _unit(quantity: Json) -> str:
    code = str(quantity.get("code") or quantity.get("unit", ""))
    return SPOKEN_UNITS.get(code, code)


def _number(value: object) -> str:
    return f"{value:.4g}" if isinstance(value, float) and abs(value) < 1e4 else f"{value}"


def _concept(concept: Json) -> str:
    if text := concept.get("text"):
        return str(text)
    codings = concept.get("coding", ())
    return next((str(coding.get("display") or coding.get("code", "")) for coding in codings), "")


def _until(ask: Callable[[], Json | None], wait_s: float) -> Json | None:
    deadline = time.monotonic() + wait_s
    while (answer := ask()) is None and time.monotonic() < deadline:
        time.sleep(POLL_S)
    return answer


def _get(http: httpx.Client, url: str, parameters: Mapping[str, str]) -> Any:
    answer = http.get(url, params=parameters or None)
    if answer.status_code == 204:
        return None
    if answer.is_error:
        raise NoAnswer(f"GET {httpx.URL(url).path} was answered {answer.status_code}: {answer.text[:300]}")
    return answer.json()


def _values(item: Json, key: str) -> Sequence[Any]:
    return item.get(key, {}).get("Value", ()) or ()


def _text(item: Json, key: str) -> str:
    value = next(iter(_values(item, key)), "")
    return "" if isinstance(value, Mapping) or value is None else str(value)
