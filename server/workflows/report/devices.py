"""Who made a result, as Devices: TID 4019 algorithm, TID 1004 observer, or the equipment (PS3.3 C.7.5.1)."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

from dicomweb.attributes import DicomJson
from fhir.model.builders.datatypes import reference
from fhir.model.builders.results import DeviceFacts, device
from server.kernel.uids import derived_id
from server.workflows.report import concepts
from server.workflows.report.coding import Schemes
from server.workflows.report.content import ContentItem, root_of, text_of

Json = Any

UNNAMED = "Unnamed equipment"  # a document that names no maker at all


@dataclass(frozen=True, slots=True)
class _Maker:
    """What the document says of the device that made it, as a whole."""

    name: str | None
    model_name: str | None
    manufacturer: str | None
    version: str | None
    serial_number: str | None
    uid: str | None


class Devices:
    """The devices of one document, each once."""

    def __init__(self, document: DicomJson, schemes: Schemes, notes: Sequence[str]) -> None:
        self._schemes = schemes
        self._notes = tuple(notes)
        self._maker = _maker(document)
        self._found: dict[str, dict[str, Json]] = {}
        self.of_document = self.of(root_of(document)) or self._add(self._maker_facts())

    @property
    def resources(self) -> tuple[dict[str, Json], ...]:
        """The Devices that were asked for."""
        return tuple(self._found.values())

    def of(self, item: ContentItem) -> dict[str, Json] | None:
        """A reference to the algorithm that an item identifies; None: it identifies none."""
        name = _text(item, concepts.ALGORITHM_NAME)
        if name is None:
            return None
        family = item.child(concepts.ALGORITHM_FAMILY)
        code = None if family is None else family.code()
        parameters = _text(item, concepts.ALGORITHM_PARAMETERS)
        return self._add(
            replace(
                self._algorithm_facts(item, name),
                type=None if code is None else self._schemes.codeable(code),
                notes=(*self._notes, *([f"Parameters: {parameters}"] if parameters else [])),
            )
        )

    def _algorithm_facts(self, item: ContentItem, name: str) -> DeviceFacts:
        manufacturer = _text(item, concepts.ALGORITHM_MANUFACTURER) or self._maker.manufacturer
        version = _text(item, concepts.ALGORITHM_VERSION)
        id_ = device_id(manufacturer, name, version)
        if self._maker.model_name == name:  # the observer is this algorithm, and has a title for people
            maker = self._maker
            return DeviceFacts(
                id_, maker.name or name, name, version, manufacturer, maker.serial_number, maker.uid
            )
        return DeviceFacts(id_, name, name, version, manufacturer)

    def _maker_facts(self) -> DeviceFacts:
        maker = self._maker
        name = maker.name or maker.model_name or maker.manufacturer or UNNAMED
        unit = maker.serial_number or (None if maker.model_name else maker.uid)
        id_ = device_id(maker.manufacturer, maker.model_name or name, maker.version, unit)
        return DeviceFacts(
            id_,
            name,
            maker.model_name,
            maker.version,
            maker.manufacturer,
            maker.serial_number,
            maker.uid,
            notes=self._notes,
        )

    def _add(self, facts: DeviceFacts) -> dict[str, Json]:
        self._found.setdefault(facts.id, device(facts))
        return reference("Device", facts.id, display=facts.name)


def device_id(manufacturer: str | None, model_name: str, version: str | None, unit: str | None = None) -> str:
    """The id of the Device that one version of a model is; `unit` tells equipment of one make apart."""
    return derived_id("device", manufacturer or "", model_name, version or "", *([unit] if unit else []))


def _maker(document: DicomJson) -> _Maker:
    root = root_of(document)
    observer = root.child(concepts.DEVICE_OBSERVER_UID)
    uid = None if observer is None else observer.uid()
    serial = _text(root, concepts.DEVICE_OBSERVER_SERIAL_NUMBER) or text_of(document, "DeviceSerialNumber")
    manufacturer = _text(root, concepts.DEVICE_OBSERVER_MANUFACTURER) or text_of(document, "Manufacturer")
    model = _text(root, concepts.DEVICE_OBSERVER_MODEL_NAME) or text_of(document, "ManufacturerModelName")
    return _Maker(
        name=_text(root, concepts.DEVICE_OBSERVER_NAME),
        model_name=model,
        manufacturer=manufacturer,
        version=text_of(document, "SoftwareVersions"),
        serial_number=None if serial == uid else serial,
        uid=uid,
    )


def _text(item: ContentItem, key: tuple[str, str]) -> str | None:
    child = item.child(key)
    return None if child is None else child.text()
