"""The index of the archive: study, series and instance rows (DESIGN §5).

Every QIDO-RS key of PS3.18 Tables 10.6.1-3, -4 and -5 is a column in a form that can be compared: dates as
YYYYMMDD, times padded to HHMMSS.FFFFFF, names folded by component group. What was sent stands beside it in
`attributes` (DICOM JSON of the level) and, whole and always as sent, in `InstanceMetadata`.
"""

from sqlalchemy import (
    BigInteger,
    Boolean,
    Column,
    ForeignKey,
    Index,
    Integer,
    LargeBinary,
    String,
    Text,
    UniqueConstraint,
    false,
)
from sqlmodel import Field

from server.kernel.rows import Row
from server.kernel.tables import BigKey, big_key


def _owner(column: str) -> Column[int]:
    """A 64-bit reference to the row that owns this one."""
    return Column(BigKey, ForeignKey(column), nullable=False)


def _later_text() -> Column[str]:
    """A text that an earlier release does not write."""
    return Column(String, nullable=False, server_default="")


def _index_version() -> Column[int]:
    """By which `dicomweb.store.columns.INDEX_VERSION` the columns were made; 0: before there was one."""
    return Column(Integer, nullable=False, server_default="0")


def _prefix_index(column: str) -> Index:
    """An index that serves equality, and `abc*` on PostgreSQL too, whatever its collation."""
    return Index(None, column, postgresql_ops={column: "text_pattern_ops"})


class Study(Row, table=True):
    """One study. `patient_id` is the FHIR Patient's id; null unless `link_state` is "linked".

    `identified_id` is the Patient that carries its identifier. Once that one is merged into another,
    `patient_id` is the other; unmerging makes them equal again. What it says of itself is what is shown:
    where that is not what was sent, `StudyOverlay` knows both.
    """

    __tablename__ = "study"
    __table_args__ = (
        UniqueConstraint("study_instance_uid"),
        Index(None, "study_date", "id"),
        Index(None, "patient_id", "study_date", "id"),
        Index(None, "patient_system", "patient_value"),
        _prefix_index("patient_value"),
        _prefix_index("accession_number"),
        _prefix_index("patient_name_folded"),
        _prefix_index("patient_name_ideographic"),
        _prefix_index("patient_name_phonetic"),
        _prefix_index("referring_physician_name_folded"),
        _prefix_index("study_identifier"),
        _prefix_index("study_description"),
        Index(None, "link_state"),
        Index(None, "created_us"),
        Index(None, "index_version"),
    )

    id: int | None = Field(default=None, sa_column=big_key())
    study_instance_uid: str
    study_date: str = ""  # YYYYMMDD; "" when not known, so that the order has no nulls
    study_time: str = ""  # HHMMSS.FFFFFF; "" when not known
    accession_number: str = ""
    study_identifier: str = ""  # Study ID (0020,0010)
    referring_physician_name_folded: str = ""
    referring_physician_name_ideographic: str = ""
    referring_physician_name_phonetic: str = ""
    patient_name_folded: str = ""  # alphabetic group, case- and accent-folded, components still split by ^
    patient_name_ideographic: str = ""
    patient_name_phonetic: str = ""
    patient_name_words: str = ""  # "family given …" folded, without delimiters: for phonetic keys
    patient_birth_date: str = ""
    patient_sex: str = ""
    patient_system: str | None = None  # issuer of the Patient ID as Identifier.system; null: no Patient ID
    patient_value: str | None = None  # Patient ID (0010,0020); null: none
    patient_id: str | None = None
    identified_id: str | None = None
    link_state: str  # server.kernel.patients.LinkState
    created_us: int = Field(sa_type=BigInteger)
    input_changed_us: int | None = Field(
        default=None, sa_type=BigInteger
    )  # receipt of the last input instance
    changed_us: int = Field(sa_type=BigInteger)
    has_tombstones: bool = Field(  # whether something of it was deleted, so that Store looks for it
        default=False, sa_column=Column(Boolean, nullable=False, server_default=false())
    )
    study_description: str = Field(default="", sa_column=_later_text())
    issuer_of_patient_id: str = Field(default="", sa_column=_later_text())
    index_version: int = Field(default=0, sa_column=_index_version())
    overlaid_us: int | None = Field(default=None, sa_type=BigInteger)  # null: everything is as sent
    attributes: str = Field(sa_type=Text)  # DICOM JSON object: patient and study attributes as shown


