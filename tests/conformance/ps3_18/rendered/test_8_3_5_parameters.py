"""Query parameters of rendered resources, seen in the pixels (PS3.18 §8.3.5)."""

from typing import Any

import httpx
import numpy as np
import pytest

from dicomweb.render.media import COLOUR_STATE, PSEUDO_COLOUR_STATE
from dicomweb.render.parameters import MAX_SIDE
from tests.conformance.ps3_18.rendered.kit import (
    CINE,
    COLOUR,
    CT,
    RAMP,
    STATE,
    get,
    gray_of,
    item,
    picture,
    pixels,
    place,
    state,
    store,
)

RENDERED = f"{CT.path}/rendered"


async def test_without_parameters_the_objects_own_window(pictures: httpx.AsyncClient) -> None:
    assert pixels(await get(pictures, RENDERED)) == gray_of(RAMP)


@pytest.mark.parametrize(
    ("window", "shown"),
    [
        ("75.5,151,linear", [0, 14, 27, 41]),
        ("24,32,linear-exact", [0, 0, 64, 128]),
        ("0,10,sigmoid", [128, 245, 255, 255]),
    ],
)
async def test_8_3_5_1_4_window(pictures: httpx.AsyncClient, window: str, shown: list[int]) -> None:
    assert pixels(await get(pictures, RENDERED, window=window))[0] == shown


@pytest.mark.parametrize(
    ("viewport", "shown"),
    [
        ("2,2,2,1,2,2", RAMP[1:3, 2:4]),
        ("2,2,2,2", RAMP[2:, 2:]),
        ("4,4,,,-4,4", RAMP[:, ::-1]),
        ("4,4,,,4,-4", RAMP[::-1]),
        ("8,8", np.kron(RAMP[:1, :1], np.ones((1, 1), np.uint16))),
    ],
)
async def test_8_3_5_1_3_viewport(pictures: httpx.AsyncClient, viewport: str, shown: Any) -> None:
    found = pixels(await get(pictures, RENDERED, viewport=viewport))
    assert [row[: len(shown[0])] for row in found[: len(shown)]] == gray_of(np.asarray(shown))
    width, height = map(int, viewport.split(",")[:2])
    assert (len(found[0]), len(found)) == (width, height)


async def test_8_3_5_1_2_quality(pictures: httpx.AsyncClient) -> None:
    sizes = []
    for quality in ("1", "50", "100"):
        answer = await get(pictures, RENDERED, "image/jpeg", quality=quality, viewport="64,64")
        sizes.append(len(answer.content))
    assert sizes == sorted(set(sizes))


@pytest.mark.parametrize(("annotation", "half"), [("patient", "top"), ("technique", "bottom")])
async def test_8_3_5_1_1_annotation(pictures: httpx.AsyncClient, annotation: str, half: str) -> None:
    plain = np.asarray(picture(await get(pictures, RENDERED, viewport="200,200")))
    marked = np.asarray(picture(await get(pictures, RENDERED, viewport="200,200", annotation=annotation)))
    changed = {"top": (plain[:100] != marked[:100]).any(), "bottom": (plain[100:] != marked[100:]).any()}
    assert changed == {"top": half == "top", "bottom": half == "bottom"}


@pytest.mark.parametrize(
    ("iccprofile", "has_profile"), [(None, False), ("no", False), ("yes", True), ("srgb", True)]
)
async def test_8_3_5_1_5_iccprofile(
    pictures: httpx.AsyncClient, iccprofile: str | None, has_profile: bool
) -> None:
    query = {"iccprofile": iccprofile} if iccprofile else {}
    found = picture(await get(pictures, f"{COLOUR.path}/rendered", **query))
    assert ("icc_profile" in found.info) is has_profile
    assert np.asarray(found)[0, 0].tolist() == [255, 0, 0]


WRONG = {
    "window": "40,400",
    "viewport": f"{MAX_SIDE + 1},1",
    "quality": "0",
    "annotation": "weather",
    "iccprofile": "adobergb",
    "presentationUID": STATE.instance,
}


@pytest.mark.parametrize("path", [RENDERED, f"{place(99).path}/rendered"], ids=["there", "not there"])
async def test_bad_parameters_are_400_before_any_work(pictures: httpx.AsyncClient, path: str) -> None:
    for name, value in WRONG.items():
        answer = await get(pictures, path, **{name: value})
        assert answer.status_code == 400, name
        assert name.removesuffix("UID") in answer.json()["error"]


