"""Burned-in text and coding of pictures (PS3.18 §8.3.5.1.1, .2, .5; Table 8.7.4-1)."""

import io

import numpy as np
import pytest
from PIL import Image, ImageCms

from dicomweb.pixels.faults import PixelsUnreadable
from dicomweb.render.annotate import MAX_LINE_CHARACTERS, patient_lines, technique_lines
from dicomweb.render.encode import encode, srgb_profile
from dicomweb.render.picture import compose
from dicomweb.render.values import Coding, Grayscale, Placement, Recipe, Window
from dicomweb.wire.dicom_json import data_set, element

PATIENT = data_set(
    element("PatientName", "Doe^Jane^^Dr=ドウ"),
    element("PatientID", "P1"),
    element("PatientBirthDate", "19700102"),
    element("PatientSex", "F"),
)


def test_patient_lines() -> None:
    assert patient_lines(PATIENT) == ("Doe, Jane Dr", "P1", "1970-01-02  F")
    assert patient_lines(data_set()) == ()


def test_technique_lines() -> None:
    technique = data_set(
        element("Modality", "CT"),
        element("StudyDate", "20260115"),
        element("StudyTime", "101530.5"),
        element("SeriesDescription", "chest"),
        element("BodyPartExamined", "CHEST"),
        element("KVP", 120.0),
        element("SliceThickness", 1.5),
    )
    assert technique_lines(technique, Window(40, 400), "3/100") == (
        "CT  2026-01-15  10:15:30",
        "chest  CHEST",
        "120 kV  slice 1.5 mm",
        "W 400 C 40  frame 3/100",
    )
    assert technique_lines(data_set(), None, "") == ()


def test_a_line_is_one_line() -> None:
    (line,) = patient_lines(data_set(element("PatientID", "a\nb\x1b[0m" + "x" * 500)))
    assert len(line) == MAX_LINE_CHARACTERS
    assert line.startswith("a b [0m")


@pytest.mark.parametrize(("top", "bottom"), [(("name",), ()), ((), ("technique",)), (("a", "b"), ("c",))])
@pytest.mark.parametrize("shape", [(64, 64), (64, 64, 3)])
def test_lines_are_burned_in(top: tuple[str, ...], bottom: tuple[str, ...], shape: tuple[int, ...]) -> None:
    recipe = Recipe(8, Grayscale(), Placement((0, 0, 64, 64), 64, 64), top_lines=top, bottom_lines=bottom)
    picture = np.asarray(compose(np.full(shape, 128, np.uint8), recipe))
    for lines, half in ((top, picture[:32]), (bottom, picture[32:])):
        is_written = bool((half > 200).any() and (half < 50).any())
        assert is_written is bool(lines)


def test_without_lines_nothing_is_written() -> None:
    pixels = np.full((8, 8), 128, np.uint8)
    assert (
        np.asarray(compose(pixels, Recipe(8, Grayscale(), Placement((0, 0, 8, 8), 8, 8)))) == pixels
    ).all()


GRAY = Image.fromarray(np.arange(64, dtype=np.uint8).reshape(8, 8) * 4)
COLOUR = Image.merge("RGB", (GRAY, GRAY.rotate(90), GRAY.rotate(180)))


def decoded(pictures: list[Image.Image], media_type: str, **changes: object) -> Image.Image:
    return Image.open(io.BytesIO(encode(pictures, Coding(media_type, 90, **changes))))


@pytest.mark.parametrize("picture", [GRAY, COLOUR], ids=["gray", "colour"])
def test_png_has_the_very_pixels(picture: Image.Image) -> None:
    found = decoded([picture], "image/png")
    assert (found.format, found.mode) == ("PNG", picture.mode)
    assert (np.asarray(found) == np.asarray(picture)).all()


@pytest.mark.parametrize("picture", [GRAY, COLOUR], ids=["gray", "colour"])
def test_jpeg_and_its_quality(picture: Image.Image) -> None:
    sizes = [
        len(encode([picture.resize((64, 64))], Coding("image/jpeg", quality))) for quality in (20, 60, 100)
    ]
    assert sizes == sorted(sizes)
    found = decoded([picture], "image/jpeg")
    assert (found.format, found.mode) == ("JPEG", picture.mode)


def test_gif_of_one_and_of_several() -> None:
    assert (np.asarray(decoded([GRAY], "image/gif").convert("L")) == np.asarray(GRAY)).all()
    animation = decoded([GRAY, GRAY.rotate(90), COLOUR], "image/gif", frame_time_ms=40)
    assert (animation.n_frames, animation.info["loop"], animation.info["duration"]) == (3, 0, 40)
    animation.seek(1)
    assert (np.asarray(animation.convert("L")) == np.asarray(GRAY.rotate(90))).all()


def profile_of(picture: Image.Image) -> bytes | None:
    return picture.info.get("icc_profile")


@pytest.mark.parametrize("media_type", ["image/jpeg", "image/png"])
def test_profiles(media_type: str) -> None:
    own = ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes() + b"own"
    assert profile_of(decoded([COLOUR], media_type, icc_profile=own)) is None
    assert profile_of(decoded([COLOUR], media_type, wants_profile=True)) == srgb_profile()
    assert profile_of(decoded([COLOUR], media_type, wants_profile=True, icc_profile=own)) == own
    gray = decoded([GRAY], media_type, wants_profile=True)
    assert (gray.mode, profile_of(gray)) == ("RGB", srgb_profile())
    converted = decoded([COLOUR], media_type, wants_profile=True, wants_srgb=True, icc_profile=own)
    assert profile_of(converted) == srgb_profile()


def test_conversion_to_srgb_uses_the_profile() -> None:
    """A profile whose red and blue primaries are those of sRGB, exchanged."""
    own = bytearray(srgb_profile())
    red, blue = own.index(b"rXYZ"), own.index(b"bXYZ")
    own[red : red + 4], own[blue : blue + 4] = b"bXYZ", b"rXYZ"
    picture = Image.new("RGB", (1, 1), (255, 0, 0))
    converted = decoded([picture], "image/png", wants_profile=True, wants_srgb=True, icc_profile=bytes(own))
    assert np.abs(np.asarray(converted)[0, 0].astype(int) - [0, 0, 255]).max() <= 2


def test_a_profile_that_is_none() -> None:
    with pytest.raises(PixelsUnreadable):
        encode([COLOUR], Coding("image/png", 90, b"nonsense", wants_profile=True, wants_srgb=True))
