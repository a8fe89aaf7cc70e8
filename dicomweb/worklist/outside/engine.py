"""Workitems from outside that name one of the engine's models, and what the engine needs to run them.

A model is named by an item of Scheduled Station Name or Scheduled Workitem Code Sequence with this server's
coding scheme and the model's name as code value: as the engine's own workitems name it.
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Protocol

from dicomweb.worklist.codes import LOCAL_SCHEME
from dicomweb.worklist.dicom_json import Json
from dicomweb.worklist.outside.data_set import items, text_of
from dicomweb.worklist.workitem import SeriesReference
from server.kernel.access import Reach

_NAMING = ("ScheduledStationNameCodeSequence", "ScheduledWorkitemCodeSequence")
_CODE_VALUES = ("CodeValue", "LongCodeValue")


@dataclass(frozen=True, slots=True)
class InputReference:
    """An item of Input Information Sequence (PS3.3 Table 10-3b): a study, a series, or instances of one."""

    study_instance_uid: str
    series_instance_uid: str  # "": any of the study
    sop_class_uids: tuple[str, ...] = ()
    sop_instance_uids: tuple[str, ...] = ()  # empty: all of them


@dataclass(frozen=True, slots=True)
class Assignment:
    """The engine takes a workitem: it will run this version of this model on this input."""

    model_name: str
    model_version: str
    input: tuple[SeriesReference, ...]  # empty: it is not ready yet


class Engine(Protocol):
    """Who knows the models of this server: `server/workflows/requested.py`."""

    async def assign(
        self, names: Sequence[str], references: Sequence[InputReference], reach: Reach, *, is_ready: bool
    ) -> Assignment:
        """The live version of the model of one of these names, with the stored instances that it will get.

        Raises:
            Fault: no model has such a name, or the input is not stored, out of reach, or not for it.
        """
        ...


def names_of_models(data_set: Mapping[str, Json]) -> list[str]:
    """The names of models that a workitem asks for; empty: it is for an outside performer."""
    return [
        value
        for sequence in _NAMING
        for code in items(data_set, sequence)
        if text_of(code, "CodingSchemeDesignator") == LOCAL_SCHEME
        for value in (text_of(code, keyword) for keyword in _CODE_VALUES)
        if value
    ]


def input_of(data_set: Mapping[str, Json]) -> list[InputReference]:
    """What Input Information Sequence refers to."""
    return [_reference(each) for each in items(data_set, "InputInformationSequence")]


def _reference(item: Mapping[str, Json]) -> InputReference:
    named = items(item, "ReferencedSOPSequence")
    return InputReference(
        text_of(item, "StudyInstanceUID"),
        text_of(item, "SeriesInstanceUID"),
        tuple(text_of(each, "ReferencedSOPClassUID") for each in named),
        tuple(text_of(each, "ReferencedSOPInstanceUID") for each in named),
    )


def as_series(references: Sequence[InputReference]) -> tuple[SeriesReference, ...]:
    """Input as a row of the workitem table keeps it, series by series and class by class."""
    return tuple(series for each in references for series in _series(each))


def _series(reference: InputReference) -> Iterator[SeriesReference]:
    of_class: dict[str, list[str]] = {}
    for sop_class, uid in zip(reference.sop_class_uids, reference.sop_instance_uids, strict=True):
        of_class.setdefault(sop_class, []).append(uid)
    for sop_class, uids in of_class.items():
        yield SeriesReference(
            reference.study_instance_uid, reference.series_instance_uid, sop_class, tuple(uids)
        )


def studies_of(data_set: Mapping[str, Json]) -> list[str]:
    """Every Study Instance UID that a workitem names, the one that it is about first."""
    asked = [text_of(each, "StudyInstanceUID") for each in items(data_set, "ReferencedRequestSequence")]
    named = [each.study_instance_uid for each in input_of(data_set)]
    found = [*named, *asked, text_of(data_set, "StudyInstanceUID")]
    return list(dict.fromkeys(uid for uid in found if uid))
