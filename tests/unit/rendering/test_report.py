"""Structured reports as HTML and as plain text (PS3.18 Table 8.7.4-1, PS3.3 C.17.3)."""

from html.parser import HTMLParser
from typing import Any

import pytest

from dicomweb.render import report
from dicomweb.render.media import NotRendered
from dicomweb.render.report import CONTENT_SECURITY_POLICY, lines_of, to_html, to_plain
from dicomweb.wire.dicom_json import data_set, element, sequence

Json = Any
ATTACK = "</span><script>alert('x')</script><img src=x onerror=alert(1)>\"&"


def code(meaning: str, value: str = "1") -> dict[str, Json]:
    return data_set(
        element("CodeValue", value), element("CodingSchemeDesignator", "99T"), element("CodeMeaning", meaning)
    )


def item(value_type: str, name: str, *elements: dict[str, Json], children: Any = ()) -> dict[str, Json]:
    return data_set(
        element("ValueType", value_type),
        sequence("ConceptNameCodeSequence", [code(name)]),
        *elements,
        *([sequence("ContentSequence", children)] if children else []),
    )


def measured(number: float, unit: str) -> dict[str, Json]:
    units = data_set(element("CodeValue", unit), element("CodeMeaning", "in words"))
    value = data_set(element("NumericValue", number), sequence("MeasurementUnitsCodeSequence", [units]))
    return sequence("MeasuredValueSequence", [value])


IMAGE = data_set(element("ReferencedSOPInstanceUID", "1.2.3"), element("ReferencedFrameNumber", 1, 2))
ITEMS = [
    (item("TEXT", "Finding", element("TextValue", "a nodule")), "Finding: a nodule"),
    (item("CODE", "Site", sequence("ConceptCodeSequence", [code("Lung")])), "Site: Lung"),
    (item("NUM", "Diameter", measured(4.5, "mm")), "Diameter: 4.5 mm"),
    (item("NUM", "Ratio", measured(0.5, "1")), "Ratio: 0.5"),
    (
        item("NUM", "Volume", sequence("NumericValueQualifierCodeSequence", [code("Failed")])),
        "Volume: Failed",
    ),
    (item("PNAME", "Reader", element("PersonName", "Doe^Jane")), "Reader: Doe^Jane"),
    (item("DATE", "Day", element("Date", "20260101")), "Day: 20260101"),
    (item("TIME", "Hour", element("Time", "1011")), "Hour: 1011"),
    (item("DATETIME", "When", element("DateTime", "20260101")), "When: 20260101"),
    (item("UIDREF", "Tracking", element("UID", "1.2")), "Tracking: 1.2"),
    (item("IMAGE", "Source", sequence("ReferencedSOPSequence", [IMAGE])), "Source: 1.2.3 frame 1, 2"),
    (item("COMPOSITE", "Prior", sequence("ReferencedSOPSequence", [IMAGE])), "Prior: 1.2.3 frame 1, 2"),
    (item("WAVEFORM", "Trace", sequence("ReferencedSOPSequence", [IMAGE])), "Trace: 1.2.3 frame 1, 2"),
    (
        item("SCOORD", "Outline", element("GraphicType", "POINT"), element("GraphicData", 1.5, 2.0)),
        "Outline: POINT 1.5, 2",
    ),
    (
        item("SCOORD3D", "Place", element("GraphicType", "POINT"), element("GraphicData", 1.0)),
        "Place: POINT 1",
    ),
    (item("TCOORD", "Beat", element("TemporalRangeType", "POINT")), "Beat: POINT"),
    (item("CONTAINER", "Section"), "Section"),
    (data_set(element("ReferencedContentItemIdentifier", 1, 2, 3)), "see item 1.2.3"),
]


def document(*children: dict[str, Json]) -> dict[str, Json]:
    root = item("CONTAINER", "Chest CT", children=list(children))
    return data_set(root, element("PatientName", "Doe^Jane"), element("CompletionFlag", "COMPLETE"))


@pytest.mark.parametrize(("content", "line"), ITEMS)
def test_value_types(content: dict[str, Json], line: str) -> None:
    assert to_plain(document(content)).splitlines()[-1] == "  " + line
    written = to_html(document(content))
    name, colon, value = line.partition(": ")
    assert f'<span class="name">{name if colon or "see" not in line else ""}</span>' in written
    assert (value or line) in written


def test_every_value_type_of_the_standard_is_read() -> None:
    assert set(report.VALUE_OF) == {
        *("TEXT", "CODE", "NUM", "PNAME", "DATE", "TIME", "DATETIME", "UIDREF", "COMPOSITE", "IMAGE"),
        *("WAVEFORM", "SCOORD", "SCOORD3D", "TCOORD", "CONTAINER"),
    }


class Checker(HTMLParser):
    """Follows the nesting, and takes down which elements and attributes there are."""

    def __init__(self) -> None:
        super().__init__()
        self.open: list[str] = []
        self.seen: set[str] = set()
        self.attributes: set[str] = set()
        self.text = ""

    def handle_starttag(self, tag: str, attrs: Any) -> None:
        self.seen.add(tag)
        self.attributes |= {name for name, _ in attrs}
        if tag not in ("meta", "br"):
            self.open.append(tag)

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag

    def handle_data(self, data: str) -> None:
        self.text += data


def checked(written: str) -> Checker:
    checker = Checker()
    checker.feed(written)
    assert checker.open == []
    return checker


def test_nesting() -> None:
    inner = item("CONTAINER", "B", children=[item("TEXT", "C", element("TextValue", "c"))])
    root = document(item("CONTAINER", "A", children=[inner]), item("TEXT", "D", element("TextValue", "d")))
    assert [(line.depth, line.name) for line in lines_of(root)] == [
        (0, "Chest CT"),
        (1, "A"),
        (2, "B"),
        (3, "C"),
        (1, "D"),
    ]
    assert checked(to_html(root)).text.endswith("ABC: cD: d\n")
    assert "    B\n      C: c\n  D: d" in to_plain(root)


def test_everything_is_escaped() -> None:
    """Wherever the object's text may stand: the name of an item, its value, the head, the title."""
    root = document(item("TEXT", ATTACK, element("TextValue", ATTACK + "\nsecond line")))
    root |= data_set(element("PatientName", ATTACK), sequence("ConceptNameCodeSequence", [code(ATTACK)]))
    checker = checked(to_html(root))
    plain = {
        "html",
        "head",
        "meta",
        "title",
        "style",
        "body",
        "h1",
        "dl",
        "dt",
        "dd",
        "ul",
        "li",
        "span",
        "br",
    }
    assert checker.seen == plain
    assert checker.attributes == {"lang", "charset", "class"}
    assert checker.text.count(ATTACK) == 5


def test_the_page_may_run_and_load_nothing() -> None:
    assert "default-src 'none'" in CONTENT_SECURITY_POLICY
    assert "sandbox" in CONTENT_SECURITY_POLICY
    assert "script" not in CONTENT_SECURITY_POLICY


def test_a_text_that_is_bulk_data_is_not_left_out_silently() -> None:
    content = item("TEXT", "Finding", {"0040A160": {"vr": "UT", "BulkDataURI": "bulkdata/x"}})
    assert report.LONG_TEXT in to_plain(document(content))


def test_size(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(report, "MAX_ITEMS", 3)
    children = [item("TEXT", "x", element("TextValue", "y"))] * 2
    assert to_plain(document(*children))
    with pytest.raises(NotRendered):
        to_html(document(*children, children[0]))
