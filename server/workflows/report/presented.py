"""The document as people read it: DiagnosticReport.presentedForm (FHIR R4 diagnosticreport.html, Attachment).

A page of HTML without script, link or anything from elsewhere. It says what was found and not of whom: whose
it is, the report's subject says, also after a merge or a correction.
"""

import hashlib
from base64 import b64encode
from dataclasses import dataclass
from typing import Any

from dicomweb.attributes import DicomJson
from dicomweb.render.media import PDF, NotRendered
from dicomweb.render.report import to_html
from dicomweb.urls import ROOT

Json = Any

MAX_INLINE_BYTES = 64 << 10  # of a page within the report; longer ones are fetched
MEDIA_TYPE = "text/html"
HEAD = (
    ("Completion", "CompletionFlag"),
    ("Verification", "VerificationFlag"),
)


@dataclass(frozen=True, slots=True)
class Place:
    """Where a document is retrieved."""

    public_base: str
    study_instance_uid: str
    series_instance_uid: str
    sop_instance_uid: str

    @property
    def rendered(self) -> str:
        """The URL of its rendering (PS3.18 8.7.4)."""
        series = (
            f"{self.public_base}{ROOT}/studies/{self.study_instance_uid}/series/{self.series_instance_uid}"
        )
        return f"{series}/instances/{self.sop_instance_uid}/rendered"


def presented_pdf(title: str, place: Place | None) -> list[dict[str, Json]]:
    """The Attachment that links a PDF with pictures; none when there is none."""
    return [] if place is None else [{"contentType": PDF, "title": title, "url": place.rendered}]


def presented_form(document: DicomJson, title: str, place: Place | None) -> list[dict[str, Json]]:
    """The Attachment with the document's page; none when it has too many items, or no place to be fetched."""
    try:
        page = to_html(document, HEAD).encode()
    except NotRendered:
        return []
    attachment = {"contentType": MEDIA_TYPE, "title": title}
    if len(page) <= MAX_INLINE_BYTES:
        digest = hashlib.sha1(page, usedforsecurity=False).digest()  # what R4 wants of Attachment.hash
        said = {"data": b64encode(page).decode(), "size": len(page), "hash": b64encode(digest).decode()}
        return [{**attachment, **said}]
    return [] if place is None else [{**attachment, "url": place.rendered}]
