"""The overlays of studies and series, for who retrieves or searches."""

from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Any

import orjson
from sqlalchemy import BindParameter, RowMapping, Select, bindparam, select
from sqlalchemy.ext.asyncio import AsyncConnection

from dicomweb.tables import Series, SeriesOverlay, Study, StudyOverlay
from dicomweb.wire.overlay import Change, ModificationReason, Overlay, overlay_of
from server.kernel.rows import table_of

_STUDY, _SERIES = table_of(Study), table_of(Series)
_OF_STUDY, _OF_SERIES = table_of(StudyOverlay), table_of(SeriesOverlay)


@dataclass(slots=True)
class Overlays:
    """The overlays of some studies with their series, by UID."""

    of_studies: dict[str, Overlay | None] = field(default_factory=dict)
    of_series: dict[str, Overlay | None] = field(default_factory=dict)

    def of(self, study_instance_uid: str, series_instance_uid: str) -> Overlay | None:
        """What lies over the instances of a series; None: nothing."""
        of_study = self.of_studies.get(study_instance_uid)
        return self.of_series.get(series_instance_uid, of_study)


NONE = Overlays()


async def load_overlays(connection: AsyncConnection, study_instance_uids: Iterable[str]) -> Overlays:
    """Everything that lies over these studies and their series."""
    uids = {"uids": sorted(set(study_instance_uids))}
    found = Overlays()
    changes: dict[str, list[Change]] = {}
    for row in (await connection.execute(_STUDIES, uids)).mappings():
        uid = row["study_instance_uid"]
        changes[uid] = study_changes(row)
        found.of_studies[uid] = overlay_of(changes[uid])
    for row in (await connection.execute(_ALL_SERIES, uids)).mappings():
        of_both = [*changes.get(row["study_instance_uid"], ()), _series_change(row)]
        found.of_series[row["series_instance_uid"]] = overlay_of(of_both)
    return found


def study_changes(row: RowMapping) -> list[Change]:
    """The acts that a row of `StudyOverlay` holds; a correction wins over what a merge says."""
    merged, corrected = orjson.loads(row["merged"]), orjson.loads(row["corrected"])
    left = {key: attribute for key, attribute in merged.items() if key not in corrected}
    return [
        Change(left, row["merged_us"] or 0, ModificationReason.COERCE),
        Change(corrected, row["corrected_us"] or 0, ModificationReason.CORRECT),
    ]


def _series_change(row: RowMapping) -> Change:
    return Change(orjson.loads(row["corrected"]), row["corrected_us"], ModificationReason.CORRECT)


# Built once: that costs more than to execute them.
_UIDS: BindParameter[str] = bindparam("uids", expanding=True)
_STUDIES: Select[Any] = (
    select(
        _STUDY.c.study_instance_uid,
        _OF_STUDY.c.merged,
        _OF_STUDY.c.merged_us,
        _OF_STUDY.c.corrected,
        _OF_STUDY.c.corrected_us,
    )
    .join_from(_OF_STUDY, _STUDY, _STUDY.c.id == _OF_STUDY.c.study_id)
    .where(_STUDY.c.study_instance_uid.in_(_UIDS))
)
_ALL_SERIES: Select[Any] = (
    select(
        _STUDY.c.study_instance_uid,
        _SERIES.c.series_instance_uid,
        _OF_SERIES.c.corrected,
        _OF_SERIES.c.corrected_us,
    )
    .join_from(_OF_SERIES, _SERIES, _SERIES.c.id == _OF_SERIES.c.series_id)
    .join(_STUDY, _STUDY.c.id == _SERIES.c.study_id)
    .where(_STUDY.c.study_instance_uid.in_(_UIDS))
)
