"""Attributes of a study or series row between as sent and as shown. Pure."""

from collections.abc import Mapping
from typing import Any

from dicomweb.attributes import DicomJson

Json = Any
Sent = dict[str, Json]  # of each attribute that is overlaid what was sent; None: nothing


def lay_over(attributes: Mapping[str, Json], overlay: Mapping[str, Json]) -> tuple[DicomJson, Sent]:
    """What is shown of `attributes`, which are as sent, and what of them is not shown."""
    shown = dict(sorted({**attributes, **overlay}.items()))
    return shown, {key: attributes.get(key) for key in overlay}


def lift(shown: Mapping[str, Json], sent: Mapping[str, Json]) -> DicomJson:
    """The attributes as sent, from those shown."""
    kept = {key: attribute for key, attribute in shown.items() if key not in sent}
    kept |= {key: attribute for key, attribute in sent.items() if attribute is not None}
    return dict(sorted(kept.items()))


def fill_in(attributes: DicomJson, sent: Sent, more: Mapping[str, Json]) -> bool:
    """Take over what a study was not sent before; whether there was any.

    What it shows stays; of what is overlaid the value goes where it waits for the overlay's end.
    """
    changed = False
    for key, attribute in more.items():
        if "Value" not in attribute:
            continue
        kept = sent if key in sent else attributes
        if "Value" not in (kept.get(key) or ()):
            kept[key] = attribute
            changed = True
    return changed
