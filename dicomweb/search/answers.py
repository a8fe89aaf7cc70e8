"""Rows become the DICOM JSON of a search response (PS3.18 Tables 10.6.3-3, -4 and -5). Pure.

Every answer also holds the UIDs of its ancestors; a search that names no study or series also returns
their default attributes (PS3.18 10.6.3.3).
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import orjson
from sqlalchemy import Row

from dicomweb.attributes import DicomJson, Level, keys_of
from dicomweb.metadata import unpack_metadata
from dicomweb.overlay.load import Overlays
from dicomweb.search.fields import take_fields
from dicomweb.search.query import Query
from dicomweb.urls import instance_url, series_url, study_url
from dicomweb.wire.dictionary import key_of
from dicomweb.wire.overlay import show

STUDY_DEFAULTS = keys_of("""
SpecificCharacterSet StudyDate StudyTime AccessionNumber ReferringPhysicianName TimezoneOffsetFromUTC
PatientName PatientID IssuerOfPatientID PatientBirthDate PatientSex StudyInstanceUID StudyID
StudyDescription
""")  # Table 10.6.3-3, with the description and the issuer that study lists show
SERIES_DEFAULTS = keys_of("""
SpecificCharacterSet Modality TimezoneOffsetFromUTC SeriesDescription SeriesInstanceUID SeriesNumber
PerformedProcedureStepStartDate PerformedProcedureStepStartTime RequestAttributesSequence SeriesDate
SeriesTime BodyPartExamined
""")  # Table 10.6.3-4, with what series lists show

STUDY_INSTANCE_UID = key_of("StudyInstanceUID")
SERIES_INSTANCE_UID = key_of("SeriesInstanceUID")
MODALITIES_IN_STUDY = key_of("ModalitiesInStudy")
INSTANCE_AVAILABILITY = key_of("InstanceAvailability")
RETRIEVE_URL = key_of("RetrieveURL")
TIMEZONE = frozenset({key_of("TimezoneOffsetFromUTC")})  # Table 10.6.3-5 has it; it lies with the series
STUDY_SERIES_COUNT = key_of("NumberOfStudyRelatedSeries")
STUDY_INSTANCES_COUNT = key_of("NumberOfStudyRelatedInstances")
SERIES_INSTANCES_COUNT = key_of("NumberOfSeriesRelatedInstances")

MAX_ANSWER_BYTES = 64 << 20  # of one answer in JSON; the rest is had by offset

ONLINE: DicomJson = {"vr": "CS", "Value": ["ONLINE"]}
UTF_8: DicomJson = {"vr": "CS", "Value": ["ISO_IR 192"]}  # PS3.18 F.2: JSON is UTF-8, and says so
SPECIFIC_CHARACTER_SET = key_of("SpecificCharacterSet")

# The columns of an instance row that are answered, with their VR.
INSTANCE_COLUMNS: Mapping[str, tuple[str, str]] = {
    key_of("SOPClassUID"): ("UI", "sop_class_uid"),
    key_of("SOPInstanceUID"): ("UI", "sop_instance_uid"),
    key_of("AvailableTransferSyntaxUID"): ("UI", "transfer_syntax_uid"),
    key_of("InstanceNumber"): ("IS", "instance_number"),
    key_of("Rows"): ("US", "image_rows"),
    key_of("Columns"): ("US", "image_columns"),
    key_of("BitsAllocated"): ("US", "bits_allocated"),
    key_of("NumberOfFrames"): ("IS", "number_of_frames"),
}


@dataclass(slots=True)
class Counts:
    """What is counted for the rows of one page, by the key of their row, and what lies over them."""

    series_of_study: dict[int, int] = field(default_factory=dict)
    modalities_of_study: dict[int, list[str]] = field(default_factory=dict)
    instances_of_study: dict[int, int] = field(default_factory=dict)
    instances_of_series: dict[int, int] = field(default_factory=dict)
    overlays: Overlays = field(default_factory=Overlays)  # of what is answered from whole instances


def answer_fragments(rows: Sequence[Row[Any]], query: Query, counts: Counts, public_base: str) -> list[bytes]:
    """Each row's answer as DICOM JSON, members in the order of their tags.

    It ends with the row with which they are `MAX_ANSWER_BYTES` or more: whole instances may be long.
    """
    render = _Rendering(query, counts, public_base)
    fragments: list[bytes] = []
    left = MAX_ANSWER_BYTES
    for row in rows:
        fragments.append(orjson.dumps(render.row(row), option=orjson.OPT_SORT_KEYS))
        left -= len(fragments[-1])
        if left <= 0:
            break
    return fragments


@dataclass(frozen=True, slots=True)
class _Rendering:
    query: Query
    counts: Counts
    public_base: str

    def row(self, row: Row[Any]) -> DicomJson:
        """The answer of one row of the query's level."""
        answer = {SPECIFIC_CHARACTER_SET: UTF_8, INSTANCE_AVAILABILITY: ONLINE}
        match self.query.level:
            case Level.STUDY:
                self._study(row, answer)
            case Level.SERIES:
                self._series(row, answer)
            case Level.INSTANCE:
                self._instance(row, answer)
        return answer

    def _study(self, row: Row[Any], answer: DicomJson) -> None:
        self._take(answer, row.study_attributes, STUDY_DEFAULTS)
        key = row.study_key
        answer[MODALITIES_IN_STUDY] = {"vr": "CS", "Value": self.counts.modalities_of_study.get(key, [])}
        answer[STUDY_SERIES_COUNT] = _attribute("IS", self.counts.series_of_study.get(key, 0))
        answer[STUDY_INSTANCES_COUNT] = _attribute("IS", self.counts.instances_of_study.get(key, 0))
        answer[RETRIEVE_URL] = _attribute("UR", study_url(self.public_base, row.study_instance_uid))

    def _series(self, row: Row[Any], answer: DicomJson) -> None:
        self._take(answer, row.study_attributes, frozenset() if self.query.within_study else STUDY_DEFAULTS)
        self._take(answer, row.series_attributes, SERIES_DEFAULTS)
        count = self.counts.instances_of_series.get(row.series_key, 0)
        answer[SERIES_INSTANCES_COUNT] = _attribute("IS", count)
        answer[STUDY_INSTANCE_UID] = _attribute("UI", row.study_instance_uid)
        url = series_url(self.public_base, row.study_instance_uid, row.series_instance_uid)
        answer[RETRIEVE_URL] = _attribute("UR", url)

    def _instance(self, row: Row[Any], answer: DicomJson) -> None:
        within_study, within_series = self.query.within_study, self.query.within_series
        url = instance_url(
            self.public_base, row.study_instance_uid, row.series_instance_uid, row.sop_instance_uid
        )
        if not within_study or self.query.fields:
            self._take(answer, row.study_attributes, frozenset() if within_study else STUDY_DEFAULTS)
        if not within_series or self.query.fields or next(iter(TIMEZONE)) in row.series_attributes:
            self._take(answer, row.series_attributes, TIMEZONE if within_series else SERIES_DEFAULTS)
        if self.query.needs_metadata:
            metadata = orjson.loads(unpack_metadata(row.dicom_json, url))
            overlay = self.counts.overlays.of(row.study_instance_uid, row.series_instance_uid)
            metadata = metadata if overlay is None else show(metadata, overlay)
            answer.update(_wanted(metadata, self.query, frozenset()))
        for name, (vr, column) in INSTANCE_COLUMNS.items():
            if (value := getattr(row, column)) is not None:
                answer[name] = _attribute(vr, value)
        answer[STUDY_INSTANCE_UID] = _attribute("UI", row.study_instance_uid)
        answer[SERIES_INSTANCE_UID] = _attribute("UI", row.series_instance_uid)
        answer[RETRIEVE_URL] = _attribute("UR", url)

    def _take(self, answer: DicomJson, attributes: str, defaults: frozenset[str]) -> None:
        answer.update(_wanted(orjson.loads(attributes), self.query, defaults))


def _wanted(attributes: DicomJson, query: Query, defaults: frozenset[str]) -> DicomJson:
    if query.include_all:
        return attributes
    wanted = take_fields(attributes, query.fields)
    wanted.update((name, attribute) for name, attribute in attributes.items() if name in defaults)
    return wanted


def _attribute(vr: str, value: str | int) -> DicomJson:
    return {"vr": vr, "Value": [value]}
