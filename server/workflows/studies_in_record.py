"""Which studies the criteria of a scope open, by what the record says of them (SMART Imaging Access).

`patient/ImagingStudy.rs?modality=…` opens on DICOMweb the studies whose ImagingStudy a search of the record
would find by it: the one that this server keeps of the study, by its id. Until that is written, within a
second, the study is closed.
"""

from collections.abc import Sequence
from dataclasses import replace
from functools import lru_cache
from typing import Any

from sqlalchemy import ColumnElement

from fhir.interactions.door import surroundings_of
from fhir.search.narrowed import is_open
from fhir.search.value import Surroundings
from server.kernel.access import Narrowed
from server.kernel.derived_ids import DerivedId
from server.kernel.services import Services
from server.workflows.projection import IMAGING_STUDY_ID

IMAGING_STUDY = "ImagingStudy"
KEPT_PREDICATES = 200  # of scopes and patients: a viewer asks by the same ones hundreds of times


def open_by_record(
    services: Services, parts: Sequence[Narrowed], study_instance_uid: ColumnElement[Any]
) -> Sequence[ColumnElement[bool]]:
    """Of each part of a reach, whether it opens the ImagingStudy of the study that has this UID."""
    around = replace(surroundings_of(services), now_us=0)  # criteria mean the same at every time
    return _predicates(tuple(parts), around, study_instance_uid)


@lru_cache(maxsize=KEPT_PREDICATES)
def _predicates(
    parts: tuple[Narrowed, ...], around: Surroundings, study_instance_uid: ColumnElement[Any]
) -> tuple[ColumnElement[bool], ...]:
    its_id = DerivedId(IMAGING_STUDY_ID, study_instance_uid)
    return tuple(
        is_open(part, (IMAGING_STUDY, its_id), around, f"studies_{number}_")
        for number, part in enumerate(parts)
    )
