"""Whether an instance fits what is there: patient, study, series, and its own earlier self. Pure."""

from enum import Enum, auto

from dicomweb.response_codes import StoreFailure
from dicomweb.store.identity import PATIENT_ID
from dicomweb.store.instances import FailedAttribute, Origin, ReceivedInstance, Refusal
from dicomweb.store.known import Known, KnownStudy
from dicomweb.wire.dictionary import key_of
from server.kernel.access import Reach
from server.kernel.patients import PatientIdentifier
from server.kernel.site import Duplicates

STUDY_INSTANCE_UID = key_of("StudyInstanceUID")
SERIES_INSTANCE_UID = key_of("SeriesInstanceUID")
SOP_INSTANCE_UID = key_of("SOPInstanceUID")

PATIENT_COMMENTS = {
    StoreFailure.NOT_AUTHORIZED: "The patient is outside what the token may store for",
    StoreFailure.OTHER_PATIENT_THAN_STUDY: "Issuer and value differ from those of the study",
}

DUPLICATE_COMMENT = "Another data set is stored under this UID; the first is kept"
GIVEN_OUT_COMMENT = "A copy with other corrections than those of now; what was received first is kept"
DELETED_COMMENT = "It was deleted here; an administrator must release it first"


class Verdict(Enum):
    """What to do with an instance that is not refused."""

    NEW = auto()
    ALREADY_STORED = auto()
    REPLACES = auto()  # another data set, which is to be set aside


def judge(
    instance: ReceivedInstance,
    identifier: PatientIdentifier | None,
    known: Known,
    reach: Reach,
    duplicates: Duplicates = Duplicates.REFUSE,
) -> Verdict | Refusal:
    """Compare one instance with what the index holds.

    A study that is not there yet is judged by its patient link, when it is made.
    """
    study = known.studies.get(instance.parsed.study_instance_uid)
    if study is not None and not reach.includes(study.patient_id):
        return other_patient(StoreFailure.NOT_AUTHORIZED)
    if study is not None and not _is_of_patient(study, identifier):
        return other_patient(StoreFailure.OTHER_PATIENT_THAN_STUDY)
    return _judge_place(instance, known, reach, duplicates)


def other_patient(reason: StoreFailure) -> Refusal:
    """The refusal of an instance for the sake of its patient."""
    return Refusal(reason, (FailedAttribute(PATIENT_ID, PATIENT_COMMENTS[reason]),))


def _judge_place(
    instance: ReceivedInstance, known: Known, reach: Reach, duplicates: Duplicates
) -> Verdict | Refusal:
    parsed = instance.parsed
    study = known.studies.get(parsed.study_instance_uid)
    for tag, uid in (
        (STUDY_INSTANCE_UID, parsed.study_instance_uid),
        (SERIES_INSTANCE_UID, parsed.series_instance_uid),
        (SOP_INSTANCE_UID, parsed.sop_instance_uid),
    ):
        if known.is_deleted(parsed.study_instance_uid, uid):
            if study is None and reach.is_confined:  # whose it was nobody knows any more
                return other_patient(StoreFailure.NOT_AUTHORIZED)
            return Refusal(StoreFailure.DELETED_BEFORE, (FailedAttribute(tag, DELETED_COMMENT),))
    series = known.series.get(parsed.series_instance_uid)
    if series is not None and series.study_instance_uid != parsed.study_instance_uid:
        return _misplaced(
            SERIES_INSTANCE_UID, "The series belongs to another study", series.patient_id, reach
        )
    earlier = known.instances.get(parsed.sop_instance_uid)
    if earlier is None:
        return Verdict.NEW
    if earlier.series_instance_uid != parsed.series_instance_uid:
        return _misplaced(
            SOP_INSTANCE_UID, "The instance belongs to another series", earlier.patient_id, reach
        )
    if earlier.data_set_sha256 == instance.digests.data_set_sha256:
        return Verdict.ALREADY_STORED
    if duplicates is Duplicates.REPLACE and earlier.origin is Origin.RECEIVED:
        return Verdict.REPLACES
    comment = GIVEN_OUT_COMMENT if instance.was_given_out else DUPLICATE_COMMENT
    return Refusal(StoreFailure.DUPLICATE_SOP_INSTANCE, (FailedAttribute(SOP_INSTANCE_UID, comment),))


def _misplaced(tag: str, comment: str, patient_id: str | None, reach: Reach) -> Refusal:
    """What is under this UID is elsewhere; where it is out of reach, no more is told than of any other's."""
    if not reach.includes(patient_id):
        return other_patient(StoreFailure.NOT_AUTHORIZED)
    return Refusal(StoreFailure.CONTRADICTS_HIERARCHY, (FailedAttribute(tag, comment),))


def _is_of_patient(study: KnownStudy, identifier: PatientIdentifier | None) -> bool:
    """Whether it names the study's patient: as the study was sent, or since a merge as it is shown."""
    named = (identifier.system, identifier.value) if identifier else (None, None)
    if named == (study.patient_system, study.patient_value):
        return True
    sent = study.overlay
    return sent is not None and named == (sent.patient_system, sent.patient_value)


def names_survivor(study: KnownStudy, identifier: PatientIdentifier | None) -> bool:
    """Whether it names the Patient that the study's own was merged into."""
    if study.overlay is None or identifier is None:
        return False
    return (identifier.system, identifier.value) != (
        study.overlay.patient_system,
        study.overlay.patient_value,
    )
