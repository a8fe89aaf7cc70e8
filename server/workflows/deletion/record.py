"""What the record says of a study that is deleted, and of one that comes back (FHIR R4 imagingstudy.html).

The ImagingStudy becomes `cancelled`: "there are no instances available for this study". It keeps what names
it (identifiers, patient, date, modalities, order), loses its series, and a note says when and why. Reports
and Observations keep every word; their reference to the ImagingStudy gets a display that says that its images
are gone, for that is where a reader looks for them. What clients wrote says what they said.
"""

from collections.abc import Mapping

from fhir.interactions.door import AUTHORED
from fhir.interactions.rewrite import hold_resource, rewrite
from fhir.model.json_codec import Json, decode_json, encode_json
from server.kernel.access import Principal
from server.kernel.clock import instant_text
from server.kernel.database import UnitOfWork
from server.workflows.report.published import published_of

REFERRING: Mapping[str, str] = {"DiagnosticReport": "imagingStudy", "Observation": "derivedFrom"}


async def cancel_imaging_study(
    unit: UnitOfWork, imaging_study_id: str, principal: Principal, why: str
) -> None:
    """Write the version that says that the study is gone, for this reason."""
    held = await hold_resource(unit, "ImagingStudy", imaging_study_id)
    if held is None:
        return
    note = {"time": instant_text(unit.now_us), "text": f"The images were deleted. Reason: {why}"}
    changed = {
        "status": encode_json("cancelled"),
        "numberOfSeries": encode_json(0),
        "numberOfInstances": encode_json(0),
        "note": encode_json([note]),
        "endpoint": None,
        "series": None,
    }
    await rewrite(unit, held, changed, principal, AUTHORED)


async def mark_reports(
    unit: UnitOfWork, study: tuple[str, str], principal: Principal, display: str | None
) -> None:
    """Have the engine's reports say `display` of the study; None: nothing, its images are there.

    `study` is (Study Instance UID, id of the ImagingStudy).
    """
    study_instance_uid, imaging_study_id = study
    for resource_type, resource_id in await published_of(unit, study_instance_uid):
        held = await hold_resource(unit, resource_type, resource_id)
        element = REFERRING[resource_type]
        if held is None or element not in held.elements:
            continue
        references = decode_json(held.text)[element]
        said = [_said(each, f"ImagingStudy/{imaging_study_id}", display) for each in references]
        await rewrite(unit, held, {element: encode_json(said)}, principal, AUTHORED)


def display_of_deleted(now_us: int) -> str:
    """What a reference to a deleted study says."""
    return f"Imaging study; its images were deleted on {instant_text(now_us)[:10]}"


def _said(reference: Json, target: str, display: str | None) -> Json:
    if reference.get("reference") != target:
        return reference
    bare = {name: value for name, value in reference.items() if name != "display"}
    return bare if display is None else bare | {"display": display}
