"""SR documents for the tests: items laid by hand, as other vendors write them."""

from io import BytesIO
from typing import Any

from pydicom import Dataset
from pydicom.dataset import FileMetaDataset
from pydicom.sr.codedict import codes
from pydicom.sr.coding import Code
from pydicom.uid import ExplicitVRLittleEndian

from dicomweb.attributes import DicomJson
from dicomweb.wire.exact import read_exactly
from server.workflows import sr_to_fhir
from server.workflows.report.graph import ReportContext, ReportGraph


def read(document: Dataset) -> DicomJson:
    """The document as the server reads it: through bytes."""
    document.file_meta = FileMetaDataset()
    document.file_meta.TransferSyntaxUID = ExplicitVRLittleEndian
    document.preamble = b"\0" * 128
    buffer = BytesIO()
    document.save_as(buffer, enforce_file_format=False)
    return read_exactly(buffer.getvalue())


def map_sr(document: Dataset, context: ReportContext) -> ReportGraph:
    return sr_to_fhir.map_sr(read(document), context)


def coded(code: Code) -> Dataset:
    item = Dataset()
    item.CodeValue, item.CodingSchemeDesignator, item.CodeMeaning = (
        code.value,
        code.scheme_designator,
        code.meaning,
    )
    return item


def content(
    value_type: str, name: Code, *children: Dataset, relationship: str = "CONTAINS", **values: Any
) -> Dataset:
    item = Dataset()
    item.RelationshipType, item.ValueType = relationship, value_type
    item.ConceptNameCodeSequence = [coded(name)]
    for keyword, value in values.items():
        setattr(item, keyword, value)
    if children:
        item.ContentSequence = list(children)
    return item


def container(name: Code, *children: Dataset) -> Dataset:
    return content("CONTAINER", name, *children, ContinuityOfContent="SEPARATE")


def text(name: Code, value: str, *children: Dataset, relationship: str = "CONTAINS") -> Dataset:
    return content("TEXT", name, *children, relationship=relationship, TextValue=value)


def code(name: Code, value: Code, *children: Dataset, relationship: str = "CONTAINS") -> Dataset:
    return content("CODE", name, *children, relationship=relationship, ConceptCodeSequence=[coded(value)])


def uid(name: Code, value: str, relationship: str = "HAS OBS CONTEXT") -> Dataset:
    return content("UIDREF", name, relationship=relationship, UID=value)


def image(name: Code, sop_instance_uid: str, relationship: str = "CONTAINS") -> Dataset:
    referenced = Dataset()
    referenced.ReferencedSOPClassUID = "1.2.840.10008.5.1.4.1.1.66.4"
    referenced.ReferencedSOPInstanceUID = sop_instance_uid
    return content("IMAGE", name, relationship=relationship, ReferencedSOPSequence=[referenced])


def number(name: Code, value: str | None, unit: Code | None, *children: Dataset, **values: Any) -> Dataset:
    measured = Dataset()
    if value is not None:
        measured.NumericValue = value
    if unit is not None:
        measured.MeasurementUnitsCodeSequence = [coded(unit)]
    return content(
        "NUM", name, *children, MeasuredValueSequence=[measured] if value is not None else [], **values
    )


def document(*children: Dataset, **attributes: Any) -> Dataset:
    made = container(codes.DCM.ImagingMeasurementReport, *children)
    del made.RelationshipType
    made.SOPInstanceUID, made.StudyInstanceUID = "2.25.900", "2.25.100"
    made.StudyDate, made.StudyTime = "20260301", "101112"
    made.CompletionFlag, made.VerificationFlag = "COMPLETE", "UNVERIFIED"
    made.Manufacturer = "Acme"
    for keyword, value in attributes.items():
        setattr(made, keyword, value)
    return made


def group(
    *children: Dataset, tracking: str | None = "nodule-1", tracking_uid: str | None = "2.25.500"
) -> Dataset:
    named = []
    if tracking is not None:
        named.append(text(codes.DCM.TrackingIdentifier, tracking, relationship="HAS OBS CONTEXT"))
    if tracking_uid is not None:
        named.append(uid(codes.DCM.TrackingUniqueIdentifier, tracking_uid))
    return container(codes.DCM.MeasurementGroup, *named, *children)


def measurements(*groups: Dataset) -> Dataset:
    return container(codes.DCM.ImagingMeasurements, *groups)