class StudyName(Row, table=True):
    """One word of a person's name of a study, and how it sounds (`dicomweb/phonetic.py`).

    It goes with its study by itself: an earlier release, which deletes studies too, does not know of it.
    """

    __tablename__ = "study_name"
    __table_args__ = (_prefix_index("word"), Index(None, "sound"))

    study_id: int = Field(
        sa_column=Column(BigKey, ForeignKey("study.id", ondelete="CASCADE"), primary_key=True)
    )
    attribute: str = Field(primary_key=True)  # the stem of its columns in `Study`: "patient_name"
    word: str = Field(primary_key=True)
    sound: str


class StudyOverlay(Row, table=True):
    """What a study shows otherwise than it was sent (DESIGN §5, Corrections).

    It goes with its study by itself, as `StudyName` does.
    """

    __tablename__ = "study_overlay"

    study_id: int = Field(
        sa_column=Column(BigKey, ForeignKey("study.id", ondelete="CASCADE"), primary_key=True)
    )
    merged: str = Field(sa_type=Text)  # DICOM JSON object: whose it is since a merge; {}: it is not merged
    merged_us: int | None = Field(default=None, sa_type=BigInteger)
    corrected: str = Field(sa_type=Text)  # DICOM JSON object: what an administrator set; {}: nothing
    corrected_us: int | None = Field(default=None, sa_type=BigInteger)
    corrected_by: str | None = None  # the Principal's id
    reason: str | None = Field(default=None, sa_type=Text)
    sent: str = Field(sa_type=Text)  # JSON object: of each attribute above what was sent; null: nothing
    sent_system: str | None = None  # `Study.patient_system` and `.patient_value` as sent
    sent_value: str | None = None
    has_both: bool = False  # whether instances came that name the Patient it was merged into


class SeriesOverlay(Row, table=True):
    """What a series shows otherwise than it was sent. It goes with its series by itself."""

    __tablename__ = "series_overlay"

    series_id: int = Field(
        sa_column=Column(BigKey, ForeignKey("series.id", ondelete="CASCADE"), primary_key=True)
    )
    corrected: str = Field(sa_type=Text)  # DICOM JSON object
    corrected_us: int = Field(sa_type=BigInteger)
    corrected_by: str  # the Principal's id
    reason: str = Field(sa_type=Text)
    sent: str = Field(sa_type=Text)  # JSON object: of each attribute above what was sent; null: nothing


class SurvivingPatient(Row, table=True):
    """What studies of the Patients that are merged into this one show of its person."""

    __tablename__ = "surviving_patient"

    patient_id: str = Field(primary_key=True)
    attributes: str = Field(sa_type=Text)  # DICOM JSON object: name, birth date, sex, as far as known
    merged_us: int = Field(sa_type=BigInteger)


class Series(Row, table=True):
    """One series; `superseded_us` is set while every instance of it is superseded."""

    __tablename__ = "series"
    __table_args__ = (
        UniqueConstraint("series_instance_uid"),
        Index(None, "study_id", "superseded_us", "modality"),
        Index(None, "modality", "study_id"),
        Index(None, "performed_procedure_step_start_date"),
        Index(None, "pack_due_us"),
        Index(None, "series_date"),
        _prefix_index("series_description"),
        _prefix_index("body_part_examined"),
        _prefix_index("institution_name"),
        _prefix_index("manufacturer_model_name"),
        Index(None, "index_version"),
    )

    id: int | None = Field(default=None, sa_column=big_key())
    study_id: int = Field(sa_column=_owner("study.id"))
    series_instance_uid: str
    modality: str = ""
    series_number: int | None = None
    performed_procedure_step_start_date: str = ""
    performed_procedure_step_start_time: str = ""
    created_us: int = Field(sa_type=BigInteger)
    superseded_us: int | None = Field(default=None, sa_type=BigInteger)
    pack_due_us: int | None = Field(  # from when on packing looks at it; null: it lies as it should
        default=0, sa_type=BigInteger, sa_column_kwargs={"server_default": "0"}
    )
    series_date: str = Field(default="", sa_column=_later_text())
    series_time: str = Field(default="", sa_column=_later_text())
    series_description: str = Field(default="", sa_column=_later_text())
    protocol_name: str = Field(default="", sa_column=_later_text())
    body_part_examined: str = Field(default="", sa_column=_later_text())
    station_name: str = Field(default="", sa_column=_later_text())
    institution_name: str = Field(default="", sa_column=_later_text())
    manufacturer: str = Field(default="", sa_column=_later_text())
    manufacturer_model_name: str = Field(default="", sa_column=_later_text())
    index_version: int = Field(default=0, sa_column=_index_version())
    overlaid_us: int | None = Field(default=None, sa_type=BigInteger)  # null: everything is as sent
    attributes: str = Field(sa_type=Text)  # DICOM JSON object: series attributes as shown


