"""Concepts are shown by the names that their code systems have for them; the document's words stay beside."""

from dataclasses import replace

import pytest
from pydicom.sr.codedict import codes
from pydicom.sr.coding import Code

from server.workflows import sr_to_fhir
from server.workflows.report.graph import ReportContext
from server.workflows.report.names import names_of
from terminology import shipped
from terminology.library import Library

from .documents import document, group, measurements, number, read

TERMS = Library(shipped.sources())
CONTEXT = ReportContext("report-1", "study-1", "2.25.100", "2026-03-02T08:15:30Z", "patient-1")
LENGTH = codes.SCT.Length


@pytest.mark.parametrize(
    ("said", "shown"),
    [
        pytest.param(Code(LENGTH.value, "SCT", "Longueur"), "Length", id="in another language"),
        pytest.param(Code(LENGTH.value, "SCT", "LENGTH"), "LENGTH", id="the same in capitals"),
        pytest.param(Code("1", "SCT", "Longueur"), "Longueur", id="a code that is not known here"),
        pytest.param(Code("1", "99OTHER", "Longueur"), "Longueur", id="a scheme that is not known here"),
    ],
)
async def test_a_measurement_has_the_name_of_its_code_system(said: Code, shown: str) -> None:
    content = read(document(measurements(group(number(said, "7.10", codes.UCUM.Millimeter)))))
    context = replace(CONTEXT, names=await names_of(content, TERMS))
    (found,) = [
        each["code"]
        for each in sr_to_fhir.map_sr(content, context).observations
        if each["code"]["coding"][0].get("code") == said.value
    ]
    assert found["coding"][0]["display"] == shown
    assert found["text"] == said.meaning
