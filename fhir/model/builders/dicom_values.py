"""DICOM values as FHIR values: dates and times, person names, sex (PS3.5 6.2)."""

import re
from datetime import date, datetime
from typing import Any
from zoneinfo import ZoneInfo

from fhir.model import systems
from fhir.model.builders.datatypes import elements

Json = Any

_DATE = re.compile(r"(\d{4})\.?(\d{2})\.?(\d{2})")
_TIME = re.compile(r"(\d{2})(?::?(\d{2})(?::?(\d{2})(\.\d{1,6})?)?)?")
_OFFSET = re.compile(r"([+-])(0\d|1[0-4])([0-5]\d)")

_GENDER_OF = {"M": "male", "F": "female", "O": "other"}
_REPRESENTATIONS = ("ABC", "IDE", "SYL")  # component groups of PN, PS3.5 6.2.1.2


def fhir_date(da: str | None) -> str | None:
    """The FHIR date of a DA value; None: absent, or no date of the calendar."""
    match = _DATE.fullmatch((da or "").strip())
    if match is None:
        return None
    try:
        return date(int(match[1]), int(match[2]), int(match[3])).isoformat()
    except ValueError:
        return None


def fhir_date_time(
    da: str | None, tm: str | None, *, utc_offset: str | None = None, timezone: str | None = None
) -> str | None:
    """The FHIR dateTime of a DA and a TM value (DESIGN §5, Time).

    Args:
        da: Date; without one there is nothing to say.
        tm: Time; seconds it leaves out are zero, as FHIR wants them.
        utc_offset: Timezone Offset From UTC (0008,0201), "+0100".
        timezone: IANA name of the source's or the site's zone, used when `utc_offset` is absent. Without
            either the answer is the date only: FHIR knows no time without a zone.
    """
    day = fhir_date(da)
    match = _TIME.fullmatch((tm or "").strip())
    if day is None or match is None:
        return day
    hour, minute, second, fraction = match[1], match[2] or "00", match[3] or "00", match[4] or ""
    if int(hour) > 23 or int(minute) > 59 or int(second) > 60:
        return day
    offset = _offset(utc_offset) or _offset_of_zone(timezone, f"{day}T{hour}:{minute}")
    return f"{day}T{hour}:{minute}:{second}{fraction}{offset}" if offset else day


def _offset(utc_offset: str | None) -> str | None:
    match = _OFFSET.fullmatch((utc_offset or "").strip())
    if match is None or (match[2] == "14" and match[3] != "00"):
        return None
    return f"{match[1]}{match[2]}:{match[3]}"


def _offset_of_zone(timezone: str | None, local: str) -> str | None:
    if timezone is None:
        return None
    moment = datetime.fromisoformat(local).replace(tzinfo=ZoneInfo(timezone))
    return moment.isoformat(timespec="seconds")[19:25]  # historic offsets have seconds, FHIR's have none


def administrative_gender(sex: str | None) -> str | None:
    """Patient.gender of a Patient's Sex (0010,0040); None: empty."""
    code = (sex or "").strip().upper()
    return _GENDER_OF.get(code, "unknown") if code else None


def human_names(person_name: str | None) -> list[dict[str, Json]]:
    """The HumanNames of a PN value: one per component group (alphabetic, ideographic, phonetic)."""
    groups = (person_name or "").split("=")[: len(_REPRESENTATIONS)]
    names = [_human_name(group, kind) for group, kind in zip(groups, _REPRESENTATIONS, strict=False)]
    return [name for name in names if name is not None]


def practitioner(person_name: str) -> dict[str, Json]:
    """A person of the staff by a PN value: by name only, no FHIR resource is claimed for them."""
    names = human_names(person_name)
    parts = [*names[0].get("given", ()), names[0].get("family", "")] if names else [person_name]
    return {"type": "Practitioner", "display": " ".join(p for p in parts if p) or person_name}


def _human_name(group: str, representation: str) -> dict[str, Json] | None:
    parts = [part.strip() for part in group.split("^")] + [""] * 5
    family, given, middle, prefix, suffix = parts[:5]
    name = elements(
        family=family,
        given=[*given.split(), *middle.split()],
        prefix=prefix.split(),
        suffix=suffix.split(),
    )
    if not name:
        return None
    if representation != "ABC":
        url = systems.NAME_REPRESENTATION_EXTENSION
        name["extension"] = [{"url": url, "valueCode": representation}]
    return name
