"""Rendering by the parameters of WADO-URI (PS3.18 9.4.1.1)."""

import pytest

from dicomweb.render.geometry import Frame, place
from dicomweb.render.parameters import InvalidRendering, Viewport
from dicomweb.render.uri import parse_uri_parameters
from dicomweb.render.values import Window


def test_nothing() -> None:
    parameters, frame = parse_uri_parameters({"requestType": "WADO", "contentType": "image/jpeg"})
    assert (parameters.window, parameters.viewport, frame) == (None, None, None)


def test_everything() -> None:
    given = {
        "windowCenter": "40",
        "windowWidth": "400",
        "rows": "100",
        "columns": "200",
        "region": "0.25,0,0.75,0.5",
        "imageQuality": "50",
        "annotation": "patient,technique",
        "frameNumber": "3",
        "presentationSeriesUID": "1.2",
        "presentationUID": "1.3",
    }
    parameters, frame = parse_uri_parameters(given)
    assert parameters.window == Window(40, 400)
    assert parameters.viewport == Viewport(200, 100, 0.25, 0, 0.5, 0.5, is_relative=True)
    assert (parameters.quality, parameters.presentation_state, frame) == (50, ("1.2", "1.3"), 3)
    assert parameters.annotation == {"patient", "technique"}


@pytest.mark.parametrize(
    ("given", "region", "size"),
    [
        ({"rows": "50"}, (0, 0, 200, 100), (100, 50)),
        ({"columns": "50"}, (0, 0, 200, 100), (50, 25)),
        ({"rows": "50", "columns": "50"}, (0, 0, 200, 100), (50, 25)),
        ({"region": "0.5,0,1,0.5"}, (100, 0, 200, 50), (100, 50)),
        ({"region": "0.5,0,1,0.5", "rows": "100"}, (100, 0, 200, 50), (200, 100)),
    ],
)
def test_sizes(given: dict[str, str], region: tuple[int, ...], size: tuple[int, int]) -> None:
    placement = place(Frame(200, 100), parse_uri_parameters(given)[0].viewport)
    assert (placement.region, (placement.width, placement.height)) == (region, size)


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("windowCenter", "40"),
        ("windowWidth", "400"),
        ("rows", "0"),
        ("columns", "x"),
        *(
            ("region", text)
            for text in ("", "0,0,1", "0,0,1,2", "0.5,0,0.5,1", "a,b,c,d", "0,0,1,1,1", "-1,0,1,1")
        ),
        ("imageQuality", "101"),
        ("annotation", "weather"),
        ("frameNumber", "0"),
        ("presentationUID", "1.2"),
    ],
)
def test_what_is_refused(name: str, value: str) -> None:
    with pytest.raises(InvalidRendering, match=name.removesuffix("UID")):
        parse_uri_parameters({name: value})
