"""The lines of `annotation=patient,technique` (PS3.18 §8.3.5.1.1). Pure.

They hold what metadata of the same instance holds, and are made only for who may read it: ImagingStudy.r.
"""

from collections.abc import Callable

from dicomweb.attributes import DicomJson
from dicomweb.render.values import Window
from dicomweb.wire.dicom_json import text_of, value_of

MAX_LINE_CHARACTERS = 80  # a longer one is no line of a picture


def _name(text: str) -> str:
    """The first component group as people write it."""
    parts = [part.strip() for part in text.split("=", maxsplit=1)[0].split("^")]
    return ", ".join(part for part in (parts[0], " ".join(filter(None, parts[1:]))) if part)


def _date(text: str) -> str:
    return f"{text[:4]}-{text[4:6]}-{text[6:8]}" if len(text) == 8 and text.isdigit() else text


def _time(text: str) -> str:
    return f"{text[:2]}:{text[2:4]}:{text[4:6]}" if text[:6].isdigit() and len(text) >= 6 else text


def _line(*parts: str) -> str:
    joined = "  ".join(part for part in parts if part)
    return "".join(each if each.isprintable() else " " for each in joined)[:MAX_LINE_CHARACTERS]


def _labelled(dicom_json: DicomJson, keyword: str, label: str, unit: str) -> str:
    value = value_of(dicom_json, keyword)
    text = f"{value:g}" if isinstance(value, float) else text_of(dicom_json, keyword)
    return f"{label} {text} {unit}".strip() if text else ""


def patient_lines(dicom_json: DicomJson) -> tuple[str, ...]:
    """Who it is."""
    of: Callable[[str], str] = lambda keyword: text_of(dicom_json, keyword)  # noqa: E731 (a short name, used five times)
    lines = (
        _line(_name(of("PatientName"))),
        _line(of("PatientID")),
        _line(_date(of("PatientBirthDate")), of("PatientSex")),
    )
    return tuple(line for line in lines if line)


def technique_lines(dicom_json: DicomJson, window: Window | None, frame: str) -> tuple[str, ...]:
    """What was done and how it is shown; `frame`: "3/100", or empty."""
    of: Callable[[str], str] = lambda keyword: text_of(dicom_json, keyword)  # noqa: E731 (a short name, used five times)
    lines = (
        _line(of("Modality"), _date(of("StudyDate")), _time(of("StudyTime"))),
        _line(of("SeriesDescription") or of("StudyDescription"), of("BodyPartExamined")),
        _line(
            _labelled(dicom_json, "KVP", "", "kV"),
            _labelled(dicom_json, "XRayTubeCurrent", "", "mA"),
            _labelled(dicom_json, "SliceThickness", "slice", "mm"),
        ),
        _line(f"W {window.width:g} C {window.center:g}" if window else "", f"frame {frame}" if frame else ""),
    )
    return tuple(line for line in lines if line)
