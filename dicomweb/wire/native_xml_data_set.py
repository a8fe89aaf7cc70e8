"""Data sets of the Native DICOM Model under way, and the blocks of private attributes (PS3.19 A.1). Pure."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from dicomweb.wire.faults import UnreadableXml
from dicomweb.wire.native_xml import FIRST_BLOCK

Json = Any


@dataclass(slots=True)
class Attribute:
    """A DicomAttribute under way."""

    key: str
    vr: str
    creator: str | None
    content: str | None = None  # the element that holds it; None: nothing yet
    values: list[Json] = field(default_factory=list)
    other: dict[str, str] = field(default_factory=dict)  # BulkDataURI or InlineBinary

    def element(self) -> dict[str, Json]:
        """Its DICOM JSON."""
        if self.values:
            return {"vr": self.vr, "Value": self.values}
        return {"vr": self.vr, **self.other}


@dataclass(slots=True)
class DataSet:
    """A data set under way: the document's or an item's."""

    attributes: dict[str, dict[str, Json]] = field(default_factory=dict)
    private: dict[tuple[str, str], dict[str, dict[str, Json]]] = field(default_factory=dict)
    open: Attribute | None = None

    def close_attribute(self) -> None:
        """Take in the attribute under way.

        Raises:
            UnreadableXml: the data set has it already.
        """
        attribute = self.open
        assert attribute is not None
        self.open = None
        if attribute.key.endswith("0000"):  # group lengths are not part of the model, PS3.19 A.1.1
            return
        kept, key = self.attributes, attribute.key
        if attribute.creator is not None:
            kept, key = self.private.setdefault((key[:4], attribute.creator), {}), key[6:]
        if key in kept:
            raise UnreadableXml(f"attribute {attribute.key} occurs twice")
        kept[key] = attribute.element()

    def finished(self) -> dict[str, Json]:
        """Its DICOM JSON, each private attribute in a block of its creator (PS3.5 §7.8.1)."""
        blocks = _Blocks(self.attributes)
        for (group, creator), elements in self.private.items():
            block = blocks.of(group, creator)
            self.attributes[f"{group}00{block:02X}"] = {"vr": "LO", "Value": [creator]}
            for element, attribute in elements.items():
                key = f"{group}{block:02X}{element}"
                if key in self.attributes:
                    raise UnreadableXml(f"attribute {group}00{element} of a private creator occurs twice")
                self.attributes[key] = attribute
        return dict(sorted(self.attributes.items()))


class _Blocks:
    """The blocks of private attributes of a data set."""

    def __init__(self, attributes: Mapping[str, Mapping[str, Json]]) -> None:
        self._of: dict[tuple[str, str], int] = {}
        self._taken: set[tuple[str, int]] = set()
        for key, attribute in attributes.items():
            if not int(key[3], 16) & 1:
                continue
            is_creator = key[4:6] == "00"
            block = int(key[6:] if is_creator else key[4:6], 16)
            self._taken.add((key[:4], block))
            if is_creator and block >= FIRST_BLOCK and "Value" in attribute:
                self._of.setdefault((key[:4], str(attribute["Value"][0])), block)

    def of(self, group: str, creator: str) -> int:
        """The block of a creator: that which it has, or else the first that is free."""
        if (group, creator) not in self._of:
            free = (n for n in range(FIRST_BLOCK, 0x100) if (group, n) not in self._taken)
            block = next(free, None)
            if block is None:
                raise UnreadableXml(f"group {group} has more private creators than blocks")
            self._taken.add((group, block))
            self._of[group, creator] = block
        return self._of[group, creator]
