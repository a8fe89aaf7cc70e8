"""UIDs that belong to a result: the same each time it is encoded, so that a retry cannot double an object."""

from dataclasses import dataclass

from ai_engine.findings import ModelIdentity
from server.kernel.uids import derived_uid

IMPLEMENTATION_CLASS_UID = derived_uid("isthmus", "implementation class")
IMPLEMENTATION_VERSION_NAME = "ISTHMUS"


@dataclass(frozen=True, slots=True)
class UidSource:
    """The UIDs of one workitem's objects."""

    workitem_uid: str

    def uid(self, role: str) -> str:
        """The UID of the object, series or the like that plays `role`."""
        return derived_uid(self.workitem_uid, role)


def tracking_uid(study_instance_uid: str, model: ModelIdentity, tracking_id: str, salt: str = "") -> str:
    """Tracking UID (0062,0021) of a finding or its segment: stable over runs and versions on one study.

    SEG, SR and FHIR carry the same one. `salt`: see `Finding.tracking_salt`.
    """
    return derived_uid("tracking", study_instance_uid, model.name, tracking_id, *filter(None, [salt]))


def device_uid(model: ModelIdentity) -> str:
    """The UID of one version of a model as an observer (TID 1004)."""
    return derived_uid("device", model.manufacturer, model.name, model.version)
