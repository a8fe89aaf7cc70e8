"""Rendered resources and thumbnails: media types, parts, tags, refusals (PS3.18 10.4, §8.7.4)."""

import httpx
import numpy as np
import pytest
from pydicom.uid import ExplicitVRBigEndian, ExplicitVRLittleEndian

from dicomweb.render import pictures as pictures_module
from dicomweb.render import transaction
from server.http.head import HeadAsGet
from server.kernel.access import Access
from server.kernel.local_store import LocalObjectStore
from server.kernel.services import Services
from server.kernel.tables import AuditRow
from tests.conformance.ps3_18.kit import Injected, as_file, build_app, ct_slice, granted, parts_of, place
from tests.conformance.ps3_18.rendered.kit import (
    ATTACK,
    BROKEN,
    CINE,
    COLOUR,
    CT,
    DOCUMENT,
    FILES,
    PDF,
    RAMP,
    REPORT,
    SECOND_CT,
    STATE,
    STUDY,
    VIDEO,
    broken,
    ct,
    get,
    gray_of,
    item,
    picture,
    pixels,
    series_of,
    state,
    store,
)
from tests.conformance.ps3_18.test_10_5_store import rows

PNGS = 'multipart/related; type="image/png"'


@pytest.mark.parametrize(
    ("path", "accept", "media_type"),
    [
        pytest.param(CT.path, "*/*", "image/jpeg", id="image, by default"),
        pytest.param(CT.path, "image/png;q=0.9, image/jpeg;q=0.8", "image/png", id="image, by quality"),
        pytest.param(CT.path, "image/gif", "image/gif", id="image as GIF"),
        pytest.param(CINE.path, "*/*", "image/jpeg", id="multi-frame, by default"),
        pytest.param(COLOUR.path, "image/gif", "image/gif", id="colour as GIF"),
        pytest.param(STATE.path, "*/*", "image/jpeg", id="presentation state"),
        pytest.param(REPORT.path, "*/*", "text/html; charset=utf-8", id="report, by default"),
        pytest.param(REPORT.path, "text/plain", "text/plain; charset=utf-8", id="report as text"),
        pytest.param(PDF.path, "*/*", "application/pdf", id="PDF"),
    ],
)
async def test_table_8_7_4_1(pictures: httpx.AsyncClient, path: str, accept: str, media_type: str) -> None:
    answer = await get(pictures, f"{path}/rendered", accept)
    assert (answer.status_code, answer.headers["Content-Type"]) == (200, media_type)
    if media_type.startswith("image/"):
        assert f"image/{picture(answer).format.lower()}" == media_type


async def test_accept_as_a_parameter(pictures: httpx.AsyncClient) -> None:
    answer = await get(pictures, f"{CT.path}/rendered?accept=image/png", "text/html")
    assert answer.headers["Content-Type"] == "image/png"


@pytest.mark.parametrize(
    ("path", "accept", "offered"),
    [
        pytest.param(CT.path, "image/webp", "image/jpeg", id="another image type"),
        pytest.param(CT.path, "text/html", "image/jpeg", id="text of an image"),
        pytest.param(REPORT.path, "image/jpeg", "text/html", id="an image of text"),
        pytest.param(VIDEO.path, "*/*", "not rendered", id="video"),
        pytest.param(CINE.path, "video/mp4", "image/gif", id="as video"),
        pytest.param(series_of(CT), "image/jpeg", "multipart/related", id="one part of several images"),
        pytest.param(series_of(VIDEO), "*/*", "nothing", id="a series without anything to render"),
        pytest.param(series_of(REPORT), PNGS, "nothing", id="images of a series of reports"),
        pytest.param(
            f"{CINE.path}/frames/1,2", "image/png", "multipart/related", id="one part of two frames"
        ),
        pytest.param(f"{CT.path}/frames/1", "text/html", "image/jpeg", id="text of a frame"),
    ],
)
async def test_406_lists_what_can_be_had(
    pictures: httpx.AsyncClient, path: str, accept: str, offered: str
) -> None:
    answer = await get(pictures, f"{path}/rendered", accept)
    assert answer.status_code == 406
    assert offered in answer.json()["error"]


@pytest.mark.parametrize(
    ("path", "status"),
    [
        (f"{place(99).path}/rendered", 404),
        (f"{CT.path}/frames/2/rendered", 404),
        (f"{CT.path}/frames/0/rendered", 400),
        (f"{REPORT.path}/frames/1/rendered", 404),
        (f"{REPORT.path}/thumbnail", 404),
        (f"{VIDEO.path}/thumbnail", 404),
        (f"{CINE.path}/frames/6/thumbnail", 404),
    ],
)
async def test_what_is_not_there(pictures: httpx.AsyncClient, path: str, status: int) -> None:
    assert (await get(pictures, path, "*/*")).status_code == status


