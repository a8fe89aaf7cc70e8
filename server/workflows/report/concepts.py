"""The concepts by which TID 1500 and the templates it includes name their items (PS3.16)."""

from pydicom.sr.codedict import codes

from server.workflows.report.content import key_of

# containers
IMAGE_LIBRARY = key_of(codes.DCM.ImageLibrary)
MEASUREMENT_GROUP = key_of(codes.DCM.MeasurementGroup)
CONCLUSION_CONTAINERS = frozenset(map(key_of, (codes.DCM.Conclusions, codes.DCM.Impressions)))

# TID 1411, 1501, 300
TRACKING_IDENTIFIER = key_of(codes.DCM.TrackingIdentifier)
TRACKING_UID = key_of(codes.DCM.TrackingUniqueIdentifier)
FINDING = key_of(codes.DCM.Finding)
FINDING_CATEGORY = ("276214006", "SCT")  # TID 1411 row 1b; in no dictionary of pydicom
FINDING_SITE = key_of(codes.SCT.FindingSite)
LATERALITY = key_of(codes.SCT.Laterality)
MEASUREMENT_METHOD = key_of(codes.SCT.MeasurementMethod)
METHOD_IN_WORDS = ("method-in-words", "99ISTHMUS")
REFERENCED_SEGMENT = key_of(codes.DCM.ReferencedSegment)

# Categories of CID 7150 that name a part of the body: what is found is where it is.
BODY_PART_CATEGORIES = frozenset(map(key_of, (codes.cid7150.AnatomicalStructure, codes.cid7150.Tissue)))

DERIVATION = key_of(codes.DCM.Derivation)

# TID 4019 Algorithm Identification
ALGORITHM_NAME = key_of(codes.DCM.AlgorithmName)
ALGORITHM_VERSION = key_of(codes.DCM.AlgorithmVersion)
ALGORITHM_FAMILY = key_of(codes.DCM.AlgorithmFamily)
ALGORITHM_MANUFACTURER = key_of(codes.DCM.AlgorithmManufacturer)
ALGORITHM_PARAMETERS = key_of(codes.DCM.AlgorithmParameters)
ALGORITHM_ITEMS = frozenset(
    {ALGORITHM_NAME, ALGORITHM_VERSION, ALGORITHM_FAMILY, ALGORITHM_MANUFACTURER, ALGORITHM_PARAMETERS}
)

# TID 1003, 1004 observers
PERSON_OBSERVER_NAME = key_of(codes.DCM.PersonObserverName)
DEVICE_OBSERVER_UID = key_of(codes.DCM.DeviceObserverUID)
DEVICE_OBSERVER_NAME = key_of(codes.DCM.DeviceObserverName)
DEVICE_OBSERVER_MANUFACTURER = key_of(codes.DCM.DeviceObserverManufacturer)
DEVICE_OBSERVER_MODEL_NAME = key_of(codes.DCM.DeviceObserverModelName)
DEVICE_OBSERVER_SERIAL_NUMBER = key_of(codes.DCM.DeviceObserverSerialNumber)

# statements beside the groups
CONCLUSIONS = frozenset(map(key_of, (codes.DCM.Conclusion, codes.DCM.Impression)))
NOT_MEASURED = ("not-measured", "99ISTHMUS")
NOT_MEASURED_REASON = ("not-measured-why", "99ISTHMUS")
INTENDED_USE = ("intended-use", "99ISTHMUS")
