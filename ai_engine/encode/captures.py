"""Pictures of key slices as Secondary Capture images (PS3.3 A.8.1), one instance a slice, in one series.

Burned In Annotation (0028,0301) says whether pixels identify the patient: what is drawn here does not, so it
is what the source says of its own pixels, and left out, being of Type 3, where the source says nothing.
"""

from pydicom import Dataset
from pydicom.sr.codedict import codes
from pydicom.uid import SecondaryCaptureImageStorage

from ai_engine.encode.analysed import Analysed
from ai_engine.encode.codes import code_of, coded
from ai_engine.encode.images import Source
from ai_engine.encode.pictures import picture
from ai_engine.encode.source import Making, complete
from ai_engine.encode.start import describe_equipment, started
from ai_engine.encode.wording import series_description, series_number

CONVERTED_BY = "WSD"  # workstation (PS3.3 C.8.6.1)


def build_capture(analysed: Analysed, at: int, number: int, making: Making) -> Dataset:
    """The picture of one slice, the `number`th of its series."""
    findings, source = analysed.findings, analysed.source
    made = started(SecondaryCaptureImageStorage, f"sc-{number}", making)
    made.SeriesInstanceUID = making.uids.uid("sc-series")
    made.SeriesNumber = series_number(source.first, "SC")
    made.SeriesDescription = series_description(findings.model, "SC")
    made.Modality = "OT"  # no image of the modality: nothing shall measure on it
    made.InstanceNumber = number
    made.ConversionType = CONVERTED_BY
    made.ImageType = ["DERIVED", "SECONDARY"]
    made.PatientOrientation = ""
    burned_in = source.burned_in(at)
    if burned_in is not None:
        made.BurnedInAnnotation = "YES" if burned_in else "NO"
    made.Laterality = ""  # Type 2C: unknown
    for keyword in ("BodyPartExamined", "Laterality"):
        if source.first.get(keyword):
            made[keyword] = source.first[keyword]
    made.SourceImageSequence = [_source(source, at)]
    made.DerivationDescription = f"Findings of {findings.model.title} {findings.model.version} drawn in"
    _put_pixels(made, analysed, at)
    describe_equipment(made, making.made_by)
    complete(made, source.first, making)
    return made


def _source(source: Source, at: int) -> Dataset:
    item = source.reference(at)
    purpose = code_of(codes.DCM.SourceImageForImageProcessingOperation)
    item.PurposeOfReferenceCodeSequence = [coded(purpose)]
    return item


def _put_pixels(made: Dataset, analysed: Analysed, at: int) -> None:
    """Image Pixel (PS3.3 C.7.6.3): RGB, by pixel."""
    drawn = picture(analysed, at)
    made.SamplesPerPixel, made.PhotometricInterpretation, made.PlanarConfiguration = 3, "RGB", 0
    made.Rows, made.Columns = drawn.height, drawn.width
    made.BitsAllocated, made.BitsStored, made.HighBit, made.PixelRepresentation = 8, 8, 7, 0
    pixels = drawn.tobytes()
    made.PixelData = pixels + bytes(len(pixels) % 2)
