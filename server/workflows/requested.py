"""Workitems from outside that name one of our models: which version runs, and on which stored instances.

Instances that are named one by one are taken as they are: a person or a system chose them. Of a study or
series that is named as a whole, the model's selection takes what a routing rule would (DESIGN §2).
"""

import asyncio
from collections.abc import Sequence
from dataclasses import dataclass, replace

import msgspec
from sqlalchemy import RowMapping, select

from ai_engine.manifest import Manifest
from ai_engine.routing import NotWanted, SeriesSummary, route
from ai_engine.tables import ModelVersion
from dicomweb.reach import within_reach
from dicomweb.tables import Study
from dicomweb.worklist.outside.engine import Assignment, InputReference
from dicomweb.worklist.workitem import SeriesReference
from server.kernel.access import Reach
from server.kernel.database import Database
from server.kernel.faults import Fault
from server.kernel.rows import table_of
from server.workflows.registry.stages import Stage
from server.workflows.registry.traffic import version_for
from server.workflows.registry.versions import version_row
from server.workflows.study_summary import read_instances, summarise

MAX_NAMES = 10  # of models that one workitem may give; the first that is known counts

_MODEL, _STUDY = table_of(ModelVersion), table_of(Study).c


class ModelUnknown(Fault):
    """The workitem names a model that this server does not have."""


class InputNotUsable(Fault):
    """What the workitem names as input is not here, or nothing for its model."""


@dataclass(frozen=True, slots=True)
class RegisteredModels:
    """The engine, as the worklist asks it (`dicomweb.worklist.outside.engine.Engine`)."""

    database: Database

    async def assign(
        self, names: Sequence[str], references: Sequence[InputReference], reach: Reach, *, is_ready: bool
    ) -> Assignment:
        """The version of the model of one of these names that gets the study, with its stored instances.

        Raises:
            ModelUnknown: no model in production has such a name.
            InputNotUsable: the input is not stored, out of reach, of several studies, or not for the model.
        """
        model = await self._model(names)
        if model is None:
            raise ModelUnknown("The workitem names no model of this server.")
        if not is_ready:
            return Assignment(model["name"], model["version"], ())
        study, summaries = await self._study(references, reach)
        model = await self._version(model, study)
        if all(each.sop_instance_uids for each in references):
            series = _chosen(study, summaries)
        else:
            series = _selected(study, summaries, model["manifest"])
        return Assignment(model["name"], model["version"], series)

    async def _model(self, names: Sequence[str]) -> RowMapping | None:
        c = _MODEL.c
        query = select(c.name, c.version, c.manifest).where(c.name.in_(names[:MAX_NAMES]))
        query = query.where(c.stage == Stage.PRODUCTION.value)
        async with self.database.read() as connection:
            return (await connection.execute(query.order_by(c.pk).limit(1))).mappings().first()

    async def _version(self, model: RowMapping, study: str) -> RowMapping:
        """The version that gets the study; that in production when nothing else is decided by now."""
        async with self.database.read() as connection:
            version = await version_for(connection, model["name"], study)
            return model if version is None else await version_row(connection, model["name"], version)

    async def _study(
        self, references: Sequence[InputReference], reach: Reach
    ) -> tuple[str, list[SeriesSummary]]:
        """The one study that is referred to, with what is meant of it."""
        studies = {each.study_instance_uid for each in references}
        if len(studies) != 1:
            raise InputNotUsable("InputInformationSequence must name one study for a model of this server.")
        study = studies.pop()
        reached = select(_STUDY.id).where(_STUDY.study_instance_uid == study, within_reach(reach))
        async with self.database.read() as connection:
            if (await connection.execute(reached)).first() is None:
                raise InputNotUsable("The study in InputInformationSequence is not stored here.")
            rows = await read_instances(connection, study)
        summaries = await asyncio.to_thread(summarise, rows)
        return study, _meant(references, summaries)


def _meant(references: Sequence[InputReference], summaries: Sequence[SeriesSummary]) -> list[SeriesSummary]:
    """The series, and the instances of them, that are referred to; each must be there."""
    named = {uid for each in references for uid in each.sop_instance_uids}
    whole = {each.series_instance_uid for each in references if not each.sop_instance_uids}
    found = []
    for series in summaries:
        is_whole = "" in whole or series.series_instance_uid in whole
        kept = [each for each in series.instances if is_whole or each.sop_instance_uid in named]
        if kept:
            found.append(replace(series, instances=tuple(kept)))
    present = {each.sop_instance_uid for series in found for each in series.instances}
    absent = whole - {""} - {series.series_instance_uid for series in found}
    if not found or absent or not named <= present:
        raise InputNotUsable("Not all that InputInformationSequence names is stored in its study.")
    return found


def _selected(study: str, summaries: Sequence[SeriesSummary], manifest: str) -> tuple[SeriesReference, ...]:
    """What the model would be given of these series by a routing rule."""
    demand = route(msgspec.json.decode(manifest, type=Manifest).wants, summaries)
    if isinstance(demand, NotWanted):
        raise InputNotUsable(demand.reason)
    return tuple(
        SeriesReference(study, each.series_instance_uid, each.sop_class_uid, each.sop_instance_uids)
        for each in demand.input
    )


def _chosen(study: str, summaries: Sequence[SeriesSummary]) -> tuple[SeriesReference, ...]:
    """These instances as they are, series by series and class by class."""
    of_class: dict[tuple[str, str], list[str]] = {}
    for series in summaries:
        for each in series.instances:
            key = (series.series_instance_uid, each.sop_class_uid)
            of_class.setdefault(key, []).append(each.sop_instance_uid)
    return tuple(SeriesReference(study, *key, tuple(uids)) for key, uids in of_class.items())
