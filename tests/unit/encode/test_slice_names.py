"""Slices are called by the numbers that viewers show."""

import dataclasses

import numpy as np
import pytest
from PIL import ImageDraw
from pydicom import Dataset
from pydicom.uid import Comprehensive3DSRStorage

from ai_engine.encode import report_pdf
from ai_engine.encode.analysed import Analysed
from ai_engine.encode.companions import Companions
from ai_engine.encode.images import Source
from ai_engine.encode.source import InstanceReference, Making
from ai_engine.manifest import ResultObjects
from ai_engine.slice_names import counted_names, slice_names

from .conftest import make_slices
from .detections import detected, nodule


def numbered_from_the_head(count: int = 6) -> list[Dataset]:
    slices = make_slices(count)
    for at, image in enumerate(slices):
        image.InstanceNumber = count - at
    return slices


def without_numbers(slices: list[Dataset]) -> list[Dataset]:
    for image in slices:
        del image.InstanceNumber
    return slices


def with_one_number(slices: list[Dataset]) -> list[Dataset]:
    for image in slices:
        image.InstanceNumber = 1
    return slices


def test_numbers_are_those_of_the_instances() -> None:
    assert slice_names(numbered_from_the_head(3)) == ("3", "2", "1")


def test_frames_are_told_apart() -> None:
    assert slice_names(with_one_number(make_slices(2)), (9, 8)) == ("1, frame 9", "1, frame 8")


def test_a_place_is_counted_where_numbers_tell_nothing() -> None:
    words = ("1 of 2 counted from the feet", "2 of 2 counted from the feet")
    assert slice_names(without_numbers(make_slices(2))) == words
    assert slice_names(with_one_number(make_slices(2))) == words
    half = make_slices(2)
    half[1].InstanceNumber = None
    assert slice_names(half) == words


@pytest.mark.parametrize(
    ("step", "start"),
    [
        ((0.0, 0.0, -2.0), "head"),
        ((1.0, -1.5, 0.0), "back"),
        ((0.0, 1.0, 0.0), "front"),
        ((3.0, 0.0, 1.0), "right"),
        ((-3.0, 0.0, 1.0), "left"),
    ],
)
def test_it_is_counted_from_where_the_first_slice_lies(step: tuple[float, ...], start: str) -> None:
    assert counted_names(1, np.array(step)) == (f"1 of 1 counted from the {start}",)


def test_images_without_a_place_are_just_counted() -> None:
    slices = without_numbers(make_slices(2))
    for image in slices:
        del image.ImagePositionPatient
    assert slice_names(slices) == ("1 of 2", "2 of 2")


def test_report_and_picture_say_the_same_number(making: Making, monkeypatch: pytest.MonkeyPatch) -> None:
    slices = numbered_from_the_head()  # that of slice 2 is image 4
    found = dataclasses.replace(detected(slices, nodule(slices)), conclusion="One nodule.")
    source = Source(slices, (), np.zeros((6, 12, 10), np.int16))
    said: list[str] = []
    line, text = report_pdf._line, ImageDraw.ImageDraw.text
    monkeypatch.setattr(report_pdf, "_line", lambda words, *more: said.append(words) or line(words, *more))
    monkeypatch.setattr(
        ImageDraw.ImageDraw,
        "text",
        lambda pen, at, words, **more: said.append(words) or text(pen, at, words, **more),
    )
    made = Companions(Analysed(found, source), making, ResultObjects(pdf=True))
    made.document(InstanceReference("2.25.100", "2.25.9", Comprehensive3DSRStorage, "2.25.1"))
    assert [words for words in said if "image" in words] == [
        "CT quantification 1.0.0, image 4",
        "Lung, image 4",
    ]
