"""What lies over a study or series is set: its row, its keys and the words of its names, at once.

Every function works in the caller's transaction and holds the row that it writes: Store, which fills in what
a study was not sent before, reads it again before it does.
"""

from dataclasses import dataclass, replace
from typing import Any

import orjson
from sqlalchemy import RowMapping, Table, delete, insert, select, update

from dicomweb.attributes import DicomJson
from dicomweb.overlay.layers import Sent, lay_over, lift
from dicomweb.store.columns import series_columns, series_requests, study_columns, study_names
from dicomweb.store.identity import patient_identifier
from dicomweb.tables import Series, SeriesOverlay, SeriesRequest, Study, StudyName, StudyOverlay
from server.kernel.database import UnitOfWork
from server.kernel.rows import table_of
from server.kernel.site import Site

_STUDY, _SERIES, _NAME = table_of(Study), table_of(Series), table_of(StudyName)
_REQUEST = table_of(SeriesRequest)
_OF_STUDY, _OF_SERIES = table_of(StudyOverlay), table_of(SeriesOverlay)

# Outbox event of a study or series that shows other attributes than before; subject: Study Instance UID. It
# is not "study.changed": there is nothing new to analyse.
STUDY_CORRECTED = "study.corrected"


@dataclass(frozen=True, slots=True)
class Correction:
    """What an administrator set; no attributes: nothing."""

    attributes: DicomJson
    made_us: int | None = None
    made_by: str | None = None
    reason: str | None = None


NO_CORRECTION = Correction({})


@dataclass(frozen=True, slots=True)
class HeldStudy:
    """A study's row, held until the transaction ends, with what lies over it."""

    row: RowMapping
    correction: Correction
    merged: DicomJson
    merged_us: int | None
    sent: Sent
    sent_system: str | None
    sent_value: str | None
    has_both: bool

    @property
    def as_sent(self) -> DicomJson:
        """Its attributes as they were sent."""
        return lift(orjson.loads(self.row["attributes"]), self.sent)


@dataclass(frozen=True, slots=True)
class HeldSeries:
    """A series' row, held until the transaction ends, with what lies over it."""

    row: RowMapping
    correction: Correction
    sent: Sent


async def hold_study(unit: UnitOfWork, criterion: Any) -> HeldStudy | None:
    """The study that `criterion` names; None: there is none."""
    query = select(_STUDY).where(criterion).with_for_update()
    row = (await unit.execute(query)).mappings().one_or_none()
    if row is None:
        return None
    found = await _overlay_of(unit, _OF_STUDY, _OF_STUDY.c.study_id == row["id"])
    if found is None:
        system, value = row["patient_system"], row["patient_value"]
        return HeldStudy(row, NO_CORRECTION, {}, None, {}, system, value, has_both=False)
    return HeldStudy(
        row,
        _correction(found),
        orjson.loads(found["merged"]),
        found["merged_us"],
        orjson.loads(found["sent"]),
        found["sent_system"],
        found["sent_value"],
        has_both=found["has_both"],
    )


async def hold_series(unit: UnitOfWork, study_id: int, series_instance_uid: str) -> HeldSeries | None:
    """A series of a study; None: there is none."""
    c = _SERIES.c
    of_uid = select(_SERIES).where(c.study_id == study_id, c.series_instance_uid == series_instance_uid)
    row = (await unit.execute(of_uid.with_for_update())).mappings().one_or_none()
    if row is None:
        return None
    found = await _overlay_of(unit, _OF_SERIES, _OF_SERIES.c.series_id == row["id"])
    if found is None:
        return HeldSeries(row, NO_CORRECTION, {})
    return HeldSeries(row, _correction(found), orjson.loads(found["sent"]))


async def _overlay_of(unit: UnitOfWork, table: Table, criterion: Any) -> RowMapping | None:
    return (await unit.execute(select(table).where(criterion))).mappings().one_or_none()


def _correction(found: RowMapping) -> Correction:
    attributes = orjson.loads(found["corrected"])
    return Correction(attributes, found["corrected_us"], found["corrected_by"], found["reason"])


async def write_study(unit: UnitOfWork, held: HeldStudy, site: Site) -> DicomJson:
    """Have the study show what `held` says, from now on; returns its attributes as shown.

    `held` is what `hold_study` gave, with another correction or merge.
    """
    study_id = held.row["id"]
    shown, sent = lay_over(held.as_sent, {**held.merged, **held.correction.attributes})
    await unit.execute(delete(_OF_STUDY).where(_OF_STUDY.c.study_id == study_id))
    if sent or held.has_both:
        await unit.execute(insert(_OF_STUDY), [_study_overlay_row(held, sent)])
    identifier = patient_identifier(shown, site) if held.merged else None
    columns = study_columns(shown) | {
        "attributes": orjson.dumps(shown).decode(),
        "overlaid_us": unit.now_us if sent or held.has_both else None,
        "patient_system": identifier.system if identifier else held.sent_system,
        "patient_value": identifier.value if identifier else held.sent_value,
    }
    await unit.execute(update(_STUDY).where(_STUDY.c.id == study_id).values(columns))
    await unit.execute(delete(_NAME).where(_NAME.c.study_id == study_id))
    if names := study_names(shown):
        await unit.execute(insert(_NAME), [{"study_id": study_id, **name} for name in names])
    return shown


def _study_overlay_row(held: HeldStudy, sent: Sent) -> dict[str, Any]:
    correction = held.correction
    return {
        "study_id": held.row["id"],
        "merged": orjson.dumps(held.merged).decode(),
        "merged_us": held.merged_us,
        "corrected": orjson.dumps(correction.attributes).decode(),
        "corrected_us": correction.made_us,
        "corrected_by": correction.made_by,
        "reason": correction.reason,
        "sent": orjson.dumps(sent).decode(),
        "sent_system": held.sent_system,
        "sent_value": held.sent_value,
        "has_both": held.has_both,
    }


async def write_series(unit: UnitOfWork, held: HeldSeries) -> None:
    """Have the series show what `held` says, from now on."""
    series_id, correction = held.row["id"], held.correction
    shown, sent = lay_over(lift(orjson.loads(held.row["attributes"]), held.sent), correction.attributes)
    await unit.execute(delete(_OF_SERIES).where(_OF_SERIES.c.series_id == series_id))
    if sent:
        row = {
            "series_id": series_id,
            "corrected": orjson.dumps(correction.attributes).decode(),
            "corrected_us": correction.made_us,
            "corrected_by": correction.made_by,
            "reason": correction.reason,
            "sent": orjson.dumps(sent).decode(),
        }
        await unit.execute(insert(_OF_SERIES), [row])
    columns = series_columns(shown) | {
        "attributes": orjson.dumps(shown).decode(),
        "overlaid_us": unit.now_us if sent else None,
    }
    await unit.execute(update(_SERIES).where(_SERIES.c.id == series_id).values(columns))
    await unit.execute(delete(_REQUEST).where(_REQUEST.c.series_id == series_id))
    if requests := series_requests(shown):
        await unit.execute(insert(_REQUEST), [{**each, "series_id": series_id} for each in requests])


def with_merge(held: HeldStudy, merged: DicomJson, now_us: int) -> HeldStudy:
    """The study as it is to be shown after a merge, or its end ({})."""
    return replace(held, merged=merged, merged_us=now_us if merged else None)
