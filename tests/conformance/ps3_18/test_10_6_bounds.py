"""Search transaction: how much one answer may be, and what its header fields say (PS3.18 8.3.4.4, 10.6.3)."""

import httpx
import pytest

from dicomweb.search import answers, search
from dicomweb.search.query import MORE_RESULTS
from tests.conformance.ps3_18.kit import MULTIPART, ct_file, multipart, place

ALL = {"includefield": "all"}
PATH = "/dicom-web/instances"


@pytest.fixture
async def archive(client: httpx.AsyncClient) -> httpx.AsyncClient:
    body = multipart(*(ct_file(place(instance=number), ImageComments="x" * 500) for number in range(1, 6)))
    response = await client.post("/dicom-web/studies", content=body, headers={"Content-Type": MULTIPART})
    assert response.status_code == 200
    return client


def uids(response: httpx.Response) -> list[str]:
    return [each["00080018"]["Value"][0] for each in response.json()]


@pytest.mark.parametrize(
    ("module", "limit", "size"), [(answers, "MAX_ANSWER_BYTES", 1000), (search, "MAX_PACKED_BYTES", 1)]
)
async def test_an_answer_of_many_bytes_ends_early_and_says_so(
    archive: httpx.AsyncClient, monkeypatch: pytest.MonkeyPatch, module: object, limit: str, size: int
) -> None:
    """Whole instances may be of any length: 500 of them were answered at once."""
    everything = uids(await archive.get(PATH, params=ALL))
    monkeypatch.setattr(module, limit, size)
    found: list[str] = []
    while len(found) < len(everything):
        page = await archive.get(PATH, params={**ALL, "offset": len(found), "limit": 4, "count": "true"})
        assert page.headers["X-Total-Count"] == "5"
        assert 1 <= len(uids(page)) <= 2
        found += uids(page)
        is_last = found[-1] == everything[-1]
        assert (MORE_RESULTS in page.headers.get("Warning", "")) is not is_last
    assert found == everything


async def test_an_answer_that_the_client_has_still_tells_the_total(archive: httpx.AsyncClient) -> None:
    asked = {"limit": 1, "count": "true", "Nonsense": "1"}
    first = await archive.get(PATH, params=asked)
    again = await archive.get(PATH, params=asked, headers={"If-None-Match": first.headers["ETag"]})
    assert (again.status_code, again.content) == (304, b"")
    for name in ("ETag", "X-Total-Count", "Warning"):
        assert again.headers[name] == first.headers[name]
