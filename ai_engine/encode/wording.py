"""Labels of our series, within the lengths their value representations allow (PS3.5 Table 6.2-1)."""

import re
from collections.abc import Mapping

from pydicom import Dataset

from ai_engine.findings import Finding, Measurement, ModelIdentity

LONG_STRING = 64
CODE_STRING = 16
SERIES_OFFSET: Mapping[str, int] = {"SEG": 1, "SR": 2, "KO": 3, "SC": 4, "DOC": 5}
SERIES_FACTOR = (
    100  # results of series 3 are 301 and 302: they list after it, and apart from scanners' numbers
)
NUMBER_WITHOUT_SOURCE = 90
MAX_SOURCE_NUMBER = 9_999_999  # the product stays within VR IS


def series_number(source: Dataset, modality: str) -> int:
    """Series Number of a result, from that of its source series."""
    text = str(source.get("SeriesNumber") or "").strip()
    number = int(text) if re.fullmatch(r"[0-9]{1,7}", text) else NUMBER_WITHOUT_SOURCE
    return min(number, MAX_SOURCE_NUMBER) * SERIES_FACTOR + SERIES_OFFSET[modality]


def series_description(model: ModelIdentity, modality: str) -> str:
    """What made it, in which version, and what it may be used for; the title gives way when it gets long."""
    use = model.intended_use.split(".")[0].strip()
    tail = f" {model.version} {modality}: {use}"[:LONG_STRING]
    return f"{model.title[: LONG_STRING - len(tail)].strip()}{tail}".strip()


def content_creator_name(model: ModelIdentity) -> str:
    """Content Creator's Name (0070,0084), VR PN: the maker as family name, the model as given name."""
    maker, name = (re.sub(r"[\\^=]", " ", text).strip() for text in (model.manufacturer, model.name))
    return f"{maker}^{name}"[:LONG_STRING]


def content_label(model: ModelIdentity) -> str:
    """Content Label (0070,0080), VR CS."""
    return re.sub(r"[^A-Z0-9_ ]", "_", model.name.upper())[:CODE_STRING].strip()


def key_object_description(model: ModelIdentity) -> str:
    """Key Object Description (113012, DCM)."""
    return f"Images with findings of {model.title} {model.version}. {model.intended_use}"


def document_title(model: ModelIdentity) -> str:
    """Document Title (0042,0010), VR ST."""
    return f"{model.title} {model.version}: findings"


def finding_words(finding: Finding) -> str:
    """A finding in a few words: which one, and how likely it is."""
    if finding.probability is None:
        return finding.tracking_id
    spread = "" if finding.uncertainty is None else f" \u00b1 {finding.uncertainty:.2f}"
    return f"{finding.tracking_id}: {finding.probability:.2f}{spread}"


def measurement_words(measurement: Measurement) -> str:
    """A number with its name and unit, as it is said to people."""
    unit = "" if measurement.unit.value == "1" else f" {measurement.unit.value}"
    derived = "" if measurement.derivation is None else f", {measurement.derivation.meaning}"
    return f"{measurement.concept.meaning}{derived}: {measurement.value:.9g}{unit}"
