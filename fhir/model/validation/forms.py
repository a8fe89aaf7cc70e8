"""Code lists that nobody can enumerate, but whose codes have a form (FHIR R4 terminologies.html#required).

UCUM is left out: whether a unit is one, the terminology package says.
"""

import re
from collections.abc import Callable, Mapping

# RFC 6838 §4.2: type/subtype of restricted names; RFC 9110 §8.3.1: parameters
_NAME = r"[A-Za-z0-9][A-Za-z0-9!#$&\-^_.+]{0,126}"
_PARAMETER = r"\s?;\s?[!#$%&'*+\-.^_`|~0-9A-Za-z]+=(?:[!#$%&'*+\-.^_`|~0-9A-Za-z]+|\"[^\"\\]*\")"
_MEDIA_TYPE = re.compile(rf"{_NAME}/{_NAME}(?:{_PARAMETER})*|xml|json|ttl", re.ASCII)
# RFC 5646 §2.1: language, extended languages, script, region, variants, extensions, private use
_LANGUAGE = re.compile(
    r"(?:[A-Za-z]{2,3}(?:-[A-Za-z]{3}){0,3}|[A-Za-z]{4,8})(?:-[A-Za-z]{4})?(?:-(?:[A-Za-z]{2}|\d{3}))?"
    r"(?:-(?:[A-Za-z0-9]{5,8}|\d[A-Za-z0-9]{3}))*(?:-[0-9A-WY-Za-wy-z](?:-[A-Za-z0-9]{2,8})+)*"
    r"(?:-[xX](?:-[A-Za-z0-9]{1,8})+)?|[xXiI](?:-[A-Za-z0-9]{1,8})+",
    re.ASCII,
)
_CURRENCY = re.compile(r"[A-Z]{3}", re.ASCII)  # ISO 4217

_VALUE_SETS = "http://hl7.org/fhir/ValueSet/"
FORMS: Mapping[str, re.Pattern[str]] = {
    # R4's own short names xml, json, ttl are allowed where formats are told (CapabilityStatement.format)
    f"{_VALUE_SETS}mimetypes": _MEDIA_TYPE,
    f"{_VALUE_SETS}all-languages": _LANGUAGE,
    f"{_VALUE_SETS}currencies": _CURRENCY,
}


def has_form_of(value_set: str) -> Callable[[object], bool] | None:
    """Whether a code has the form of a value set's codes; None: they have none that could be told."""
    pattern = FORMS.get(value_set.partition("|")[0])
    if pattern is None:
        return None
    match = pattern.fullmatch

    def fits(value: object) -> bool:
        return type(value) is str and match(value) is not None

    return fits
