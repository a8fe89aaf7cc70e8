"""Structured reports as text (PS3.18 Table 8.7.4-1, PS3.3 C.17.3). Pure.

The content tree in the order of its items. Every text of the object is escaped; the page has no script, no
link and nothing from elsewhere.
"""

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from html import escape

from dicomweb.attributes import DicomJson
from dicomweb.render.media import NotRendered
from dicomweb.wire.dicom_json import items_of, text_of, values_of
from dicomweb.wire.dictionary import key_of

MAX_ITEMS = 50_000  # of a content tree; the longest reports have some thousands
LONG_TEXT = "(a text too long for this page; it stands in the instance)"
CONTENT_SECURITY_POLICY = "default-src 'none'; style-src 'unsafe-inline'; frame-ancestors 'none'; sandbox"
_STYLE = (
    "body{font:15px/1.5 sans-serif;max-width:50em;margin:2em auto;padding:0 1em}"
    "ul{padding-left:1.4em}.name{font-weight:600}dt{color:#555;float:left;clear:left;width:10em}"
)
Head = Sequence[tuple[str, str]]  # (label, keyword of an attribute) of what stands above the content
_HEAD: Head = (
    ("Patient", "PatientName"),
    ("Patient ID", "PatientID"),
    ("Birth date", "PatientBirthDate"),
    ("Study date", "StudyDate"),
    ("Accession number", "AccessionNumber"),
    ("Completion", "CompletionFlag"),
    ("Verification", "VerificationFlag"),
)


@dataclass(frozen=True, slots=True)
class Line:
    """One content item: how deep it stands, its concept name and its value."""

    depth: int
    name: str
    value: str


def meaning_of(items: list[DicomJson]) -> str:
    """A code as its meaning, else its value; "" without one."""
    if not items:
        return ""
    return text_of(items[0], "CodeMeaning") or text_of(items[0], "CodeValue")


def _measured(item: DicomJson) -> str:
    values = items_of(item, "MeasuredValueSequence")
    if not values:
        return meaning_of(items_of(item, "NumericValueQualifierCodeSequence"))
    number = text_of(values[0], "NumericValue")
    unit = text_of((items_of(values[0], "MeasurementUnitsCodeSequence") or [{}])[0], "CodeValue")
    return number if unit == "1" else f"{number} {unit}".strip()


def _coordinates(item: DicomJson) -> str:
    numbers = ", ".join(f"{value:g}" for value in values_of(item, "GraphicData")[:24] if _is_number(value))
    return f"{text_of(item, 'GraphicType')} {numbers}".strip()


def _is_number(value: object) -> bool:
    return isinstance(value, int | float)


def _reference(item: DicomJson) -> str:
    referenced = (items_of(item, "ReferencedSOPSequence") or [{}])[0]
    frames = ", ".join(str(value) for value in values_of(referenced, "ReferencedFrameNumber")[:24])
    uid = text_of(referenced, "ReferencedSOPInstanceUID")
    return f"{uid} frame {frames}" if frames else uid


def _text(keyword: str) -> Callable[[DicomJson], str]:
    def read(item: DicomJson) -> str:
        is_elsewhere = "BulkDataURI" in item.get(key_of(keyword), {})
        return LONG_TEXT if is_elsewhere else text_of(item, keyword)

    return read


VALUE_OF: Mapping[str, Callable[[DicomJson], str]] = {  # Value Type (0040,A040), PS3.3 Table C.17.3-7
    "TEXT": _text("TextValue"),
    "CODE": lambda item: meaning_of(items_of(item, "ConceptCodeSequence")),
    "NUM": _measured,
    "PNAME": _text("PersonName"),
    "DATE": _text("Date"),
    "TIME": _text("Time"),
    "DATETIME": _text("DateTime"),
    "UIDREF": _text("UID"),
    "COMPOSITE": _reference,
    "IMAGE": _reference,
    "WAVEFORM": _reference,
    "SCOORD": _coordinates,
    "SCOORD3D": _coordinates,
    "TCOORD": lambda item: text_of(item, "TemporalRangeType"),
    "CONTAINER": lambda _: "",
}


def lines_of(dicom_json: DicomJson) -> Iterator[Line]:
    """Every item of the content tree, the root first.

    Raises:
        NotRendered: it has more items than are rendered.
    """
    waiting: list[tuple[int, DicomJson]] = [(0, dicom_json)]
    count = 0
    while waiting:
        depth, item = waiting.pop()
        count += 1
        if count > MAX_ITEMS:
            raise NotRendered("The report has more items than are rendered.")
        name = meaning_of(items_of(item, "ConceptNameCodeSequence"))
        value_of = VALUE_OF.get(text_of(item, "ValueType"))
        yield Line(depth, name, value_of(item) if value_of else _by_reference(item))
        waiting += [(depth + 1, child) for child in reversed(items_of(item, "ContentSequence"))]


def _by_reference(item: DicomJson) -> str:
    """An item that only points at another one (PS3.3 C.17.3.2.4)."""
    path = ".".join(str(value) for value in values_of(item, "ReferencedContentItemIdentifier"))
    return f"see item {path}" if path else ""


def _title(dicom_json: DicomJson) -> str:
    return meaning_of(items_of(dicom_json, "ConceptNameCodeSequence")) or "Report"


def to_plain(dicom_json: DicomJson) -> str:
    """The report as text/plain, UTF-8, an item to a line."""
    head = [f"{label}: {text_of(dicom_json, name)}" for label, name in _HEAD if text_of(dicom_json, name)]
    body = ["  " * line.depth + _joined(line) for line in lines_of(dicom_json)]
    return "\n".join([*head, "", *body, ""])


def _joined(line: Line) -> str:
    return ": ".join(part for part in (line.name, line.value) if part)


def to_html(dicom_json: DicomJson, head: Head = _HEAD) -> str:
    """The report as a page of HTML."""
    title = escape(_title(dicom_json))
    above = "".join(
        f"<dt>{label}</dt><dd>{escape(text_of(dicom_json, name))}</dd>"
        for label, name in head
        if text_of(dicom_json, name)
    )
    return (
        f'<!DOCTYPE html><html lang="en"><head><meta charset="utf-8"><title>{title}</title>'
        f"<style>{_STYLE}</style></head><body><h1>{title}</h1><dl>{above}</dl>"
        f"{''.join(_html_items(dicom_json))}</body></html>\n"
    )


def _html_items(dicom_json: DicomJson) -> Iterator[str]:
    """The items below the root as nested lists."""
    depth = 0
    for line in lines_of(dicom_json):
        if line.depth == 0:
            continue
        yield "</li>" if line.depth <= depth else ""
        yield "<ul>" * (line.depth - depth) + "</ul></li>" * (depth - line.depth)
        depth = line.depth
        name, value = escape(line.name), escape(line.value).replace("\n", "<br>")
        yield f'<li><span class="name">{name}</span>{": " if name and value else ""}{value}'
    yield "</li></ul>" * depth