def grays(answer: httpx.Response) -> list[int]:
    """The first pixel of each part."""
    assert answer.status_code == 200, answer.text
    parts = parts_of(answer.headers["Content-Type"], answer.content)
    assert {head["Content-Type"] for head, _ in parts} == {"image/png"}
    return [np.asarray(picture(httpx.Response(200, content=body))).flat[0] for _, body in parts]


async def test_of_a_multi_frame_image_the_middle_frame(pictures: httpx.AsyncClient) -> None:
    assert pixels(await get(pictures, f"{CINE.path}/rendered"))[0][0] == gray_of(np.array([[40]]))[0][0]


async def test_of_a_multi_frame_image_an_animation(pictures: httpx.AsyncClient) -> None:
    animation = picture(await get(pictures, f"{CINE.path}/rendered", "image/gif"))
    assert (animation.n_frames, animation.info["duration"]) == (5, 40)
    shown = []
    for frame in range(5):
        animation.seek(frame)
        shown.append(np.asarray(animation.convert("L"))[0, 0])
    assert shown == gray_of(np.array([[0, 20, 40, 60, 80]]))[0]


async def test_of_a_multi_frame_image_all_frames(pictures: httpx.AsyncClient) -> None:
    answer = await get(pictures, f"{CINE.path}/rendered", PNGS)
    assert grays(answer) == gray_of(np.array([[0, 20, 40, 60, 80]]))[0]


async def test_frames_in_the_order_asked_for(pictures: httpx.AsyncClient) -> None:
    answer = await get(pictures, f"{CINE.path}/frames/4,2/rendered", PNGS)
    assert grays(answer) == gray_of(np.array([[60, 20]]))[0]
    one = await get(pictures, f"{CINE.path}/frames/5/rendered")
    assert pixels(one)[0][0] == gray_of(np.array([[80]]))[0][0]


async def test_a_series_is_a_part_for_each_image(pictures: httpx.AsyncClient) -> None:
    answer = await get(pictures, f"{series_of(CT)}/rendered", PNGS)
    assert grays(answer) == [0, gray_of(RAMP)[3][0]]
    parts = parts_of(answer.headers["Content-Type"], answer.content)
    places = [head["Content-Location"] for head, _ in parts]
    assert places == [f"http://testserver{each.path}/frames/1/rendered" for each in (CT, SECOND_CT)]


async def test_a_study_is_all_of_one_kind(pictures: httpx.AsyncClient) -> None:
    answer = await get(pictures, f"{STUDY}/rendered", "*/*")
    assert answer.headers["Content-Type"].startswith('multipart/related; type="image/jpeg"')
    assert len(parts_of(answer.headers["Content-Type"], answer.content)) == 2 + 5 + 1
    texts = await get(pictures, f"{STUDY}/rendered", 'multipart/related; type="text/html"')
    ((head, _),) = parts_of(texts.headers["Content-Type"], texts.content)
    assert head["Content-Type"] == "text/html; charset=utf-8"
    gifs = await get(pictures, f"{STUDY}/rendered", 'multipart/related; type="image/gif"')
    assert len(parts_of(gifs.headers["Content-Type"], gifs.content)) == 2 + 1 + 1


async def test_a_series_of_reports_by_default(pictures: httpx.AsyncClient) -> None:
    answer = await get(pictures, f"{series_of(REPORT)}/rendered", "*/*")
    assert answer.headers["Content-Type"].startswith('multipart/related; type="text/html"')


async def test_a_report_runs_no_script(pictures: httpx.AsyncClient) -> None:
    answer = await get(pictures, f"{REPORT.path}/rendered", "text/html")
    assert ATTACK not in answer.text
    assert "&lt;script&gt;" in answer.text
    assert "sandbox" in answer.headers["Content-Security-Policy"]
    assert answer.headers["X-Content-Type-Options"] == "nosniff"
    assert ATTACK in (await get(pictures, f"{REPORT.path}/rendered", "text/plain")).text


async def test_a_pdf_comes_without_its_padding(pictures: httpx.AsyncClient) -> None:
    answer = await get(pictures, f"{PDF.path}/rendered", "application/pdf")
    assert len(answer.content) == int(answer.headers["Content-Length"]) == 1999
    assert answer.content.startswith(DOCUMENT)


