"""DICOM objects, requests and an application for the tests of the studies service."""

import io
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from fastapi import FastAPI, Request, Response
from pydicom.dataset import Dataset, FileMetaDataset
from pydicom.filewriter import dcmwrite
from pydicom.uid import CTImageStorage, ExplicitVRLittleEndian
from starlette.types import ASGIApp, Receive, Scope, Send

from dicomweb.routes import build_router, fault_response
from server.kernel.access import ACCESS_KEY, Access, Context, Grant, Permission, Principal
from server.kernel.faults import Fault
from server.kernel.services import Services
from tests.services.routers import add_router

BOUNDARY = "a-boundary-of-the-tests"
MULTIPART = f'multipart/related; type="application/dicom"; boundary={BOUNDARY}'
DICOM_JSON = "application/dicom+json"


def uid(number: int) -> str:
    return f"2.25.{1000 + number}"


@dataclass(frozen=True)
class Place:
    """The UIDs of an instance."""

    study: str
    series: str
    instance: str

    @property
    def path(self) -> str:
        return f"/dicom-web/studies/{self.study}/series/{self.series}/instances/{self.instance}"


def place(study: int = 1, series: int = 1, instance: int = 1) -> Place:
    """UIDs that nest: series 1 of study 2 is another series than series 1 of study 1."""
    return Place(uid(study), uid(study * 100 + series), uid((study * 100 + series) * 1000 + instance))


def ct_slice(where: Place | None = None, /, **attributes: Any) -> Dataset:
    """A small CT image; `attributes` by keyword replace or add, None removes."""
    where = where or place()
    dataset = Dataset()
    dataset.SOPClassUID = CTImageStorage
    dataset.SOPInstanceUID = where.instance
    dataset.StudyInstanceUID = where.study
    dataset.SeriesInstanceUID = where.series
    dataset.PatientID = "P1"
    dataset.PatientName = "Doe^Jane"
    dataset.PatientBirthDate = "19700102"
    dataset.PatientSex = "F"
    dataset.StudyDate = "20260115"
    dataset.StudyTime = "101530"
    dataset.AccessionNumber = "A1"
    dataset.StudyID = "S1"
    dataset.Modality = "CT"
    dataset.SeriesNumber = 3
    dataset.InstanceNumber = 1
    dataset.Rows = dataset.Columns = 4
    dataset.BitsAllocated = dataset.BitsStored = 16
    dataset.HighBit = 15
    dataset.SamplesPerPixel = 1
    dataset.PixelRepresentation = 0
    dataset.PhotometricInterpretation = "MONOCHROME2"
    dataset.PixelData = bytes(range(32))
    for keyword, value in attributes.items():
        if value is None:
            delattr(dataset, keyword)
        else:
            setattr(dataset, keyword, value)
    return dataset


def as_file(dataset: Dataset, transfer_syntax: str = ExplicitVRLittleEndian) -> bytes:
    """The dataset as a DICOM file."""
    dataset.file_meta = FileMetaDataset()
    dataset.file_meta.MediaStorageSOPClassUID = dataset.get("SOPClassUID", CTImageStorage)
    dataset.file_meta.MediaStorageSOPInstanceUID = dataset.get("SOPInstanceUID") or uid(0)
    dataset.file_meta.TransferSyntaxUID = transfer_syntax
    target = io.BytesIO()
    dcmwrite(target, dataset, enforce_file_format=True)
    return target.getvalue()


def ct_file(where: Place | None = None, /, **attributes: Any) -> bytes:
    return as_file(ct_slice(where, **attributes))


def multipart(*files: bytes, end: bool = True) -> bytes:
    """A Store request's body."""
    head = f"--{BOUNDARY}\r\nContent-Type: application/dicom\r\n\r\n".encode()
    body = b"\r\n".join(head + file for file in files)
    return body + (f"\r\n--{BOUNDARY}--\r\n".encode() if end else b"")


def parts_of(content_type: str, body: bytes) -> list[tuple[dict[str, str], bytes]]:
    """The parts of a multipart/related answer, read without our own reader."""
    boundary = content_type.rpartition("boundary=")[2].strip('"').encode()
    assert body.endswith(b"\r\n--" + boundary + b"--\r\n")
    parts = []
    for each in body.removesuffix(b"\r\n--" + boundary + b"--\r\n").split(b"--" + boundary + b"\r\n")[1:]:
        head, _, content = each.partition(b"\r\n\r\n")
        headers = dict(line.split(": ", 1) for line in head.decode().split("\r\n"))
        parts.append((headers, content))
    return [(h, c.removesuffix(b"\r\n") if i < len(parts) - 1 else c) for i, (h, c) in enumerate(parts)]


ALL = frozenset(Permission)
EVERYTHING = Access(Principal("client:all", "all"), (Grant(Context.SYSTEM, "*", ALL),))


def confined_to(*patient_ids: str) -> Access:
    """The access of a token with a launch patient."""
    grants = (Grant(Context.PATIENT, "*", ALL),)
    return Access(Principal("user:patient", "patient"), grants, frozenset(patient_ids))


def granted(resource_type: str, permissions: str) -> Access:
    """The access of `system/<type>.<permissions>`."""
    opened = frozenset(map(Permission, permissions))
    return Access(Principal("client:some", "some"), (Grant(Context.SYSTEM, resource_type, opened),))


class Injected:
    """Puts the Access that a bearer token names into the scope, as authentication does."""

    def __init__(self, app: ASGIApp, accesses: Mapping[str, Access]) -> None:
        self.app, self.accesses = app, accesses

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        token = dict(scope.get("headers", ())).get(b"authorization", b"").decode().removeprefix("Bearer ")
        if token in self.accesses:
            scope[ACCESS_KEY] = self.accesses[token]
        await self.app(scope, receive, send)


def build_app(services: Services) -> FastAPI:
    """The studies service at its place, without authentication."""
    app = FastAPI()
    add_router(app, build_router(services), "/dicom-web")

    @app.exception_handler(Fault)
    async def answer(_: Request, fault: Fault) -> Response:
        return fault_response(fault)

    return app
