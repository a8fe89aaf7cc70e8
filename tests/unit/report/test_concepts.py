"""The concepts that the mapping knows by their codes are those of the standard."""

from pydicom.sr.codedict import codes
from pydicom.sr.coding import Code

from server.workflows.report import concepts

DCM, SCT = codes.DCM, codes.SCT
SINGLE = {
    "IMAGE_LIBRARY": DCM.ImageLibrary,
    "MEASUREMENT_GROUP": DCM.MeasurementGroup,
    "TRACKING_IDENTIFIER": DCM.TrackingIdentifier,
    "TRACKING_UID": DCM.TrackingUniqueIdentifier,
    "FINDING": DCM.Finding,
    "FINDING_SITE": SCT.FindingSite,
    "LATERALITY": SCT.Laterality,
    "MEASUREMENT_METHOD": SCT.MeasurementMethod,
    "REFERENCED_SEGMENT": DCM.ReferencedSegment,
    "REFERENCED_SEGMENTATION_FRAME": DCM.ReferencedSegmentationFrame,
    "DERIVATION": DCM.Derivation,
    "PROBABILITY": DCM.Probability,
    "ALGORITHM_NAME": DCM.AlgorithmName,
    "ALGORITHM_VERSION": DCM.AlgorithmVersion,
    "ALGORITHM_FAMILY": DCM.AlgorithmFamily,
    "ALGORITHM_MANUFACTURER": DCM.AlgorithmManufacturer,
    "ALGORITHM_PARAMETERS": DCM.AlgorithmParameters,
    "PERSON_OBSERVER_NAME": DCM.PersonObserverName,
    "DEVICE_OBSERVER_UID": DCM.DeviceObserverUID,
    "DEVICE_OBSERVER_NAME": DCM.DeviceObserverName,
    "DEVICE_OBSERVER_MANUFACTURER": DCM.DeviceObserverManufacturer,
    "DEVICE_OBSERVER_MODEL_NAME": DCM.DeviceObserverModelName,
    "DEVICE_OBSERVER_SERIAL_NUMBER": DCM.DeviceObserverSerialNumber,
}
SETS = {
    "MEASUREMENT_REPORTS": [
        DCM.ImagingMeasurementReport,
        DCM.OncologyMeasurementReport,
        DCM.DynamicContrastMRMeasurementReport,
        DCM.PETMeasurementReport,
    ],
    "CONCLUSION_CONTAINERS": [DCM.Conclusions, DCM.Impressions],
    "BODY_PART_CATEGORIES": [codes.cid7150.AnatomicalStructure, codes.cid7150.Tissue],
    "CONCLUSIONS": [DCM.Conclusion, DCM.Impression],
}
# Of our own scheme; and one that pydicom lacks (TID 1411 row 1b).
ELSEWHERE = {"FINDING_CATEGORY", "METHOD_IN_WORDS", "NOT_MEASURED", "NOT_MEASURED_REASON", "INTENDED_USE"}


def key(code: Code) -> tuple[str, str]:
    return code.value, code.scheme_designator


def test_every_concept_has_the_code_of_its_name() -> None:
    named = {name: getattr(concepts, name) for name in dir(concepts) if name.isupper()}
    del named["ALGORITHM_ITEMS"]
    expected = {name: key(code) for name, code in SINGLE.items()}
    expected |= {name: frozenset(map(key, each)) for name, each in SETS.items()}
    assert {name: value for name, value in named.items() if name not in ELSEWHERE} == expected