@pytest.mark.parametrize(
    ("path", "first"),
    [
        pytest.param(STUDY, None, id="study"),
        pytest.param(series_of(CT), 0, id="series"),
        pytest.param(SECOND_CT.path, 245, id="instance"),
        pytest.param(CINE.path, 102, id="instance, its middle frame"),
        pytest.param(f"{CINE.path}/frames/2", 51, id="frame"),
    ],
)
async def test_thumbnails(pictures: httpx.AsyncClient, path: str, first: int | None) -> None:
    answer = await get(pictures, f"{path}/thumbnail")
    found = np.asarray(picture(answer))
    assert found.shape[:2] == (4, 4)  # small as they are, they are not magnified
    assert first is None or found.flat[0] == first
    assert picture(await get(pictures, f"{path}/thumbnail", "*/*")).format == "JPEG"
    assert picture(await get(pictures, f"{path}/thumbnail", viewport="16,8")).size == (8, 8)


async def test_a_thumbnail_of_a_large_image_is_small(pictures: httpx.AsyncClient) -> None:
    large = place(1, 9)
    await store(pictures, ct(large, Rows=300, Columns=600, PixelData=bytes(300 * 600 * 2)))
    assert picture(await get(pictures, f"{large.path}/thumbnail")).size == (128, 64)
    assert picture(await get(pictures, f"{large.path}/rendered")).size == (600, 300)


async def test_a_thumbnail_has_no_text(pictures: httpx.AsyncClient) -> None:
    path, size = f"{CT.path}/thumbnail", {"viewport": "200,200"}
    marked = await get(pictures, path, annotation="patient", **size)
    assert pixels(marked) == pixels(await get(pictures, path, **size))


@pytest.mark.parametrize(
    "path", [f"{CT.path}/rendered", f"{STUDY}/rendered", f"{REPORT.path}/rendered", f"{CT.path}/thumbnail"]
)
async def test_entity_tags(pictures: httpx.AsyncClient, path: str) -> None:
    first = await get(pictures, path, "*/*")
    tag = first.headers["ETag"]
    again = await pictures.get(path, headers={"Accept": "*/*", "If-None-Match": tag})
    assert (again.status_code, again.content, again.headers["ETag"]) == (304, b"", tag)
    assert first.headers["Cache-Control"] == "private, no-cache"
    assert "Accept" in first.headers["Vary"]


async def test_tags_tell_representations_apart(pictures: httpx.AsyncClient) -> None:
    queries = [{}, {"window": "40,400,linear"}, {"viewport": "2,2"}, {"quality": "10"}]
    tags = [(await get(pictures, f"{CT.path}/rendered", **query)).headers["ETag"] for query in queries]
    tags.append((await get(pictures, f"{CT.path}/rendered", "image/gif")).headers["ETag"])
    tags.append((await get(pictures, f"{SECOND_CT.path}/rendered")).headers["ETag"])
    assert len(set(tags)) == len(tags)


async def test_of_a_frame_only_its_bytes_are_read(
    pictures: httpx.AsyncClient, monkeypatch: pytest.MonkeyPatch
) -> None:
    taken: list[int] = []
    read = LocalObjectStore.read

    async def counted(store: LocalObjectStore, stored: object) -> bytes:
        body = await read(store, stored)
        taken.append(len(body))
        return body

    monkeypatch.setattr(LocalObjectStore, "read", counted)
    assert (await get(pictures, f"{CINE.path}/frames/3/rendered")).status_code == 200
    assert taken == [RAMP.nbytes]


async def test_pixels_that_cannot_be_decoded_are_422(pictures: httpx.AsyncClient) -> None:
    await store(pictures, broken(BROKEN))
    for path in (f"{BROKEN.path}/rendered", f"{BROKEN.path}/thumbnail", f"{series_of(BROKEN)}/rendered"):
        answer = await get(pictures, path, "*/*")
        assert answer.status_code == 422, answer.text
    assert pixels(await get(pictures, f"{CT.path}/rendered")) == gray_of(RAMP)


def words(data: bytes) -> bytes:
    """In Big Endian bytes come in words, too (PS3.5 §8.1.2)."""
    return np.frombuffer(data + bytes(len(data) % 2), "<u2").astype(">u2").tobytes()


async def test_big_endian_is_drawn_like_little_endian(pictures: httpx.AsyncClient) -> None:
    """Frames of an odd length, of which the second begins within a word; a palette that lies in the file."""
    frames = bytes(range(0, 250, 5))  # two of 5 x 5
    said = {"Rows": 5, "Columns": 5, "BitsAllocated": 8, "BitsStored": 8, "HighBit": 7, "NumberOfFrames": 2}
    said["PhotometricInterpretation"] = "PALETTE COLOR"
    seen = []
    for number, (syntax, turned) in enumerate(
        ((ExplicitVRLittleEndian, bytes), (ExplicitVRBigEndian, words))
    ):
        where = place(2, 1, number)
        dataset = ct_slice(where, **said)
        dataset.add_new(0x7FE00010, "OW", turned(frames))
        for factor, tag in enumerate((0x00281201, 0x00281202, 0x00281203), 1):
            dataset.add_new(tag - 0x100, "US", [1024, 0, 16])
            entries = (np.arange(1024) * factor * 64 % 65536).astype("<u2").tobytes()
            dataset.add_new(tag, "OW", turned(entries))
        await store(pictures, as_file(dataset, syntax))
        seen.append(pixels(await get(pictures, f"{where.path}/frames/2/rendered")))
    assert seen[0] == seen[1]
    assert np.unique(np.array(seen[0]).reshape(-1, 3), axis=0).shape == (25, 3)


