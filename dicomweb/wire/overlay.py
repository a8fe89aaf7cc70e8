"""What is shown otherwise than it was sent, and its Original Attributes Sequence (PS3.3 C.12.1.1.9). Pure.

An overlay belongs to a study or series. Each instance says for itself what it said before: the previous
values are those of its own data set, and where it says already what is shown, nothing was modified.
"""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from enum import StrEnum
from hashlib import sha256
from typing import Any

import orjson

from dicomweb.wire.dictionary import key_of

Json = Any

MODIFYING_SYSTEM = "Isthmus"
ORIGINAL_ATTRIBUTES_SEQUENCE = key_of("OriginalAttributesSequence")
PATIENT_ID, ISSUER_OF_PATIENT_ID = key_of("PatientID"), key_of("IssuerOfPatientID")


class ModificationReason(StrEnum):
    """Reason for the Attribute Modification (0400,0565), its defined terms."""

    COERCE = "COERCE"  # reconciled with a master patient index
    CORRECT = "CORRECT"  # was wrong


@dataclass(frozen=True, slots=True)
class Change:
    """Attributes that were set in one act; no two changes of an overlay have one in common."""

    attributes: Mapping[str, Json]  # DICOM JSON; without Value: shown empty
    modified_us: int
    reason: ModificationReason

    @property
    def date_time(self) -> str:
        """The DT of the act, in UTC (PS3.5 §6.2)."""
        instant = datetime.fromtimestamp(self.modified_us // 1_000_000, UTC)
        return f"{instant:%Y%m%d%H%M%S}.{self.modified_us % 1_000_000:06d}+0000"


@dataclass(frozen=True, slots=True)
class Overlay:
    """The changes in the order of their acts; `digest` tells overlays apart."""

    changes: tuple[Change, ...]
    digest: bytes


def overlay_of(changes: Iterable[Change]) -> Overlay | None:
    """The overlay of changes; None: there are none."""
    made = tuple(sorted((each for each in changes if each.attributes), key=lambda each: each.modified_us))
    if not made:
        return None
    said = [(dict(each.attributes), each.modified_us, each.reason.value) for each in made]
    return Overlay(made, sha256(orjson.dumps(said, option=orjson.OPT_SORT_KEYS)).digest())


def previous_values(dicom_json: Mapping[str, Json], change: Change) -> dict[str, Json]:
    """The attributes that `change` modifies in a data set, as they were there; absent ones are empty.

    With Patient ID goes its issuer, also where that stays: it says in whose identifiers the other one is.
    """
    modified = {
        key: dicom_json.get(key) or {"vr": attribute["vr"]}
        for key, attribute in change.attributes.items()
        if not _says(dicom_json.get(key), attribute)
    }
    if PATIENT_ID in modified and ISSUER_OF_PATIENT_ID in dicom_json:
        modified[ISSUER_OF_PATIENT_ID] = dicom_json[ISSUER_OF_PATIENT_ID]
    return dict(sorted(modified.items()))


def _says(said: Json | None, shown: Json) -> bool:
    if "Value" not in shown and (said is None or said.keys() == {"vr"}):
        return True
    return bool(said is not None and said.get("Value") == shown.get("Value") and "BulkDataURI" not in said)


def show(dicom_json: Mapping[str, Json], overlay: Overlay) -> dict[str, Json]:
    """The data set as it is shown, attributes in ascending order."""
    shown, items = dict(dicom_json), []
    for change in overlay.changes:
        if previous := previous_values(dicom_json, change):
            shown |= {key: change.attributes[key] for key in previous if key in change.attributes}
            items.append(item_of(previous, change))
    if not items:
        return shown
    earlier = dicom_json.get(ORIGINAL_ATTRIBUTES_SEQUENCE, {}).get("Value", [])
    shown[ORIGINAL_ATTRIBUTES_SEQUENCE] = {"vr": "SQ", "Value": [*earlier, *items]}
    return dict(sorted(shown.items()))


def item_of(previous: Mapping[str, Json], change: Change) -> dict[str, Json]:
    """The item of Original Attributes Sequence that tells of a change (Table C.12.1.1.9-1)."""
    return {
        "04000550": {"vr": "SQ", "Value": [dict(previous)]},
        "04000562": {"vr": "DT", "Value": [change.date_time]},
        "04000563": {"vr": "LO", "Value": [MODIFYING_SYSTEM]},
        "04000564": {"vr": "LO"},
        "04000565": {"vr": "CS", "Value": [change.reason.value]},
    }


def has_our_changes(dicom_json: Mapping[str, Json]) -> bool:
    """Whether a data set says that this system, or one like it, has modified it."""
    items = dicom_json.get(ORIGINAL_ATTRIBUTES_SEQUENCE, {}).get("Value", [])
    return any(item.get("04000563", {}).get("Value") == [MODIFYING_SYSTEM] for item in items)
