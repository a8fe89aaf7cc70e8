"""What routing sees of stored instances, single- and multi-frame alike."""

import json
from typing import Any

from pydicom import Dataset

from ai_engine.phantom.enhanced import enhanced
from ai_engine.phantom.series import small_series
from dicomweb.metadata import pack_metadata
from dicomweb.store.instances import Origin
from server.workflows.study_summary import summarise


def row(image: Dataset) -> Any:
    """An instance as the index has it."""
    text = image.to_json(bulk_data_threshold=100, bulk_data_element_handler=lambda _: "bulk")
    return {
        "series_instance_uid": str(image.SeriesInstanceUID),
        "modality": str(image.Modality),
        "sop_instance_uid": str(image.SOPInstanceUID),
        "sop_class_uid": str(image.SOPClassUID),
        "number_of_frames": int(image.get("NumberOfFrames") or 0) or None,
        "origin": Origin.ENGINE.value if image.Modality == "SEG" else "",
        "dicom_json": pack_metadata(json.loads(text)),
        "corrected": None,
    }


def test_a_frame_tells_what_a_slice_tells() -> None:
    slices = small_series()
    slices[0].ContrastBolusAgent, slices[0].EchoTime = "Iohexol", 30
    (of_slices,) = summarise([row(each) for each in slices])
    (of_frames,) = summarise([row(enhanced(slices))])
    first, frame = of_slices.instances[0], of_frames.instances[0]
    assert (len(of_slices.instances), frame.frames) == (24, 24)
    assert frame.orientation_lps == first.orientation_lps == (1, 0, 0, 0, 1, 0)
    assert frame.slice_thickness_mm == first.slice_thickness_mm == 12.5
    assert frame.image_type == first.image_type
    assert frame.attributes == first.attributes
    assert first.attributes["EchoTime"] == (30,)
    assert first.attributes["ContrastBolusAgent"] == ("Iohexol",)
    assert "PatientName" not in first.attributes
    assert of_slices.body_part == of_frames.body_part == "CHEST"


def test_an_instance_with_little_to_say_is_summarised() -> None:
    image = Dataset()
    image.SOPInstanceUID, image.SeriesInstanceUID, image.SOPClassUID = "1.1", "1.2", "1.3"
    image.Modality = ""
    (series,) = summarise([row(image)])
    (instance,) = series.instances
    assert (series.modality, series.body_part) == ("", None)
    assert (instance.orientation_lps, instance.slice_thickness_mm, instance.frames) == ((), None, 1)
    assert instance.attributes == {}
