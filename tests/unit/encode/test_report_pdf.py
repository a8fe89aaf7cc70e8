"""The report to read takes whatever was found: tall rows, narrow and wide pictures."""

import dataclasses
import re

import pytest
from PIL import Image

from ai_engine.encode.analysed import Analysed
from ai_engine.encode.images import Source
from ai_engine.encode.report_pdf import write_report
from ai_engine.findings import Code, Measurement

from .conftest import make_slices
from .detections import MM, detected, nodule


def analysed(measurements: int = 1) -> Analysed:
    slices = make_slices()
    name = Code("x", "99TEST", "A measurement whose name is as long as names may be " + "in words " * 3)
    found = nodule(slices, measurements=(Measurement(name, 7.5, MM, name, "m"),) * measurements)
    return Analysed(dataclasses.replace(detected(slices, found)), Source(slices))


def pages(pdf: bytes) -> int:
    return len(re.findall(rb"/Type /Page\b", pdf))


def test_a_finding_with_many_measurements_goes_over_pages() -> None:
    assert pages(write_report(analysed(), "Preliminary.", [])) == 1
    assert pages(write_report(analysed(200), "Preliminary.", [])) > 2


@pytest.mark.parametrize("size", [(256, 812), (1, 812), (812, 46), (768, 812)])
def test_a_picture_of_any_shape_finds_its_place(size: tuple[int, int]) -> None:
    pdf = write_report(analysed(), "Preliminary.", [Image.new("RGB", size)] * 3)
    assert pdf.count(b"/Subtype /Image") == 1  # the same one, drawn three times
    assert pages(pdf) <= 3
