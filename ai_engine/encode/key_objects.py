"""The slices with findings as a Key Object Selection (PS3.3 A.35.4, PS3.16 TID 2010): image references."""

from collections.abc import Sequence

from highdicom.ko import KeyObjectSelection, KeyObjectSelectionDocument
from pydicom import Dataset
from pydicom.sr.codedict import codes
from pydicom.uid import ExplicitVRLittleEndian

from ai_engine.encode.analysed import Analysed
from ai_engine.encode.images import Source
from ai_engine.encode.source import Making, blank_context, complete
from ai_engine.encode.sr import observer_context
from ai_engine.encode.start import describe_equipment
from ai_engine.encode.wording import key_object_description, series_description, series_number


def build_key_objects(analysed: Analysed, touched: Sequence[int], making: Making) -> Dataset:
    """The selection of these slices, by title "Of Interest" (CID 7010)."""
    findings, source = analysed.findings, analysed.source
    chosen = {at: _image(source.slices[at]) for at in touched}
    content = KeyObjectSelection(
        document_title=codes.DCM.OfInterest,
        referenced_objects=list(chosen.values()),
        observer_device_context=observer_context(findings.model),
        description=key_object_description(findings.model),
    )
    _name_frames(content[0], source, touched)
    distinct = {str(each.SOPInstanceUID): each for each in chosen.values()}
    made = KeyObjectSelectionDocument(
        evidence=list(distinct.values()),
        content=content,
        series_instance_uid=making.uids.uid("ko-series"),
        series_number=series_number(source.first, "KO"),
        sop_instance_uid=making.uids.uid("ko"),
        instance_number=1,
        transfer_syntax_uid=ExplicitVRLittleEndian,
        manufacturer=making.made_by.manufacturer,
    )
    made.SeriesDescription = series_description(findings.model, "KO")
    describe_equipment(made, making.made_by)
    complete(made, source.first, making)
    return made


def _image(header: Dataset) -> Dataset:
    """A stand-in that is seen to be an image: it has rows and columns."""
    image = blank_context(header)
    image.Rows, image.Columns = int(header.Rows), int(header.Columns)
    return image


def _name_frames(root: Dataset, source: Source, touched: Sequence[int]) -> None:
    """Say which frame of a multi-frame image each reference is to; they stand in the order given."""
    images = [item for item in root.ContentSequence if item.ValueType == "IMAGE"]
    for at, item in zip(touched, images, strict=True):
        frame = source.frame_number(at)
        if frame is not None:
            item.ReferencedSOPSequence[0].ReferencedFrameNumber = frame
