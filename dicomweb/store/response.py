"""The Store response: a data set that says what became of each instance (PS3.18 10.5.3, Annex I). Pure."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from http import HTTPStatus

import orjson

from dicomweb.attributes import DicomJson
from dicomweb.response_codes import StoreWarning, store_status
from dicomweb.store.instances import FailedAttribute, InstanceResult, Refusal
from dicomweb.store.warning_texts import warned_attribute
from dicomweb.urls import instance_url, study_url
from dicomweb.wire.dicom_json import data_set, element, sequence
from dicomweb.wire.dictionary import key_of

MAX_COMMENT_CHARACTERS = 64  # of an LO, PS3.5 Table 6.2-1
REPLACED_COMMENT = "Another data set had this UID; it was replaced and is kept aside"


@dataclass(frozen=True, slots=True)
class StoreResponse:
    """Status and body of a Store response."""

    status: HTTPStatus
    body: bytes


def store_response(results: Sequence[InstanceResult], public_base: str) -> StoreResponse:
    """What a Store request is answered with; `results` is not empty."""
    stored = [result for result in results if result.refusal is None]
    status = store_status(
        stored=len(stored),
        warned=sum(1 for result in stored if result.warnings or result.replaced),
        failed=len(results) - len(stored),
    )
    named = [_failed(r, r.refusal) for r in results if r.refusal and r.sop_instance_uid]
    others = [_reasons(r.refusal) for r in results if r.refusal and not r.sop_instance_uid]
    answer = data_set(
        _study_url(stored, public_base),
        _sequence("ReferencedSOPSequence", [_referenced(result, public_base) for result in stored]),
        _sequence("FailedSOPSequence", named),
        _sequence("OtherFailuresSequence", others),
    )
    return StoreResponse(status, orjson.dumps(answer))


def _study_url(stored: Iterable[InstanceResult], public_base: str) -> DicomJson:
    studies = {result.study_instance_uid for result in stored}
    return element("RetrieveURL", study_url(public_base, studies.pop())) if len(studies) == 1 else {}


def _sequence(keyword: str, items: Sequence[DicomJson]) -> DicomJson:
    return sequence(keyword, items) if items else {}


def _referenced(result: InstanceResult, public_base: str) -> DicomJson:
    place = (result.study_instance_uid, result.series_instance_uid, result.sop_instance_uid)
    url = element("RetrieveURL", instance_url(public_base, *place))
    return data_set(_names(result), url, _warnings(result))


def _warnings(result: InstanceResult) -> DicomJson:
    """One reason, for there is room for one: that something was replaced weighs more; and every attribute."""
    warned = [warned_attribute(warning) for warning in result.warnings]
    reason = StoreWarning.DATA_SET_DOES_NOT_MATCH_SOP_CLASS
    if result.replaced:
        warned.insert(0, FailedAttribute(key_of("SOPInstanceUID"), REPLACED_COMMENT))
        reason = StoreWarning.ANOTHER_WAS_REPLACED
    return element("WarningReason", reason.value) | _attributes(warned) if warned else {}


def _failed(result: InstanceResult, refusal: Refusal) -> DicomJson:
    return data_set(_names(result), _reasons(refusal))


def _reasons(refusal: Refusal) -> DicomJson:
    reason = element("FailureReason", refusal.reason.value)
    return data_set(reason, _attributes(refusal.failed_attributes) if refusal.failed_attributes else {})


def _names(result: InstanceResult) -> DicomJson:
    return element("ReferencedSOPClassUID", result.sop_class_uid) | element(
        "ReferencedSOPInstanceUID", result.sop_instance_uid
    )


def _attributes(failed: Iterable[FailedAttribute]) -> DicomJson:
    return sequence("FailedAttributesSequence", [_attribute(attribute) for attribute in failed])


def _attribute(failed: FailedAttribute) -> DicomJson:
    named = element("SelectorAttribute", failed.tag) if failed.tag else {}
    return data_set(element("ErrorComment", failed.comment[:MAX_COMMENT_CHARACTERS]), named)
