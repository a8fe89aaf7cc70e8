"""The concepts by which TID 1500 and the templates it includes name their items (PS3.16).

Each is (code value, coding scheme designator); `tests/unit/report/test_concepts.py` holds them to pydicom's
dictionary.
"""

# CID 7021: the titles of TID 1500
MEASUREMENT_REPORTS = frozenset(
    {("126000", "DCM"), ("126001", "DCM"), ("126002", "DCM"), ("126003", "DCM")}
)  # Imaging, Oncology, Dynamic Contrast MR, PET Measurement Report

# containers
IMAGE_LIBRARY = ("111028", "DCM")
MEASUREMENT_GROUP = ("125007", "DCM")
CONCLUSION_CONTAINERS = frozenset({("121076", "DCM"), ("121072", "DCM")})  # Conclusions, Impressions

# TID 1411, 1501, 300
TRACKING_IDENTIFIER = ("112039", "DCM")
TRACKING_UID = ("112040", "DCM")
FINDING = ("121071", "DCM")
FINDING_CATEGORY = ("276214006", "SCT")  # TID 1411 row 1b; in no dictionary of pydicom
FINDING_SITE = ("363698007", "SCT")
LATERALITY = ("272741003", "SCT")
MEASUREMENT_METHOD = ("370129005", "SCT")
METHOD_IN_WORDS = ("method-in-words", "99ISTHMUS")
REFERENCED_SEGMENT = ("121191", "DCM")
REFERENCED_SEGMENTATION_FRAME = ("121214", "DCM")

# Categories of CID 7150 that name a part of the body: what is found is where it is.
BODY_PART_CATEGORIES = frozenset({("91723000", "SCT"), ("85756007", "SCT")})  # Anatomical Structure, Tissue

DERIVATION = ("121401", "DCM")
PROBABILITY = ("122157", "DCM")  # that what a group found is there

# TID 4019 Algorithm Identification
ALGORITHM_NAME = ("111001", "DCM")
ALGORITHM_VERSION = ("111003", "DCM")
ALGORITHM_FAMILY = ("111000", "DCM")
ALGORITHM_MANUFACTURER = ("122405", "DCM")
ALGORITHM_PARAMETERS = ("111002", "DCM")
ALGORITHM_ITEMS = frozenset(
    {ALGORITHM_NAME, ALGORITHM_VERSION, ALGORITHM_FAMILY, ALGORITHM_MANUFACTURER, ALGORITHM_PARAMETERS}
)

# TID 1003, 1004 observers
PERSON_OBSERVER_NAME = ("121008", "DCM")
DEVICE_OBSERVER_UID = ("121012", "DCM")
DEVICE_OBSERVER_NAME = ("121013", "DCM")
DEVICE_OBSERVER_MANUFACTURER = ("121014", "DCM")
DEVICE_OBSERVER_MODEL_NAME = ("121015", "DCM")
DEVICE_OBSERVER_SERIAL_NUMBER = ("121016", "DCM")

# statements beside the groups
CONCLUSIONS = frozenset({("121077", "DCM"), ("121073", "DCM")})  # Conclusion, Impression
NOT_MEASURED = ("not-measured", "99ISTHMUS")
NOT_MEASURED_REASON = ("not-measured-why", "99ISTHMUS")
INTENDED_USE = ("intended-use", "99ISTHMUS")
