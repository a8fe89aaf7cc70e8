"""The query parameters of WADO-URI (PS3.18 §9.1, §9.4, §9.5). Pure."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass

from dicomweb.retrieve.locate import Resource
from dicomweb.wire.media_types import MediaRange, parse_accept
from server.kernel.faults import Fault, FaultKind

DICOM = "application/dicom"
_TAKES_DICOM = (DICOM, "application/*", "*/*")
_REQUIRED = ("studyUID", "seriesUID", "objectUID")


class ParameterInvalid(Fault):
    """A parameter is missing, or has a value that it may not have (PS3.18 9.1.3)."""


class NoAnonymizing(Fault):
    """The server does not take identity out of objects, and so sends none (PS3.18 9.4.1.2.1)."""

    kind = FaultKind.NOT_IMPLEMENTED


@dataclass(frozen=True, slots=True)
class UriRequest:
    """What a WADO-URI request asks for."""

    resource: Resource
    accept: tuple[MediaRange, ...]  # best first
    dicom: tuple[MediaRange, ...]  # those of them that take the instance itself
    given: Mapping[str, str]  # every parameter

    @property
    def prefers_dicom(self) -> bool:
        """Whether what the client likes best is the instance itself, or anything."""
        return self.accept[0].name in _TAKES_DICOM and self.accept[0].quality > 0


def parse_parameters(pairs: Iterable[tuple[str, str]], accept: Iterable[str]) -> UriRequest:
    """Read the query; `accept` is the header, which counts when there is no contentType.

    Raises:
        ParameterInvalid: a required one is missing, one comes twice, or requestType is not WADO.
        NoAnonymizing: anonymize=yes.
        NotAcceptable: contentType cannot be read.
    """
    found: dict[str, str] = {}
    for name, value in pairs:
        if name in found:
            raise ParameterInvalid("A parameter comes twice.")
        found[name] = value
    if found.get("requestType") != "WADO":
        raise ParameterInvalid("requestType must be WADO.")
    for name in _REQUIRED:
        if not found.get(name):
            raise ParameterInvalid(f"{name} is required.")
    _refuse_anonymizing(found.get("anonymize"))
    ranges = parse_accept(list(accept), found.get("contentType"))
    study, series, instance = (found[name] for name in _REQUIRED)
    syntax = found.get("transferSyntax")
    dicom = tuple(
        _as_dicom(each, syntax) for each in ranges if each.name in _TAKES_DICOM and each.quality > 0
    )
    return UriRequest(Resource(study, series, instance), ranges, dicom, found)


def _refuse_anonymizing(value: str | None) -> None:
    if value == "yes":
        raise NoAnonymizing("anonymize=yes is not supported: nothing was sent.")
    if value not in (None, "no"):
        raise ParameterInvalid("anonymize must be yes.")


def _as_dicom(each: MediaRange, transfer_syntax: str | None) -> MediaRange:
    """A range for the stored transfer syntax, unless transferSyntax names another (PS3.18 9.4.1.2.2)."""
    syntax = transfer_syntax or each.transfer_syntax or "*"
    return MediaRange(DICOM, transfer_syntax=syntax, quality=each.quality)
