"""What a Consent denies, and the labels of a study, are written with the resource, in its transaction."""

from collections.abc import Sequence
from typing import Any

from fhir.consents.compile import compile_consent
from fhir.model import systems
from fhir.search.value import Surroundings, bounded
from server.kernel.consents.keep import (
    State,
    Verdict,
    add_verdict,
    count_denials,
    forget_consent,
    keep_study_labels,
)
from server.kernel.database import UnitOfWork
from server.kernel.patient_merge import LOCK, family_of
from server.kernel.uids import derived_id

Json = Any

CONSENT, IMAGING_STUDY = "Consent", "ImagingStudy"
MAX_ROWS_OF_PATIENT = 1_000  # of denials; each resource meets those of the caller and of anybody
KEPT = frozenset({CONSENT, IMAGING_STUDY})


async def keep_consents(
    unit: UnitOfWork,
    resource: Json,
    named: tuple[int, str, int],
    around: Surroundings,
    *,
    is_new: bool = False,
) -> None:
    """Enforce what a resource of `KEPT` says, of this rid, id and version; `is_new`: it said nothing yet."""
    if resource["resourceType"] == IMAGING_STUDY:
        await _keep_labels(unit, resource, named[1], is_new=is_new)
        return
    verdict = compile_consent(resource, around)
    family: Sequence[str] = ()
    if verdict.holder is not None:
        await unit.lock([LOCK])  # who is one person with whom stays so
        family = sorted(await family_of(unit.connection, verdict.holder))
    if not is_new:
        await forget_consent(unit, named[0])
    await add_verdict(unit, named, await _bounded(unit, verdict), family)


async def _bounded(unit: UnitOfWork, verdict: Verdict) -> Verdict:
    """The verdict, unless its patient denies too much with it: everybody's searches would be slow."""
    if verdict.holder is None or not verdict.denials:
        return verdict
    if await count_denials(unit, verdict.holder) + len(verdict.denials) <= MAX_ROWS_OF_PATIENT:
        return verdict
    text = f"The Consents of this Patient have more than {MAX_ROWS_OF_PATIENT} combinations that deny."
    return Verdict(State.UNENFORCED, reasons=[("Consent.patient", text)])


async def drop_consents(unit: UnitOfWork, resource_type: str, rid: int) -> None:
    """Enforce no longer what a resource of `KEPT` said: it is deleted."""
    if resource_type == CONSENT:
        await forget_consent(unit, rid)


async def _keep_labels(unit: UnitOfWork, study: Json, resource_id: str, *, is_new: bool) -> None:
    """Only of the ImagingStudy that this server keeps: whoever makes another one labels no study by it."""
    labels = [
        (bounded(each.get("system", "")), bounded(each["code"]))
        for each in study.get("meta", {}).get("security", ())
        if each.get("code")
    ]
    if is_new and not labels:
        return
    uid = study_of(study, resource_id)
    if uid is not None:
        await keep_study_labels(unit, uid, labels)


def study_of(study: Json, resource_id: str) -> str | None:
    """The study of which an ImagingStudy is the one that this server keeps; None: it is another one."""
    for identifier in study.get("identifier", ()):
        uid = (identifier.get("value") or "").removeprefix("urn:oid:")
        if identifier.get("system") == systems.DICOM_UID and derived_id("imaging-study", uid) == resource_id:
            return uid
    return None
