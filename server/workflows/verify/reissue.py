"""A document issued anew as VERIFIED, in our own writing (PS3.3 C.17.2, SR Document General). Pure.

The new instance stands in the series of the one that it replaces, and names it as its predecessor. Who
verified an earlier edition is named there: nobody stands for words that came later. Digital signatures are
left out: they are of other bytes.
"""

from dataclasses import dataclass
from datetime import UTC, datetime
from typing import cast

from dicomweb.attributes import DicomJson
from dicomweb.definitions import transfer_syntaxes as ts
from dicomweb.wire.data_set_writer import write_data_set
from dicomweb.wire.dicom_json import data_set, element, sequence, text_of, value_of
from dicomweb.wire.dictionary import key_of
from dicomweb.wire.file_writer import write_head
from dicomweb.wire.pieces import Piece
from dicomweb.wire.value_writers import NotOfVr
from server.kernel.clock import SECOND_US

VERIFIED = "VERIFIED"
UNSTATED = "not stated"  # Verifying Organization is Type 1
_SIGNATURES = tuple(map(key_of, ("DigitalSignaturesSequence", "MACParametersSequence")))


@dataclass(frozen=True, slots=True)
class Signature:
    """Who verifies, and when."""

    name: str
    organization: str | None
    at_us: int

    @property
    def at(self) -> datetime:
        """The instant in UTC."""
        return datetime.fromtimestamp(self.at_us // SECOND_US, UTC)


def reissue(document: DicomJson, signature: Signature, sop_instance_uid: str) -> bytes:
    """The file of the verified document.

    Raises:
        UnwritableDataSet: an attribute cannot be written again.
    """
    kept = {key: value for key, value in document.items() if key not in _SIGNATURES}
    at = signature.at
    made = data_set(
        kept,
        element("SOPInstanceUID", sop_instance_uid),
        element("InstanceNumber", str(_number(document) + 1)),
        element("InstanceCreationDate", f"{at:%Y%m%d}"),
        element("InstanceCreationTime", f"{at:%H%M%S}"),
        element("CompletionFlag", "COMPLETE"),
        element("VerificationFlag", VERIFIED),
        element("PreliminaryFlag", "FINAL"),
        sequence("VerifyingObserverSequence", [_observer(signature, document)]),
        sequence("PredecessorDocumentsSequence", [_reference(document)]),
    )
    body = write_data_set(made, _refuse_bulk)
    head = write_head(text_of(made, "SOPClassUID"), sop_instance_uid, ts.ExplicitVRLittleEndian)
    return head + b"".join(cast("list[bytes]", body.pieces))  # there is no bulk data among them


def _number(document: DicomJson) -> int:
    text = str(value_of(document, "InstanceNumber") or "").strip()
    return int(text) if text.isascii() and text.isdigit() and len(text) < 10 else 0


def _observer(signature: Signature, document: DicomJson) -> DicomJson:
    organization = signature.organization or text_of(document, "InstitutionName") or UNSTATED
    return data_set(
        element("VerifyingOrganization", organization[:64]),
        element("VerificationDateTime", f"{signature.at:%Y%m%d%H%M%S}+0000"),
        element("VerifyingObserverName", signature.name),
        sequence("VerifyingObserverIdentificationCodeSequence", []),
    )


def _reference(document: DicomJson) -> DicomJson:
    """The document as Predecessor Documents Sequence names it (PS3.3 Table C.17-3)."""
    instance = data_set(
        element("ReferencedSOPClassUID", text_of(document, "SOPClassUID")),
        element("ReferencedSOPInstanceUID", text_of(document, "SOPInstanceUID")),
    )
    series = data_set(
        element("SeriesInstanceUID", text_of(document, "SeriesInstanceUID")),
        sequence("ReferencedSOPSequence", [instance]),
    )
    return data_set(
        element("StudyInstanceUID", text_of(document, "StudyInstanceUID")),
        sequence("ReferencedSeriesSequence", [series]),
    )


def _refuse_bulk(_uri: str) -> list[Piece]:
    raise NotOfVr("the value is too long to be written again")
