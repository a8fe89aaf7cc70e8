"""What can be wrong with bytes that claim to be a DICOM file (PS3.10 §7) or a DICOMweb message (PS3.18 §8).

Messages name attributes and byte positions, never values.
"""

from collections.abc import Mapping, Sequence

from server.kernel.faults import Fault, FaultKind


class UnreadableDataSet(Fault):
    """The bytes cannot be understood as a DICOM file; the Store response says Cannot Understand (C000)."""

    kind = FaultKind.UNPROCESSABLE


class NotDicom(UnreadableDataSet):
    """No DICOM file begins here: empty, or without the DICM prefix (PS3.10 §7.1)."""


class Truncated(UnreadableDataSet):
    """A length reaches over the end of what holds it."""


class TooComplex(UnreadableDataSet):
    """Deeper, longer or larger when inflated than any real object is."""


class UnreadableXml(UnreadableDataSet):
    """The text is no Native DICOM Model (PS3.19 A.1), or holds what is refused."""


class UnwritableDataSet(UnreadableDataSet):
    """Metadata of which no data set can be made (PS3.18 F.2)."""

    def __init__(self, path: str, reason: str) -> None:
        """`path`: keys and item numbers of the attribute, "" for the data set as a whole."""
        self.path = path
        super().__init__(reason)


class TransferSyntaxUnknown(Fault):
    """The file meta names no transfer syntax, or one that this server cannot walk (C122)."""

    kind = FaultKind.UNPROCESSABLE


class IdentityFault(Fault):
    """Attributes that identify an instance are not usable; `failed_attributes` lists each keyword."""

    kind = FaultKind.UNPROCESSABLE

    def __init__(self, reasons: Mapping[str, str]) -> None:
        """`reasons`: keyword of each bad attribute -> what is wrong with it."""
        self.failed_attributes: tuple[str, ...] = tuple(reasons)
        super().__init__("; ".join(f"{keyword} {reason}" for keyword, reason in reasons.items()))


class IdentifierMissing(IdentityFault):
    """At least one identifying attribute is absent or empty."""


class DataSetDoesNotMatch(IdentityFault):
    """An identifier is not a legal UID, or the file meta and the data set disagree (A900)."""


class MultipartFault(Fault):
    """The body is not the multipart/related message that its Content-Type says (RFC 2046 §5.1, RFC 2387)."""

    kind = FaultKind.INVALID


class UnsupportedContentType(Fault):
    """The media type of the request is not one that this transaction takes (RFC 9110 §15.5.16)."""

    kind = FaultKind.UNSUPPORTED_MEDIA_TYPE


class NotAcceptable(Fault):
    """Nothing the server can make of this resource is in the client's list (PS3.18 §8.7.8)."""

    kind = FaultKind.NOT_ACCEPTABLE

    def __init__(self, why: str, *, available: Sequence[str] = ()) -> None:
        """`available`: the media types that would be answered."""
        self.available = tuple(available)
        super().__init__(f"{why}; available: {', '.join(available)}" if available else why)
