"""Studies of a merged Patient show whose they are now; unmerging takes it back (DESIGN §5; IHE RAD PIR)."""

from collections.abc import Mapping, Sequence
from typing import Any

import orjson
from sqlalchemy import delete, insert, or_, select

from dicomweb.attributes import DicomJson
from dicomweb.overlay.survivor import IDENTITY, shown_of_survivor
from dicomweb.overlay.write import HeldStudy, hold_study, with_merge, write_study
from dicomweb.tables import Study, StudyOverlay, SurvivingPatient
from server.kernel.database import UnitOfWork
from server.kernel.patients import PatientIdentifier
from server.kernel.rows import table_of
from server.kernel.site import Site
from server.kernel.tables import PatientIdentity

_STUDY, _OVERLAY = table_of(Study), table_of(StudyOverlay)
_SURVIVOR, _IDENTITY = table_of(SurvivingPatient), table_of(PatientIdentity)


async def remember_survivor(unit: UnitOfWork, patient_id: str, person: Mapping[str, Any] | None) -> None:
    """What studies merged into this Patient show of its person; None: none are merged into it any more."""
    await unit.execute(delete(_SURVIVOR).where(_SURVIVOR.c.patient_id == patient_id))
    if person is not None:
        attributes = orjson.dumps(dict(person)).decode()
        row = {"patient_id": patient_id, "attributes": attributes, "merged_us": unit.now_us}
        await unit.execute(insert(_SURVIVOR), [row])


async def show_merges(unit: UnitOfWork, patient_id: str, site: Site) -> None:
    """Have the studies of this Patient show it where they name another one, and as sent where they do not."""
    c = _STUDY.c
    merged = select(_OVERLAY.c.study_id).where(_OVERLAY.c.merged_us.is_not(None))
    query = select(c.id).where(
        c.patient_id == patient_id, or_(c.identified_id != patient_id, c.id.in_(merged))
    )
    await show_merge_of(unit, (await unit.execute(query.order_by(c.id))).scalars().all(), site)


async def show_merge_of(unit: UnitOfWork, study_ids: Sequence[int], site: Site) -> None:
    """The same for some studies, whoever's they are."""
    for study_id in study_ids:
        held = await hold_study(unit, _STUDY.c.id == study_id)
        if held is None:
            continue
        merged = await _merged(unit, held, site)
        if merged != held.merged:
            await write_study(unit, with_merge(held, merged, unit.now_us), site)


async def _merged(unit: UnitOfWork, held: HeldStudy, site: Site) -> DicomJson:
    patient_id, identified_id = held.row["patient_id"], held.row["identified_id"]
    if patient_id is None or patient_id == identified_id:
        # What came in the survivor's name would name it still, in the study of the one that it was not.
        return _identity_of(held.as_sent) if held.has_both else {}
    person = select(_SURVIVOR.c.attributes).where(_SURVIVOR.c.patient_id == patient_id)
    known = (await unit.execute(person)).scalar_one_or_none()
    i = _IDENTITY.c
    carried = select(i.system, i.value).where(i.patient_id == patient_id).order_by(i.id)
    identifiers = [PatientIdentifier(row.system, row.value) for row in await unit.execute(carried)]
    return shown_of_survivor(identifiers, orjson.loads(known or "{}"), held.sent_system, site)


def _identity_of(attributes: DicomJson) -> DicomJson:
    """Every attribute that says whose it is, as a study was sent it; empty where it was not."""
    vrs = {"00100010": "PN", "00100024": "SQ", "00100030": "DA", "00100040": "CS"}
    return {key: attributes.get(key, {"vr": vrs.get(key, "LO")}) for key in sorted(IDENTITY)}
