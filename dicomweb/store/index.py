"""The index part of a Store transaction: rows, patient link and event, in the caller's unit of work.

A refused instance is a result, not an exception. Locks are per study; two requests that claim the same SOP
Instance UID for different studies meet at a unique index, and the caller runs the transaction again.
"""

from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from typing import Any

import orjson
from sqlalchemy import bindparam, delete, exists, insert, select, update

from dicomweb.attributes import DicomJson, Level, of_level
from dicomweb.overlay.layers import fill_in
from dicomweb.overlay.merged import show_merge_of
from dicomweb.response_codes import StoreFailure
from dicomweb.store.classes import is_input
from dicomweb.store.columns import (
    instance_columns,
    series_columns,
    series_requests,
    study_columns,
    study_names,
)
from dicomweb.store.identity import demographics, patient_identifier
from dicomweb.store.instances import InstanceResult, Origin, Refusal, StoredInstance, result_of
from dicomweb.store.judgement import Verdict, judge, names_survivor, other_patient
from dicomweb.store.known import Known, KnownInstance, KnownSeries, KnownStudy, load_known
from dicomweb.store.replace import set_aside
from dicomweb.tables import (
    Instance,
    InstanceMetadata,
    Series,
    SeriesRequest,
    Study,
    StudyName,
    StudyOverlay,
)
from server.kernel.access import EVERYONE, Reach
from server.kernel.bulk import insert_rows
from server.kernel.database import UnitOfWork
from server.kernel.database_errors import Retry
from server.kernel.patients import PatientIdentifier, link_patient
from server.kernel.rows import table_of
from server.kernel.site import Duplicates, Site

_STUDY, _SERIES, _REQUEST = table_of(Study), table_of(Series), table_of(SeriesRequest)
_INSTANCE, _METADATA, _NAME = table_of(Instance), table_of(InstanceMetadata), table_of(StudyName)
_OVERLAY = table_of(StudyOverlay)

# Built once, and executed with parameters: to build a statement costs more than to execute it.
_INSERT_STUDY = insert(_STUDY).returning(_STUDY.c.id)
_INSERT_SERIES = insert(_SERIES).returning(_SERIES.c.id)
_UPDATE_STUDY = update(_STUDY).where(_STUDY.c.id == bindparam("key"))  # what is set is among the parameters
_ATTRIBUTES = select(_STUDY.c.attributes).where(_STUDY.c.id == bindparam("key")).with_for_update()
_SENT = select(_OVERLAY.c.sent).where(_OVERLAY.c.study_id == bindparam("key"))
_UPDATE_OVERLAY = update(_OVERLAY).where(_OVERLAY.c.study_id == bindparam("key"))
_DELETE_NAMES = delete(_NAME).where(_NAME.c.study_id == bindparam("key"))
_INSERT_REQUESTS = insert(_REQUEST)
_INSERT_INSTANCES = insert(_INSTANCE).returning(_INSTANCE.c.id, _INSTANCE.c.sop_instance_uid)

# Outbox event; subject: Study Instance UID. Payload: how many `instances` came, whether `input` for analysis
# was among them, and the SOP classes of the `derived` objects that were received.
STUDY_CHANGED = "study.changed"


async def index_instances(
    unit: UnitOfWork,
    instances: Sequence[StoredInstance],
    origin: Origin,
    site: Site,
    reach: Reach = EVERYONE,
) -> list[InstanceResult]:
    """Index instances whose bytes are durable; the results stand in the order of `instances`.

    Emits "study.changed" for each study that got an instance. The caller audits.

    Raises:
        IntegrityError: another transaction added one of these UIDs meanwhile; run this one again.
    """
    await unit.lock(f"study:{i.parsed.study_instance_uid}" for i in instances)
    indexing = _Indexing(
        unit, origin, site, reach, await load_known(unit.connection, [i.parsed for i in instances])
    )
    results = [await indexing.take(instance) for instance in instances]
    await indexing.finish()
    return results


async def supersede_instances(unit: UnitOfWork, sop_instance_uids: Sequence[str]) -> None:
    """Take these instances out of QIDO and of study and series retrieval; by UID they stay retrievable."""
    c, now = _INSTANCE.c, unit.now_us
    named = c.sop_instance_uid.in_(sorted(sop_instance_uids))
    await unit.execute(update(_INSTANCE).where(named, c.superseded_us.is_(None)).values(superseded_us=now))
    others = _INSTANCE.alias()
    current = exists().where(others.c.series_id == _SERIES.c.id, others.c.superseded_us.is_(None))
    touched = _SERIES.c.id.in_(select(c.series_id).where(named))
    emptied = update(_SERIES).where(touched, _SERIES.c.superseded_us.is_(None), ~current)
    await unit.execute(emptied.values(superseded_us=now))