async def test_a_thumbnail_of_what_is_next_to_a_broken_image(pictures: httpx.AsyncClient) -> None:
    first, second = place(2, 1, 1), place(2, 1, 2)
    await store(pictures, broken(first), ct(second, InstanceNumber=2))
    answer = await get(pictures, f"/dicom-web/studies/{first.study}/series/{first.series}/thumbnail")
    assert pixels(answer) == gray_of(RAMP)
    again = await pictures.get(
        answer.url, headers={"Accept": "image/png", "If-None-Match": answer.headers["ETag"]}
    )
    assert (again.status_code, again.headers["ETag"]) == (304, answer.headers["ETag"])


@pytest.mark.parametrize(
    "attributes",
    [
        pytest.param({"ShutterShape": "BITMAP"}, id="a bitmap shutter"),
        pytest.param({"ImageRotation": 45}, id="an odd angle"),
        pytest.param({"MaskSubtractionSequence": [item(MaskOperation="AVG_SUB")]}, id="mask subtraction"),
    ],
)
async def test_presentation_states_that_ask_for_more_are_406(
    pictures: httpx.AsyncClient, attributes: dict[str, object]
) -> None:
    where = place(1, 9)
    await store(pictures, state(where, **attributes))
    assert (await get(pictures, f"{where.path}/rendered")).status_code == 406


async def test_an_animation_over_its_size_is_406(
    pictures: httpx.AsyncClient, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(pictures_module, "MAX_ANIMATION_FRAMES", 4)
    assert (await get(pictures, f"{CINE.path}/rendered", "image/gif")).status_code == 406
    assert (await get(pictures, f"{CINE.path}/rendered", "image/png")).status_code == 200


async def test_reads_are_audited(pictures: httpx.AsyncClient, services: Services) -> None:
    for path in (f"{CT.path}/rendered", f"{STUDY}/thumbnail", f"{REPORT.path}/rendered"):
        assert (await get(pictures, path, "*/*")).status_code == 200
    entries = [row for row in await rows(services, AuditRow) if row.interaction == "wado"]
    assert [(entry.action, entry.resource_id) for entry in entries] == [("R", CT.study)]
    assert entries[0].patient_id


async def test_scopes(pictures: httpx.AsyncClient, accesses: dict[str, Access]) -> None:
    accesses["searcher"] = granted("ImagingStudy", "s")
    accesses["reader"] = granted("ImagingStudy", "r")
    for path in (f"{CT.path}/rendered", f"{STUDY}/rendered", f"{STUDY}/thumbnail"):
        for token, status in [("searcher", 403), ("reader", 200), ("none", 401)]:
            answer = await pictures.get(path, headers={"Authorization": f"Bearer {token}"})
            assert answer.status_code == status


def test_the_archive_has_everything_once() -> None:
    assert len(FILES) == 8


@pytest.mark.parametrize(
    ("path", "accept", "media_type"),
    [
        (f"{CT.path}/rendered", "*/*", "image/jpeg"),
        (f"{STUDY}/rendered", "*/*", 'multipart/related; type="image/jpeg"'),
        (f"{REPORT.path}/rendered", "text/plain", "text/plain"),
        (f"{PDF.path}/rendered", "*/*", "application/pdf"),
        (f"{STUDY}/thumbnail", "image/png", "image/png"),
    ],
)
async def test_head_tells_the_same_and_draws_nothing(
    services: Services, accesses: dict[str, Access], path: str, accept: str, media_type: str
) -> None:
    app = HeadAsGet(Injected(build_app(services), accesses))
    headers = {"Authorization": "Bearer all", "Accept": accept}
    async with httpx.AsyncClient(
        transport=httpx.ASGITransport(app), base_url="http://testserver", headers=headers
    ) as client:
        with pytest.MonkeyPatch.context() as patch:
            patch.delattr(transaction, "make_picture")
            head = await client.head(path)
        answer = await client.get(path)
    assert (head.status_code, head.content) == (200, b"")
    assert head.headers["Content-Type"].startswith(media_type)
    assert head.headers["ETag"] == answer.headers["ETag"]
