"""SR documents as others send them, in the studies of `conftest.instance`."""

from typing import Any

from pydicom import Dataset
from pydicom.sr.codedict import codes

from tests.unit.report.documents import code, document, group, measurements, number, text

from .conftest import instance

COMPREHENSIVE, DOSE = "1.2.840.10008.5.1.4.1.1.88.33", "1.2.840.10008.5.1.4.1.1.88.67"
LENGTH = number(codes.SCT.Length, "7.10", codes.UCUM.Millimeter)
VOLUME = number(codes.SCT.Volume, "200", codes.UCUM.CubicMillimeter)


def report(
    *items: Dataset,
    study: str = "2.25.100",
    number: int = 1,
    replaces: Dataset | None = None,
    **attributes: Any,
) -> Dataset:
    """A measurement report of a nodule; `items` are what was measured of it."""
    nodule = group(*items, code(codes.DCM.Finding, codes.SCT.Nodule))
    made = document(measurements(nodule), text(codes.DCM.Conclusion, "One nodule."))
    named = {"Modality": "SR", "SOPClassUID": COMPREHENSIVE, "SpecificCharacterSet": "ISO_IR 192"}
    identity = instance(study, number, series=9, **(named | attributes))
    for element in identity:
        made[element.tag] = element
    if replaces is not None:
        made.PredecessorDocumentsSequence = [predecessor(replaces)]
    return made


def predecessor(replaced: Dataset) -> Dataset:
    of_instance, of_series, of_study = Dataset(), Dataset(), Dataset()
    of_instance.ReferencedSOPClassUID = replaced.SOPClassUID
    of_instance.ReferencedSOPInstanceUID = replaced.SOPInstanceUID
    of_series.SeriesInstanceUID, of_series.ReferencedSOPSequence = replaced.SeriesInstanceUID, [of_instance]
    of_study.StudyInstanceUID, of_study.ReferencedSeriesSequence = replaced.StudyInstanceUID, [of_series]
    return of_study
