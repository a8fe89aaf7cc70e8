"""What every object begins with that is not built by highdicom: its identity and its maker."""

from pydicom import Dataset
from pydicom.dataset import FileMetaDataset
from pydicom.uid import UID, ExplicitVRLittleEndian

from ai_engine.encode.equipment import Equipment
from ai_engine.encode.source import BLANK, Making


def started(sop_class_uid: str, role: str, making: Making) -> Dataset:
    """A new instance with nothing but its own identity; `complete` gives it patient and study."""
    made = Dataset()
    made.file_meta = FileMetaDataset()
    made.file_meta.TransferSyntaxUID = ExplicitVRLittleEndian
    made.file_meta.MediaStorageSOPClassUID = UID(sop_class_uid)
    made.SOPClassUID = sop_class_uid
    made.SOPInstanceUID = making.uids.uid(role)
    made.file_meta.MediaStorageSOPInstanceUID = made.SOPInstanceUID
    for keyword in BLANK:
        setattr(made, keyword, "")
    return made


def describe_equipment(made: Dataset, made_by: Equipment) -> None:
    """General Equipment (PS3.3 C.7.5.1)."""
    made.Manufacturer = made_by.manufacturer
    made.ManufacturerModelName = made_by.model_name
    made.SoftwareVersions = list(made_by.software_versions)
    made.DeviceSerialNumber = made_by.device_serial_number