@dataclass(slots=True)
class _Indexing:
    """One run of `index_instances`."""

    unit: UnitOfWork
    origin: Origin
    site: Site
    reach: Reach
    known: Known
    rows: list[tuple[dict[str, Any], StoredInstance]] = field(default_factory=list)
    names: list[dict[str, Any]] = field(default_factory=list)

    async def take(self, instance: StoredInstance) -> InstanceResult:
        """Judge one instance and, when it is new and welcome, plan its row."""
        parsed = instance.parsed
        identifier = patient_identifier(parsed.dicom_json, self.site)
        received = self.origin is Origin.RECEIVED  # what the engine made once is not made again
        duplicates = self.site.duplicates if received else Duplicates.REFUSE
        verdict = judge(instance.received, identifier, self.known, self.reach, duplicates)
        if isinstance(verdict, Refusal):
            return result_of(parsed, verdict)
        study = self.known.studies.get(parsed.study_instance_uid)
        if verdict is Verdict.ALREADY_STORED:
            patient_id = study.patient_id if study else None
            return replace(result_of(parsed), already_stored=True, patient_id=patient_id)
        if study is None:
            study = await self._new_study(instance, identifier)
        if study is None:
            return result_of(parsed, other_patient(StoreFailure.NOT_AUTHORIZED))
        series = self.known.series.get(parsed.series_instance_uid) or await self._new_series(instance, study)
        if series.is_superseded:
            await self._bring_back(series)
        if series.is_packed:
            await self._have_packed(series)
        if verdict is Verdict.REPLACES:
            await self._insert_instances()  # it may be among them
            await set_aside(self.unit, parsed.sop_instance_uid)
        self._add(instance, study, series)
        study.has_both = study.has_both or names_survivor(study, identifier)
        replaced = verdict is Verdict.REPLACES
        return replace(result_of(parsed), replaced=replaced, patient_id=study.patient_id)

    async def finish(self) -> None:
        """Write the instance rows, move the studies' instants, announce the studies."""
        for study in self.known.studies.values():
            await self._take_new_attributes(study)
            await self._take_names(study)
        await self._insert_instances()
        for study_instance_uid, study in self.known.studies.items():
            if study.added:
                await self._touch_study(study)
                payload = {
                    "instances": study.added,
                    "input": study.has_new_input,
                    "derived": sorted(study.derived_classes),
                }
                self.unit.emit(STUDY_CHANGED, study_instance_uid, payload)
        merged = [study.id for study in self.known.studies.values() if study.is_merged]
        await show_merge_of(self.unit, merged, self.site)

    async def _new_study(
        self, instance: StoredInstance, identifier: PatientIdentifier | None
    ) -> KnownStudy | None:
        """Insert the study of its first instance; None: its patient is out of reach."""
        dicom_json = instance.parsed.dicom_json
        may_create = self.site.create_patients and not self.reach.is_confined
        link = await link_patient(self.unit, identifier, demographics(dicom_json), create=may_create)
        if not self.reach.includes(link.patient_id):
            return None
        attributes = of_level(dicom_json, Level.STUDY)
        row = study_columns(attributes) | {
            "study_instance_uid": instance.parsed.study_instance_uid,
            "patient_system": identifier.system if identifier else None,
            "patient_value": identifier.value if identifier else None,
            "patient_id": link.patient_id,
            "identified_id": link.identified_id,
            "link_state": link.state.value,
            "created_us": self.unit.now_us,
            "changed_us": self.unit.now_us,
            "has_tombstones": instance.parsed.study_instance_uid in self.known.deleted,
            "attributes": orjson.dumps(attributes).decode(),
        }
        study_id = (await self.unit.execute(_INSERT_STUDY, row)).scalar_one()
        study = KnownStudy(
            study_id,
            row["patient_system"],
            row["patient_value"],
            link.patient_id,
            attributes,
            is_new=True,
            is_merged=link.patient_id != link.identified_id,
        )
        self.known.studies[instance.parsed.study_instance_uid] = study
        return study

    async def _new_series(self, instance: StoredInstance, study: KnownStudy) -> KnownSeries:
        parsed = instance.parsed
        attributes = of_level(parsed.dicom_json, Level.SERIES)
        row = series_columns(attributes) | {
            "study_id": study.id,
            "series_instance_uid": parsed.series_instance_uid,
            "created_us": self.unit.now_us,
            "attributes": orjson.dumps(attributes).decode(),
        }
        inserted = await self.unit.execute(_INSERT_SERIES, row)
        series = KnownSeries(inserted.scalar_one(), parsed.study_instance_uid, study.patient_id)
        self.known.series[parsed.series_instance_uid] = series
        if requests := series_requests(attributes):
            await self.unit.execute(_INSERT_REQUESTS, [r | {"series_id": series.id} for r in requests])
        return series

    def _add(self, instance: StoredInstance, study: KnownStudy, series: KnownSeries) -> None:
        parsed = instance.parsed
        row = _instance_row(instance) | {
            "study_id": study.id,
            "series_id": series.id,
            "origin": self.origin.value,
            "stored_us": self.unit.now_us,
        }
        self.rows.append((row, instance))
        self.known.instances[parsed.sop_instance_uid] = KnownInstance(
            parsed.series_instance_uid,
            instance.received.digests.data_set_sha256,
            self.origin,
            study.patient_id,
        )
        study.added += 1
        if is_input(parsed, self.origin):
            study.has_new_input = True
            _note_new(study, of_level(parsed.dicom_json, Level.STUDY))
        elif self.origin is Origin.RECEIVED:
            study.derived_classes.add(parsed.sop_class_uid)

    async def _insert_instances(self) -> None:
        if not self.rows:
            return
        inserted = await self.unit.execute(_INSERT_INSTANCES, [row for row, _ in self.rows])
        ids = {row.sop_instance_uid: row.id for row in inserted}
        metadata = [_metadata_row(ids[row["sop_instance_uid"]], i) for row, i in self.rows]
        await insert_rows(self.unit.connection, {_METADATA: metadata, _NAME: self.names})
        self.rows, self.names = [], []

    async def _take_new_attributes(self, study: KnownStudy) -> None:
        """Add what the study was not sent before to what it says by now: a merge may have changed it."""
        if not study.new_attributes or study.is_new:
            return
        key = {"key": study.id}
        said = await self.unit.execute(_ATTRIBUTES, key)  # held until the transaction ends
        study.attributes = orjson.loads(said.scalar_one())
        text = (await self.unit.execute(_SENT, key)).scalar_one_or_none()
        sent = {} if text is None else orjson.loads(text)
        fill_in(study.attributes, sent, study.new_attributes)
        if sent:
            await self.unit.execute(_UPDATE_OVERLAY, {**key, "sent": orjson.dumps(sent).decode()})

    async def _take_names(self, study: KnownStudy) -> None:
        """Plan the rows of the names of a study that is new, or that says more now."""
        if study.is_new or study.new_attributes:
            self.names += [{"study_id": study.id, **row} for row in study_names(study.attributes)]
        if study.new_attributes and not study.is_new:
            await self.unit.execute(_DELETE_NAMES, {"key": study.id})

    async def _bring_back(self, series: KnownSeries) -> None:
        """A series whose instances are all superseded has a current one again."""
        await self.unit.execute(update(_SERIES).where(_SERIES.c.id == series.id).values(superseded_us=None))
        series.is_superseded = False

    async def _have_packed(self, series: KnownSeries) -> None:
        """What was packed already is to be looked at again, once its study is settled."""
        await self.unit.execute(update(_SERIES).where(_SERIES.c.id == series.id).values(pack_due_us=0))
        series.is_packed = False

    async def _touch_study(self, study: KnownStudy) -> None:
        columns: dict[str, Any] = {"changed_us": self.unit.now_us}
        if study.has_new_input:
            columns["input_changed_us"] = self.unit.now_us
        if study.new_attributes:
            columns |= study_columns(study.attributes)
            columns["attributes"] = orjson.dumps(study.attributes).decode()
        await self.unit.execute(_UPDATE_STUDY, {"key": study.id, **columns})
        if study.has_both:
            noted = await self.unit.execute(_UPDATE_OVERLAY, {"key": study.id, "has_both": True})
            if not noted.rowcount:
                raise Retry("The study's Patient was unmerged meanwhile.")


