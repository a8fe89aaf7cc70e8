"""Metadata of a series that was asked for before: the same answer, and still only within reach."""

from collections.abc import Sequence
from typing import Any

import pytest
from pydicom import FileDataset

from dicomweb.retrieve import metadata_pages
from server.auth.tokens import issue_token


async def test_second_answer_is_the_first_and_the_database_is_not_asked(
    system: Any, kit: Any, chest: Sequence[FileDataset], monkeypatch: pytest.MonkeyPatch
) -> None:
    body = kit.multipart([kit.part10(dataset) for dataset in chest[:20]])
    await system.http.post("/dicom-web/studies", content=body, headers=kit.stow_headers)
    path = f"/dicom-web/studies/{chest[0].StudyInstanceUID}/metadata"
    first = await system.http.get(path)
    assert len(first.json()) == 20

    async def fail(*_: object) -> None:
        raise AssertionError("asked again")

    with monkeypatch.context() as patch:
        patch.setattr(metadata_pages, "read_packed_metadata", fail)
        again = await system.http.get(path)
    assert again.content == first.content
    token = await issue_token(system.services.database, scope="patient/*.rs", patient="somebody-else")
    confined = await system.http.get(path, headers={"Authorization": f"Bearer {token}"})
    assert confined.status_code == 404
    body = kit.multipart([kit.part10(dataset) for dataset in chest[20:21]])
    await system.http.post("/dicom-web/studies", content=body, headers=kit.stow_headers)
    assert len((await system.http.get(path)).json()) == 21
