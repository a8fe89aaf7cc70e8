"""The device that made an object (PS3.3 C.7.5.1 General Equipment, C.7.5.2 Enhanced General Equipment)."""

from dataclasses import dataclass
from typing import Any

from ai_engine.encode.uids import device_uid
from ai_engine.findings import ModelIdentity

LONG_STRING = 64  # VR LO


@dataclass(frozen=True, slots=True)
class Equipment:
    """A model as a device."""

    manufacturer: str
    model_name: str
    software_versions: tuple[str, ...]
    device_serial_number: str

    @classmethod
    def of(cls, model: ModelIdentity, engine: str) -> "Equipment":
        """The device that a version of a model is, run by `engine` ("Isthmus 1.0").

        Software has no serial number and the SEG must have one: it is the device's UID.
        """
        versions = (model.version[:LONG_STRING], engine[:LONG_STRING])
        return cls(model.manufacturer[:LONG_STRING], model.name[:LONG_STRING], versions, device_uid(model))

    def as_attributes(self) -> dict[str, Any]:
        """The arguments by which highdicom takes them."""
        return {
            "manufacturer": self.manufacturer,
            "manufacturer_model_name": self.model_name,
            "software_versions": list(self.software_versions),
            "device_serial_number": self.device_serial_number,
        }