async def test_a_region_outside_the_image_is_400(pictures: httpx.AsyncClient) -> None:
    assert (await get(pictures, RENDERED, viewport="2,2,4,0")).status_code == 400


async def test_unknown_parameters_are_ignored(pictures: httpx.AsyncClient) -> None:
    assert pixels(await get(pictures, RENDERED, weather="fine")) == gray_of(RAMP)


async def test_a_presentation_state_as_resource(pictures: httpx.AsyncClient) -> None:
    """Inverse, and turned clockwise by a quarter."""
    expected = (255 - np.rot90(np.array(gray_of(RAMP)), -1)).tolist()
    found = pixels(await get(pictures, f"{STATE.path}/rendered"))
    assert np.abs(np.array(found) - expected).max() <= 1


async def test_a_presentation_state_by_its_uid(pictures: httpx.AsyncClient) -> None:
    by_uid = {"presentationSeriesUID": STATE.series, "presentationUID": STATE.instance}
    expected = pixels(await get(pictures, f"{STATE.path}/rendered"))
    assert pixels(await get(pictures, RENDERED, **by_uid)) == expected
    assert pixels(await get(pictures, f"{CT.path}/frames/1/rendered", **by_uid)) == expected


def entries(*values: int) -> dict[str, object]:
    """Palettes of 16 bits with these high bytes in red, and nothing in green and blue."""
    found: dict[str, object] = {}
    for colour in ("Red", "Green", "Blue"):
        high = values if colour == "Red" else (0,) * len(values)
        found[f"{colour}PaletteColorLookupTableDescriptor"] = [len(values), 0, 16]
        found[f"{colour}PaletteColorLookupTableData"] = np.array(high, "<u2").tobytes()
    return found


async def test_a_pseudo_colour_state_paints_gray(pictures: httpx.AsyncClient) -> None:
    """PS3.4 N.2.2: what the VOI LUT makes spans the palette."""
    where = place(1, 9)
    palette = entries(*(value << 8 for value in range(256)))
    await store(pictures, state(where, SOPClassUID=PSEUDO_COLOUR_STATE, PresentationLUTShape=None, **palette))
    found = np.array(pixels(await get(pictures, f"{where.path}/rendered")))
    expected = np.rot90(np.array(gray_of(RAMP)), -1)
    assert np.abs(found[..., 0] - expected).max() <= 1
    assert found[..., 1:].max() == 0


async def test_a_colour_state_turns_colour_and_nothing_else(pictures: httpx.AsyncClient) -> None:
    where, gray = place(1, 9), place(1, 10)
    named = item(ReferencedSOPClassUID="1.2.840.10008.5.1.4.1.1.7", ReferencedSOPInstanceUID=COLOUR.instance)
    series = item(SeriesInstanceUID=COLOUR.series, ReferencedImageSequence=[named])
    given = {"SOPClassUID": COLOUR_STATE, "PresentationLUTShape": None, "SoftcopyVOILUTSequence": None}
    await store(pictures, state(where, ReferencedSeriesSequence=[series], **given), state(gray, **given))
    found = pixels(await get(pictures, f"{where.path}/rendered"))
    expected = pixels(await get(pictures, f"{COLOUR.path}/rendered"))
    assert found == np.rot90(np.array(expected), -1).tolist()
    assert (await get(pictures, f"{gray.path}/rendered")).status_code == 406  # names the CT


@pytest.mark.parametrize(
    ("path", "changes", "status"),
    [
        pytest.param(CINE.path, {}, 400, id="not for this image"),
        pytest.param(CT.path, {"window": "40,400,linear"}, 400, id="with a window"),
        pytest.param(CT.path, {"viewport": "4,4,1,1,1,1"}, 400, id="with a region"),
        pytest.param(
            CT.path, {"presentationUID": CT.instance, "presentationSeriesUID": CT.series}, 400, id="none"
        ),
        pytest.param(CT.path, {"presentationUID": place(99).instance}, 404, id="not there"),
    ],
)
async def test_presentation_states_that_do_not_fit(
    pictures: httpx.AsyncClient, path: str, changes: dict[str, str], status: int
) -> None:
    by_uid = {"presentationSeriesUID": STATE.series, "presentationUID": STATE.instance}
    assert (await get(pictures, f"{path}/rendered", **(by_uid | changes))).status_code == status
