"""A DICOMweb server in the process: just enough of STOW-RS and QIDO-RS to see what a client does."""

from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from email import message_from_bytes
from pathlib import Path

import httpx
import numpy as np
import pytest
from pydicom import Dataset, dcmread
from pydicom.dataset import FileMetaDataset
from pydicom.filebase import DicomBytesIO
from pydicom.uid import CTImageStorage, ExplicitVRLittleEndian

from server.client.stow import Remote


@dataclass
class FakeServer:
    """Answers like a server; `script` answers come first."""

    stored: dict[str, bytes] = field(default_factory=dict)
    refuse: dict[str, int] = field(default_factory=dict)  # SOP Instance UID → Failure Reason
    script: list[Callable[[httpx.Request], httpx.Response]] = field(default_factory=list)
    requests: list[tuple[str, str]] = field(default_factory=list)
    posted: list[int] = field(default_factory=list)  # instances in each Store request
    waits: list[float] = field(default_factory=list)
    largest: int | None = None

    def __call__(self, request: httpx.Request) -> httpx.Response:
        self.requests.append((request.method, request.url.path))
        if request.method == "GET":
            return self._query(request)
        if self.script:
            return self.script.pop(0)(request)
        body = request.read()
        assert int(request.headers["content-length"]) == len(body)
        if self.largest is not None and len(body) > self.largest:
            return httpx.Response(413)
        return self._store(parts_of(request.headers["content-type"], body))

    def _query(self, request: httpx.Request) -> httpx.Response:
        wanted = request.url.params["SOPInstanceUID"].split(",")
        found = [{"00080018": {"vr": "UI", "Value": [uid]}} for uid in wanted if uid in self.stored]
        return httpx.Response(200, json=found) if found else httpx.Response(204)

    def _store(self, parts: list[bytes]) -> httpx.Response:
        self.posted.append(len(parts))
        failed, done = [], []
        for part in parts:
            uid = str(dcmread(DicomBytesIO(part)).SOPInstanceUID)
            if uid in self.refuse:
                failed.append(failed_item(uid, self.refuse[uid]))
            else:
                self.stored[uid] = part
                done.append({"00081155": {"vr": "UI", "Value": [uid]}})
        body = {"00081199": {"vr": "SQ", "Value": done}, "00081198": {"vr": "SQ", "Value": failed}}
        return httpx.Response(200 if not failed else 202 if done else 409, json=body)


def failed_item(uid: str, reason: int) -> dict[str, object]:
    attribute = {
        "00720026": {"vr": "AT", "Value": ["00100020"]},
        "00000902": {"vr": "LO", "Value": ["is empty"]},
    }
    return {
        "00081155": {"vr": "UI", "Value": [uid]},
        "00081197": {"vr": "US", "Value": [reason]},
        "00741048": {"vr": "SQ", "Value": [attribute]},
    }


def parts_of(content_type: str, body: bytes) -> list[bytes]:
    message = message_from_bytes(b"Content-Type: " + content_type.encode() + b"\r\n\r\n" + body)
    boundary = message.get_boundary()
    assert boundary is not None
    pieces = body.split(f"--{boundary}".encode())
    assert pieces[-1] == b"--\r\n"
    return [piece.split(b"\r\n\r\n", 1)[1].removesuffix(b"\r\n") for piece in pieces[1:-1]]


@pytest.fixture
def fake() -> FakeServer:
    return FakeServer()


@pytest.fixture
def remote(fake: FakeServer) -> Iterator[Remote]:
    with httpx.Client(transport=httpx.MockTransport(fake), base_url="http://server") as http:
        yield Remote(http, fake.waits.append)


def make_instance(uid: str, **attributes: object) -> Dataset:
    data_set = Dataset()
    data_set.file_meta = FileMetaDataset()
    data_set.file_meta.MediaStorageSOPClassUID = CTImageStorage
    data_set.file_meta.MediaStorageSOPInstanceUID = uid
    data_set.file_meta.TransferSyntaxUID = ExplicitVRLittleEndian
    data_set.SOPClassUID = CTImageStorage
    data_set.SOPInstanceUID = uid
    data_set.Modality = "CT"
    data_set.Rows = data_set.Columns = 4
    data_set.SamplesPerPixel = 1
    data_set.BitsAllocated = data_set.BitsStored = 16
    data_set.HighBit = 15
    data_set.PixelRepresentation = 0
    data_set.PhotometricInterpretation = "MONOCHROME2"
    data_set.PixelData = np.arange(16, dtype="<u2").tobytes()
    for keyword, value in attributes.items():
        setattr(data_set, keyword, value)
    return data_set


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """Five instances in two folders, and three files that are none."""
    for n in range(5):
        path = tmp_path / f"series{n % 2}" / f"{n}.dcm"
        path.parent.mkdir(exist_ok=True)
        make_instance(f"1.2.3.{n}").save_as(path, enforce_file_format=True)
    (tmp_path / "readme.txt").write_text("not an image")
    (tmp_path / "empty").touch()
    (tmp_path / "series0" / "short.dcm").write_bytes(b"\x00" * 100)
    return tmp_path