class SeriesRequest(Row, table=True):
    """One item of Request Attributes Sequence (0040,0275) of a series."""

    __tablename__ = "series_request"
    __table_args__ = (
        Index(None, "series_id"),
        _prefix_index("scheduled_procedure_step_id"),
        _prefix_index("requested_procedure_id"),
    )

    id: int | None = Field(default=None, sa_column=big_key())
    series_id: int = Field(sa_column=_owner("series.id"))
    scheduled_procedure_step_id: str = ""
    requested_procedure_id: str = ""


class Instance(Row, table=True):
    """One SOP instance and where its bytes lie; narrow, so that many fit a page."""

    __tablename__ = "instance"
    __table_args__ = (
        UniqueConstraint("sop_instance_uid"),
        Index(None, "study_id", "superseded_us"),
        Index(None, "series_id", "superseded_us", "instance_number"),
        Index(None, "sop_class_uid"),
        Index(None, "object_name"),
    )

    id: int | None = Field(default=None, sa_column=big_key())
    study_id: int = Field(sa_column=_owner("study.id"))
    series_id: int = Field(sa_column=_owner("series.id"))
    sop_instance_uid: str
    sop_class_uid: str
    instance_number: int | None = None
    rows: int | None = None
    columns: int | None = None
    bits_allocated: int | None = None
    number_of_frames: int | None = None
    transfer_syntax_uid: str
    origin: str  # dicomweb.store.instances.Origin
    stored_us: int = Field(sa_type=BigInteger)
    superseded_us: int | None = Field(default=None, sa_type=BigInteger)  # null: current
    object_name: str
    object_offset: int = Field(sa_type=BigInteger)
    object_length: int = Field(sa_type=BigInteger)
    data_set_offset: int  # first byte of the data set within the file: preamble and file meta end here
    file_sha256: bytes = Field(sa_type=LargeBinary)
    file_xxh3: bytes | None = Field(default=None, sa_type=LargeBinary)  # what reads prove; null: SHA-256
    data_set_sha256: bytes = Field(sa_type=LargeBinary)  # without the file meta: what makes a duplicate equal


class InstanceMetadata(Row, table=True):
    """What only metadata, frames and bulk data need of an instance; wide, and so apart."""

    __tablename__ = "instance_metadata"

    instance_id: int = Field(sa_column=Column(BigKey, ForeignKey("instance.id"), primary_key=True))
    dicom_json: bytes = Field(sa_type=LargeBinary)  # zstd; BulkDataURI relative to the instance resource
    pixel_layout: bytes | None = Field(
        default=None, sa_type=LargeBinary
    )  # dicomweb.store.layout; null: no pixels
    bulk_values: str | None = Field(
        default=None, sa_type=Text
    )  # JSON [[path, offset, length], …]; null: none


class Tombstone(Row, table=True):
    """A study, series or instance that was deleted: it is not stored again until `released_us` is set."""

    __tablename__ = "tombstone"
    __table_args__ = (Index(None, "study_instance_uid", "released_us"), Index(None, "uid"))

    id: int | None = Field(default=None, sa_column=big_key())
    uid: str  # of what was deleted; all below it is covered
    level: str  # dicomweb.delete.tombstones.TombstoneLevel
    study_instance_uid: str
    instances: int  # that went with it
    deleted_by: str  # the Principal's id
    reason: str = Field(sa_type=Text)
    deleted_us: int = Field(sa_type=BigInteger)
    released_us: int | None = Field(default=None, sa_type=BigInteger)
    released_by: str | None = None


class DeletedStudy(Row, table=True):
    """Whose a study was that is gone, because its reports stay: it follows merges as `Study` does."""

    __tablename__ = "deleted_study"

    study_instance_uid: str = Field(primary_key=True)
    patient_id: str | None = Field(default=None, index=True)
    identified_id: str | None = None
    deleted_us: int = Field(sa_type=BigInteger)


class LegalHold(Row, table=True):
    """An order to keep a study, or all studies of a patient, whatever policy or person would delete them."""

    __tablename__ = "legal_hold"

    id: int | None = Field(default=None, sa_column=big_key())
    study_instance_uid: str | None = Field(default=None, index=True)  # null: of a patient
    patient_id: str | None = Field(default=None, index=True)  # FHIR Patient id; null: of a study
    reason: str = Field(sa_type=Text)
    placed_by: str  # the Principal's id
    placed_us: int = Field(sa_type=BigInteger)
    released_us: int | None = Field(default=None, sa_type=BigInteger)  # null: in force
    released_by: str | None = None
    release_reason: str | None = Field(default=None, sa_type=Text)
