"""The service as `dicomweb-client` uses it, over real HTTP."""

import asyncio
import io
import socket
from collections.abc import AsyncIterator

import pydicom
import pytest
import uvicorn
from dicomweb_client.api import DICOMwebClient
from pydicom.dataset import Dataset

from server.kernel.access import Access
from server.kernel.services import Services
from tests.conformance.ps3_18.kit import Injected, build_app, ct_file, place


@pytest.fixture
async def url(services: Services, accesses: dict[str, Access]) -> AsyncIterator[str]:
    """The URL of a running server."""
    listener = socket.create_server(("127.0.0.1", 0))
    config = uvicorn.Config(Injected(build_app(services), accesses), log_level="warning", lifespan="off")
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


async def test_dicomweb_client_does_its_round(url: str) -> None:
    await asyncio.to_thread(use, url)
