"""The service as `dicomweb-client` uses it, over real HTTP."""

import asyncio
import io
import socket
import zipfile
from collections.abc import AsyncIterator

import pydicom
import pytest
import uvicorn
from dicomweb_client.api import DICOMwebClient
from pydicom.dataset import Dataset

from server.http.head import HeadAsGet
from server.kernel.access import Access
from server.kernel.services import Services
from tests.conformance.ps3_18.kit import Injected, build_app, ct_file, place
from tests.services import loopback


@pytest.fixture
async def url(services: Services, accesses: dict[str, Access]) -> AsyncIterator[str]:
    """The URL of a running server."""
    listener = socket.create_server(("127.0.0.1", 0))
    app = HeadAsGet(Injected(build_app(services), accesses))
    config = uvicorn.Config(app, log_level="warning", lifespan="off")
    server = uvicorn.Server(config)
    serving = asyncio.create_task(server.serve([listener]))
    yield f"http://127.0.0.1:{listener.getsockname()[1]}/dicom-web"
    server.should_exit = True
    await serving
    listener.close()


def dataset_of(instance: int) -> Dataset:
    return pydicom.dcmread(io.BytesIO(ct_file(place(instance=instance), InstanceNumber=instance)))


def use(url: str) -> None:
    client = DICOMwebClient(url, headers={"Authorization": "Bearer all"})
    sent = [dataset_of(n) for n in (1, 2)]
    answer = client.store_instances(sent)
    assert [item.ReferencedSOPInstanceUID for item in answer.ReferencedSOPSequence] == [
        dataset.SOPInstanceUID for dataset in sent
    ]
    (study,) = client.search_for_studies(search_filters={"PatientID": "P1"})
    assert Dataset.from_json(study).NumberOfStudyRelatedInstances == 2
    names = {
        "study_instance_uid": sent[0].StudyInstanceUID,
        "series_instance_uid": sent[0].SeriesInstanceUID,
    }
    assert len(client.search_for_series(names["study_instance_uid"])) == 1
    assert len(client.search_for_instances(**names, limit=1, offset=1)) == 1
    received = client.retrieve_series(**names)
    assert [each.to_json_dict() for each in received] == [each.to_json_dict() for each in sent]
    (metadata, _) = client.retrieve_series_metadata(**names)
    whole = pydicom.Dataset.from_json(metadata, bulk_data_uri_handler=lambda *_: b"")
    assert whole.Rows == 4
    one = {**names, "sop_instance_uid": sent[1].SOPInstanceUID}
    assert client.retrieve_instance(**one).PixelData == sent[1].PixelData
    assert client.retrieve_instance_frames(**one, frame_numbers=[1]) == [sent[1].PixelData]
    use_bulk_data(client, url, sent)
    use_plain_http(f"{url}/studies/{sent[0].StudyInstanceUID}/series/{sent[0].SeriesInstanceUID}", sent[0])


def use_bulk_data(client: DICOMwebClient, url: str, sent: list[Dataset]) -> None:
    """By the URIs of metadata, which the client follows as they are, and all at once."""
    study = f"{url}/studies/{sent[0].StudyInstanceUID}"
    pixels = [each.PixelData for each in sent]
    names = (sent[0].StudyInstanceUID, sent[0].SeriesInstanceUID, sent[0].SOPInstanceUID)
    fields = {"includefield": "PixelData"}
    metadata = client.retrieve_instance_metadata(*names, additional_params=fields)
    assert set(metadata) == {"00080005", "00080016", "00080018", "0020000D", "0020000E", "7FE00010"}
    uri = metadata["7FE00010"]["BulkDataURI"].replace("http://testserver/dicom-web", url)
    assert client.retrieve_bulkdata(uri) == pixels[:1]
    assert client.retrieve_bulkdata(f"{study}/bulkdata") == pixels
    assert list(client.iter_bulkdata(f"{study}/pixeldata", ("application/octet-stream",))) == pixels


def use_plain_http(series: str, sent: Dataset) -> None:
    """What the client has no words for: one part, a range of it, HEAD, ZIP."""
    instance = f"{series}/instances/{sent.SOPInstanceUID}"
    with loopback.client(headers={"Authorization": "Bearer all"}) as http:
        octets = {"Accept": "application/octet-stream"}
        frame = http.get(f"{instance}/frames/1", headers=octets)
        ranged = {**octets, "Range": "bytes=4-9", "If-Range": frame.headers["ETag"]}
        part = http.get(f"{instance}/frames/1", headers=ranged)
        assert (frame.content, part.status_code) == (sent.PixelData, 206)
        assert part.content == sent.PixelData[4:10]
        file = http.get(instance, headers={"Accept": "application/dicom"})
        assert pydicom.dcmread(io.BytesIO(file.content)) == sent
        for path, accept in ((instance, "application/dicom"), (series, "*/*"), (series, "application/zip")):
            head = http.head(path, headers={"Accept": accept})
            whole = http.get(path, headers={"Accept": accept})
            assert head.headers["Content-Length"] == whole.headers["Content-Length"]
        with zipfile.ZipFile(io.BytesIO(whole.content)) as opened:
            assert len(opened.namelist()) == 2
        metadata = http.get(f"{series}/metadata", headers={"Accept-Encoding": "gzip"})
        assert (metadata.headers["Content-Encoding"], len(metadata.json())) == ("gzip", 2)


async def test_dicomweb_client_does_its_round(url: str) -> None:
    await asyncio.to_thread(use, url)
