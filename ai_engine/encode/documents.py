"""The report to read as an Encapsulated PDF (PS3.3 A.45.1)."""

from dataclasses import dataclass

from pydicom import Dataset
from pydicom.uid import EncapsulatedPDFStorage

from ai_engine.encode import codes as ours
from ai_engine.encode.codes import coded
from ai_engine.encode.source import InstanceReference, Making, complete
from ai_engine.encode.start import describe_equipment, started
from ai_engine.encode.wording import document_title, series_description, series_number
from ai_engine.findings import ModelIdentity

PDF = "application/pdf"


@dataclass(frozen=True, slots=True)
class Pdf:
    """A report to read; `identifies` its patient: Burned In Annotation (0028,0301), here of Type 1."""

    content: bytes
    identifies: bool


def build_document(
    pdf: Pdf, model: ModelIdentity, source: Dataset, sr: InstanceReference, making: Making
) -> Dataset:
    """The PDF as an instance that names the SR it was made of."""
    made = started(EncapsulatedPDFStorage, "pdf", making)
    made.SeriesInstanceUID = making.uids.uid("pdf-series")
    made.SeriesNumber = series_number(source, "DOC")
    made.SeriesDescription = series_description(model, "DOC")
    made.Modality = "DOC"
    made.InstanceNumber = 1
    made.ConversionType = "WSD"
    made.AcquisitionDateTime = ""
    made.BurnedInAnnotation = "YES" if pdf.identifies else "NO"
    made.SourceInstanceSequence = [_item(sr)]
    made.VerificationFlag = "UNVERIFIED"
    made.DocumentTitle = document_title(model)
    made.ConceptNameCodeSequence = [coded(ours.MEASUREMENT_REPORT)]
    made.MIMETypeOfEncapsulatedDocument = PDF
    made.EncapsulatedDocument = pdf.content + bytes(len(pdf.content) % 2)
    made.EncapsulatedDocumentLength = len(pdf.content)
    describe_equipment(made, making.made_by)
    complete(made, source, making)
    return made


def _item(reference: InstanceReference) -> Dataset:
    item = Dataset()
    item.ReferencedSOPClassUID = reference.sop_class_uid
    item.ReferencedSOPInstanceUID = reference.sop_instance_uid
    return item
