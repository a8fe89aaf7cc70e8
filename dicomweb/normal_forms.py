"""Forms in which values are compared: dates, times and names, stored and asked for alike.

Pure. A value that has no normal form (a DA of "UNKNOWN") becomes "": it is
returned as sent, and matched by nothing.
"""

import re
import unicodedata
from collections.abc import Mapping
from dataclasses import dataclass

from dicomweb.attributes import Json, values

_DATE = re.compile(r"(\d{4})\.?(\d{2})\.?(\d{2})")  # with the dots of ACR-NEMA 2.0, PS3.5 6.2
_TIME = re.compile(r"\d{2}(?:\d{2}(?:\d{2}(?:\.\d{1,6})?)?)?")
_REMOVED_FROM_COMBINING_CLASS = 200  # marks above and below; dakuten (8) and the like change the letter


def normal_date(text: str) -> str:
    """YYYYMMDD, or "" when `text` is no DA."""
    found = _DATE.fullmatch(text)
    return "".join(found.groups()) if found else ""


def normal_time(text: str, fill: str = "000000.000000") -> str:
    """HHMMSS.FFFFFF with what `text` leaves out taken from `fill`, or "" when it is no TM."""
    compact = text.replace(":", "")
    return compact + fill[len(compact) :] if _TIME.fullmatch(compact) else ""


LAST_MOMENT = "235959.999999"  # fills the upper bound of a TM: "10" ends at 10:59:59.999999


def fold(text: str) -> str:
    """Without case, accents and superfluous blanks; component delimiters stay, trailing ones go."""
    decomposed = unicodedata.normalize("NFKD", text.replace("\x00", "").casefold())
    kept = (c for c in decomposed if unicodedata.combining(c) < _REMOVED_FROM_COMBINING_CLASS)
    folded = unicodedata.normalize("NFC", "".join(kept))
    return "^".join(" ".join(part.split()) for part in folded.split("^")).rstrip("^")


@dataclass(frozen=True, slots=True)
class NameGroups:
    """The component groups of a PN, folded (PS3.5 6.2.1)."""

    alphabetic: str = ""
    ideographic: str = ""
    phonetic: str = ""

    @property
    def words(self) -> str:
        """The alphabetic group as plain words: the input of phonetic keys."""
        return " ".join(self.alphabetic.replace("^", " ").split())


def name_groups(dicom_json: Mapping[str, Json], name: str) -> NameGroups:
    """The first value of a PN attribute of DICOM JSON (PS3.18 F.2.3)."""
    found = values(dicom_json, name)
    if not found or not isinstance(found[0], dict):
        return NameGroups()
    groups = (found[0].get(group) or "" for group in ("Alphabetic", "Ideographic", "Phonetic"))
    return NameGroups(*(fold(group) for group in groups))
