"""What the methods of resources take and answer, by the name of their route (PS3.18 §8.7.3, §8.7.4, §8.9)."""

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from dicomweb.render.media import ALL_TYPES, JPEG, PNG, TYPES, Kind
from dicomweb.retrieve.forms import ZIP
from dicomweb.wire.negotiation import DEFAULT_SYNTAX_OF, DICOM, DICOM_JSON, DICOM_XML, JSON, OCTETS

RELATED = "multipart/related"
_DATA_SETS = (DICOM_JSON, JSON, RELATED, DICOM_XML)
_IMAGES = TYPES[Kind.IMAGE]
_STORED = tuple(DEFAULT_SYNTAX_OF)  # octets and coded frames
_WORKITEM = (DICOM_JSON, JSON, DICOM_XML, RELATED)


@dataclass(frozen=True, slots=True)
class Payloads:
    """Media types of bodies; those of the parts of a multipart message are named beside it."""

    takes: Sequence[str] = ()
    answers: Sequence[str] = ()


PAYLOADS: Mapping[str, Payloads] = {  # the name of the route, as a pattern
    "store_instances.*": Payloads(
        (
            RELATED,
            DICOM,
            DICOM_JSON,
            DICOM_XML,
            OCTETS,
            JPEG,
            "image/jls",
            "image/jp2",
            PNG,
            "application/pdf",
        ),
        (DICOM_JSON, JSON, DICOM_XML),
    ),
    "search_.*": Payloads((), _DATA_SETS),
    "retrieve_(study|series|instance)": Payloads((), (RELATED, DICOM, ZIP, *_STORED)),
    ".*_metadata": Payloads((), _DATA_SETS),
    ".*_bulk_data|.*_pixel_data|bulk_value|instance_frames": Payloads((), (RELATED, *_STORED)),
    "rendered_frames": Payloads((), (RELATED, *_IMAGES)),
    "rendered_.*": Payloads((), (RELATED, *ALL_TYPES)),
    ".*_thumbnail": Payloads((), (RELATED, *_IMAGES)),
    "wado": Payloads((), (DICOM, *ALL_TYPES)),
    "retrieve_workitem": Payloads((), _WORKITEM),
    "create_workitem|update_workitem|change_workitem_state|request_cancellation": Payloads(_WORKITEM),
    "subscribe_ae|unsubscribe_ae|suspend_ae|delete_(study|series|instance)": Payloads(),
}


def payloads_of(route: str) -> Payloads:
    """What a route takes and answers; nothing where the table does not know it."""
    found = (payloads for pattern, payloads in PAYLOADS.items() if re.fullmatch(pattern, route))
    return next(found, Payloads())
