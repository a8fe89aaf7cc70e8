"""The site's own naming and rules, as the settings state them."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import StrEnum


class Duplicates(StrEnum):
    """What becomes of another data set under a SOP Instance UID that is stored."""

    REFUSE = "refuse"
    REPLACE = "replace"


@dataclass(frozen=True, slots=True)
class Site:
    """The site's own naming: the issuer of identifiers that name none, and its zone."""

    patient_system: str = "urn:isthmus:site:patient-id"  # Identifier.system when no issuer is stated
    system_of_issuer: Mapping[str, str] = field(
        default_factory=dict
    )  # Issuer of Patient ID → Identifier.system
    timezone: str | None = None  # IANA name; None: DICOM times without offset become dates only
    create_patients: bool = True  # whether an unknown identifier creates a Patient
    duplicates: Duplicates = Duplicates.REFUSE
