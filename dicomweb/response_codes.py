"""What this server says when a Store or a request does not succeed, and with which number.

PS3.18 Table 10.5.3-1 (status), Annex I.2 (reasons), §8.5 (status codes).
"""

from enum import IntEnum
from http import HTTPStatus

from server.kernel.faults import Busy


class StoreFailure(IntEnum):
    """Failure Reason (0008,1197) values this server sends.

    From PS3.18 Table I.2-2, which leaves the low digits of A7xx, A9xx and Cxxx to the server, and from PS3.7
    Annex C where that is exacter.
    """

    PROCESSING_FAILURE = 0x0110
    DUPLICATE_SOP_INSTANCE = 0x0111  # PS3.7 C.5.9: another content is stored under this SOP Instance UID
    SOP_CLASS_NOT_SUPPORTED = 0x0122
    NOT_AUTHORIZED = 0x0124  # PS3.7 C.5.16: outside the patients the caller may store for
    OUT_OF_RESOURCES = 0xA700
    DATA_SET_DOES_NOT_MATCH_SOP_CLASS = 0xA900
    OTHER_STUDY_THAN_REQUESTED = 0xA901  # Study Instance UID differs from the target resource's
    CANNOT_UNDERSTAND = 0xC000
    OTHER_PATIENT_THAN_STUDY = 0xC001  # issuer and Patient ID differ from the study's
    CONTRADICTS_HIERARCHY = 0xC002  # the series lies in another study, or the instance in another series
    DELETED_BEFORE = 0xC003  # the instance, its series or its study was deleted and is not released
    TRANSFER_SYNTAX_NOT_SUPPORTED = 0xC122


class StoreWarning(IntEnum):
    """Warning Reason (0008,1196) values this server sends, PS3.18 Table I.2-1."""

    DATA_SET_DOES_NOT_MATCH_SOP_CLASS = (
        0xB007  # stored bit for bit, but something in it is not as it should be
    )
    ANOTHER_WAS_REPLACED = 0xB008  # ours: another data set had this UID, and is kept aside


def store_status(*, stored: int, warned: int, failed: int) -> HTTPStatus:
    """Status of a Store response, PS3.18 Table 10.5.3-1; `stored` includes `warned`.

    (When nothing was stored only for want of room, the caller answers 503 with Retry-After.)
    """
    if stored == 0:
        return HTTPStatus.CONFLICT
    return HTTPStatus.ACCEPTED if warned or failed else HTTPStatus.OK


RETRY_AFTER_S = 10  # told to a caller that came when there was no room


class NoRoom(Busy):
    """Nothing of a Store request could be kept, only for want of room; the same request may succeed later."""