def _note_new(study: KnownStudy, attributes: DicomJson) -> None:
    """Note what the study was not sent yet; what it was stays as first received."""
    if study.is_new:
        new = study.attributes
        study.new_attributes |= {
            name: attribute for name, attribute in attributes.items() if fill_in(new, {}, {name: attribute})
        }
        return
    sent = study.overlay.sent if study.overlay else {}
    for name, attribute in attributes.items():
        known = sent.get(name) if name in sent else study.attributes.get(name)
        if "Value" in attribute and "Value" not in (known or ()):
            study.new_attributes.setdefault(name, attribute)


def _instance_row(instance: StoredInstance) -> dict[str, Any]:
    parsed, received, stored = instance.parsed, instance.received, instance.stored
    return instance_columns(parsed.dicom_json) | {
        "sop_instance_uid": parsed.sop_instance_uid,
        "sop_class_uid": parsed.sop_class_uid,
        "transfer_syntax_uid": parsed.transfer_syntax_uid,
        "object_name": stored.object_name,
        "object_offset": stored.offset,
        "object_length": stored.length,
        "data_set_offset": parsed.data_set_offset,
        "file_sha256": received.digests.file_sha256,
        "file_xxh3": received.digests.file_xxh3,
        "data_set_sha256": received.digests.data_set_sha256,
    }


def _metadata_row(instance_id: int, instance: StoredInstance) -> dict[str, Any]:
    metadata = instance.received.metadata
    return {
        "instance_id": instance_id,
        "dicom_json": metadata.dicom_json,
        "pixel_layout": metadata.pixel_layout,
        "bulk_values": metadata.bulk_values,
    }
