"""Reading received parts: each becomes an instance or a refusal (PS3.18 Table I.2-2)."""

from collections.abc import Mapping

from dicomweb.response_codes import StoreFailure
from dicomweb.store.columns import keep_indexed
from dicomweb.store.identity import overlong_identifier
from dicomweb.store.instances import (
    FailedAttribute,
    InstanceResult,
    ReceivedInstance,
    Refusal,
    prepare_instance,
    result_of,
)
from dicomweb.store.receive import ReceivedPart
from dicomweb.wire.dictionary import key_of
from dicomweb.wire.faults import (
    DataSetDoesNotMatch,
    IdentifierMissing,
    IdentityFault,
    TransferSyntaxUnknown,
    UnreadableDataSet,
)
from dicomweb.wire.file_meta import read_file_meta
from dicomweb.wire.instance import is_uid
from server.kernel.faults import Fault

STUDY_INSTANCE_UID = key_of("StudyInstanceUID")
OTHER_STUDY_COMMENT = "The instance belongs to another study than the request names"
OVERLONG_COMMENT = "Longer than an identifier of a patient may be here"

FAILURE_OF: Mapping[type[Fault], StoreFailure] = {
    UnreadableDataSet: StoreFailure.CANNOT_UNDERSTAND,
    TransferSyntaxUnknown: StoreFailure.TRANSFER_SYNTAX_NOT_SUPPORTED,
    IdentifierMissing: StoreFailure.DATA_SET_DOES_NOT_MATCH_SOP_CLASS,
    DataSetDoesNotMatch: StoreFailure.DATA_SET_DOES_NOT_MATCH_SOP_CLASS,
}  # by the nearest class of the fault's


def prepare_part(part: ReceivedPart, target_study: str | None) -> ReceivedInstance | InstanceResult:
    """Read one part; blocks. An InstanceResult is a refusal.

    `target_study` is the Study Instance UID of the resource path; None: any study (PS3.18 10.5.1). The
    instance keeps of its DICOM JSON what the index needs: a batch of them waits for the disk.
    """
    if part.failure is not None:
        return part.failure
    with part.opened() as body:
        try:
            received = prepare_instance(body)
        except Fault as fault:
            return _refused(body[: 1 << 20], fault)
    parsed = received.parsed
    if target_study is not None and parsed.study_instance_uid != target_study:
        failed = (FailedAttribute(STUDY_INSTANCE_UID, OTHER_STUDY_COMMENT),)
        return result_of(parsed, Refusal(StoreFailure.OTHER_STUDY_THAN_REQUESTED, failed))
    if (name := overlong_identifier(parsed.dicom_json)) is not None:
        failed = (FailedAttribute(name, OVERLONG_COMMENT),)
        return result_of(parsed, Refusal(StoreFailure.DATA_SET_DOES_NOT_MATCH_SOP_CLASS, failed))
    keep_indexed(parsed.dicom_json)
    return received


def failure_of(fault: Fault) -> StoreFailure:
    """The Failure Reason of a fault."""
    reasons = (FAILURE_OF[kind] for kind in type(fault).__mro__ if kind in FAILURE_OF)
    return next(reasons, StoreFailure.PROCESSING_FAILURE)


def _refused(head: bytes | bytearray, fault: Fault) -> InstanceResult:
    """The refusal of a part that cannot be indexed, by the UIDs that its file meta gives, if any."""
    sop_class_uid, sop_instance_uid = _meta_uids(head)
    refusal = Refusal(failure_of(fault), _failed_attributes(fault))
    return InstanceResult(sop_class_uid, sop_instance_uid, "", "", refusal)


def _failed_attributes(fault: Fault) -> tuple[FailedAttribute, ...]:
    if not isinstance(fault, IdentityFault):
        return (FailedAttribute("", str(fault)),)
    reasons = str(fault).split("; ")
    return tuple(
        FailedAttribute(key_of(keyword), reason)
        for keyword, reason in zip(fault.failed_attributes, reasons, strict=True)
    )


def _meta_uids(head: bytes | bytearray) -> tuple[str, str]:
    try:
        meta = read_file_meta(head)
    except Fault:
        return "", ""
    uids = (meta.sop_class_uid, meta.sop_instance_uid)
    return uids if all(map(is_uid, uids)) else ("", "")
