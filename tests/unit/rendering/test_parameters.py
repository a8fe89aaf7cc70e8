"""Query parameters of rendered resources (PS3.18 §8.3.5)."""

import pytest

from dicomweb.render.parameters import (
    MAX_SIDE,
    IccProfile,
    InvalidRendering,
    Viewport,
    parse_parameters,
    parse_thumbnail_parameters,
)
from dicomweb.render.values import Window, WindowFunction


@pytest.mark.parametrize(
    ("name", "text", "member", "value"),
    [
        ("window", "40,400,linear", "window", Window(40, 400)),
        (
            "window",
            " -600.5 , 1.5e3 , linear-exact",
            "window",
            Window(-600.5, 1500, WindowFunction.LINEAR_EXACT),
        ),
        ("window", "0,0.01,SIGMOID", "window", Window(0, 0.01, WindowFunction.SIGMOID)),
        ("viewport", "100,200", "viewport", Viewport(100, 200)),
        ("viewport", "100,200,,,,", "viewport", Viewport(100, 200)),
        ("viewport", "100,200,1.5,2,30,-40", "viewport", Viewport(100, 200, 1.5, 2, 30, -40)),
        ("viewport", "100,200,,,-30", "viewport", Viewport(100, 200, region_width=-30)),
        ("quality", "1", "quality", 1),
        ("annotation", "technique", "annotation", frozenset({"technique"})),
        ("annotation", "patient, technique", "annotation", frozenset({"patient", "technique"})),
        ("iccprofile", "sRGB", "icc_profile", IccProfile.SRGB),
        ("iccprofile", "no", "icc_profile", IccProfile.NO),
        ("unheard-of", "1", "window", None),
    ],
)
def test_values(name: str, text: str, member: str, value: object) -> None:
    assert getattr(parse_parameters([(name, text)]), member) == value


@pytest.mark.parametrize(
    ("name", "text"),
    [
        *(("window", text) for text in ("", "40", "40,400", "40,400,", "40,400,cubic", "a,b,linear")),
        *(("window", text) for text in ("40,400,linear,1", "nan,1,linear", "inf,1,linear", "1,1e999,linear")),
        *(
            ("window", text)
            for text in ("40,0.5,linear", "40,0,linear-exact", "40,-1,sigmoid", "1_0,4,linear")
        ),
        *(
            ("viewport", text)
            for text in ("", "1", "0,1", "1,0", "-1,1", "1.5,1", "a,b", f"{MAX_SIDE + 1},1")
        ),
        *(("viewport", text) for text in ("1,1,x", "1,1,,,0", "1,1,,,,0", "1,1,0,0,1,1,1")),
        *(("quality", text) for text in ("", "0", "101", "-1", "90.5", "best", "1" * 5000)),
        *(("annotation", text) for text in ("", "patient,", "all")),
        *(("iccprofile", text) for text in ("", "maybe", "adobergb", "rommrgb", "displayp3")),
        ("presentationUID", "1.2.3"),
        ("presentationSeriesUID", "1.2.3"),
    ],
)
def test_what_is_refused(name: str, text: str) -> None:
    with pytest.raises(InvalidRendering, match=name.removesuffix("UID")):
        parse_parameters([(name, text)])


def test_twice_is_refused() -> None:
    with pytest.raises(InvalidRendering, match="window"):
        parse_parameters([("window", "40,400,linear"), ("window", "40,400,linear")])


def test_presentation_state() -> None:
    given = [("presentationSeriesUID", "1.2"), ("presentationUID", "1.3")]
    assert parse_parameters(given).presentation_state == ("1.2", "1.3")


def test_thumbnail_takes_a_size_only() -> None:
    given = [("viewport", "64,32"), ("window", "nonsense"), ("annotation", "patient")]
    parameters = parse_thumbnail_parameters(given)
    assert (parameters.viewport, parameters.annotation) == (Viewport(64, 32), frozenset())
    with pytest.raises(InvalidRendering, match="thumbnail"):
        parse_thumbnail_parameters([("viewport", "64,32,0,0,1,1")])


def test_whatever_changes_the_picture_changes_the_text() -> None:
    given = [
        [],
        [("window", "40,400,linear")],
        [("window", "40,400,sigmoid")],
        [("viewport", "64,32")],
        [("quality", "50")],
        [("annotation", "patient")],
        [("iccprofile", "yes")],
    ]
    assert len({parse_parameters(each).text for each in given}) == len(given)
