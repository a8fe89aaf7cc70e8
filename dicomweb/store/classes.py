"""Which objects are input for analysis, and which are derived from it (DESIGN §2, Settled)."""

from dicomweb.attributes import text
from dicomweb.store.columns import MODALITY
from dicomweb.store.instances import Origin
from dicomweb.wire.instance import ParsedInstance
from terminology.definitions.sop_classes import SecondaryCaptureImageStorage

DERIVED_MODALITIES = frozenset({"SR", "SEG", "KO", "PR", "DOC"})  # PS3.3 C.7.3.1.1.1

# The multi-frame kinds lie below the first secondary capture class (PS3.4 Table B.5-1).
SECONDARY_CAPTURE_ROOT = SecondaryCaptureImageStorage


def is_derived(modality: str, sop_class_uid: str) -> bool:
    """Whether an object is of a derived class: SR, SEG, KO, PR, document or secondary capture."""
    secondary_capture = f"{sop_class_uid}.".startswith(f"{SECONDARY_CAPTURE_ROOT}.")
    return secondary_capture or modality in DERIVED_MODALITIES


def is_input(parsed: ParsedInstance, origin: Origin) -> bool:
    """Whether the arrival of this instance makes a study unsettled."""
    modality = text(parsed.dicom_json, MODALITY)
    return origin is Origin.RECEIVED and not is_derived(modality, parsed.sop_class_uid)
