"""Which studies the criteria of a scope open, by what the record says of them (SMART Imaging Access).

`patient/ImagingStudy.rs?modality=…` opens on DICOMweb the studies whose ImagingStudy a search of the record
would find by it: the one that this server keeps of the study, by its id. Until that is written, within a
second, the study is closed.
"""

from collections.abc import Sequence
from typing import Any

from sqlalchemy import ColumnElement

from fhir.interactions.door import surroundings_of
from fhir.search.narrowed import is_open
from server.kernel.access import Narrowed
from server.kernel.derived_ids import DerivedId
from server.kernel.services import Services
from server.workflows.projection import IMAGING_STUDY_ID

IMAGING_STUDY = "ImagingStudy"


def open_by_record(
    services: Services, parts: Sequence[Narrowed], study_instance_uid: ColumnElement[Any]
) -> list[ColumnElement[bool]]:
    """Of each part of a reach, whether it opens the ImagingStudy of the study that has this UID."""
    around, its_id = surroundings_of(services), DerivedId(IMAGING_STUDY_ID, study_instance_uid)
    return [
        is_open(part, (IMAGING_STUDY, its_id), around, f"studies_{number}_")
        for number, part in enumerate(parts)
    ]
