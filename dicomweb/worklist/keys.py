"""The matching keys of the worklist: what a workitem is found by (PS3.4 Table CC.2.5-3, CC.2.8.1.3).

A key of the engine's own workitems is a column of its row, or the same for all; one of a workitem from
outside is a row of `workitem_key`, taken from what was sent. Keys of one sequence must hold in one item.
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, tzinfo
from itertools import groupby, islice
from typing import Any

from sqlalchemy import ColumnElement, Select, and_, literal, or_, select, true, union_all

from dicomweb.attributes import text, values
from dicomweb.normal_forms import name_groups, normal_date
from dicomweb.search.conditions import Condition, InvalidQuery, Name, parse_condition, require_few
from dicomweb.search.sql import MATCHERS as MATCH
from dicomweb.search.sql import match_name, match_text
from dicomweb.tables import Study
from dicomweb.wire.dictionary import key_of, tag_of, vr_of
from dicomweb.worklist.change import WORKITEM
from dicomweb.worklist.codes import IMAGE_PROCESSING, LOCAL_SCHEME
from dicomweb.worklist.dicom_json import Json
from dicomweb.worklist.instants import Span, comparable, parse_instant, parse_span
from dicomweb.worklist.tables import WorkitemKey
from dicomweb.worklist.ups_json import INPUT_READINESS, WORKLIST_LABEL
from server.kernel.rows import table_of
from terminology.definitions.sop_classes import UnifiedProcedureStepPush

MAX_KEY_CHARACTERS = 256  # of a value that is found; codes and labels are shorter, indexes want bounded rows
MAX_KEYS = 2000  # of one workitem: the UIDs of its input, mostly

_STUDY, _KEY = table_of(Study), table_of(WorkitemKey)
_W = WORKITEM.c


@dataclass(frozen=True, slots=True)
class Key:
    """A matching key: of the engine's workitems this column, or the stem of a PN's columns of the study."""

    of_engine: ColumnElement[Any] | str | None = None  # None: none of them has a value
    is_common: bool = False  # whether the column holds it for workitems from outside too
    has_index: bool = False  # whether the column finds few workitems quickly, however many there are

    @property
    def is_of_study(self) -> bool:
        """Whether the column is the study's."""
        return isinstance(self.of_engine, str) or getattr(self.of_engine, "table", None) is _STUDY


def _column(column: ColumnElement[Any]) -> Key:
    return Key(column, is_common=True)


def _indexed(column: ColumnElement[Any] | str) -> Key:
    return Key(column, has_index=True)


_CODE = ("CodeValue", "LongCodeValue", "CodingSchemeDesignator", "CodeMeaning")
_LABEL = _W.model_name + literal(" ") + _W.model_version
_MODEL = (_W.model_name, _W.model_name, literal(LOCAL_SCHEME), _LABEL)
_TASK = (
    literal(IMAGE_PROCESSING.value),
    None,
    literal(IMAGE_PROCESSING.scheme),
    literal(IMAGE_PROCESSING.meaning),
)


def _codes(sequence: str, of_engine: Sequence[ColumnElement[Any] | None] = (None,) * 4) -> dict[str, Key]:
    return {f"{sequence}.{name}": Key(value) for name, value in zip(_CODE, of_engine, strict=True)}


KEYS: Mapping[str, Key] = {
    "SOPInstanceUID": _column(_W.workitem_uid),
    "SOPClassUID": _column(literal(str(UnifiedProcedureStepPush))),
    "ProcedureStepState": _column(_W.state),
    "ScheduledProcedureStepPriority": _column(_W.priority),
    "ScheduledProcedureStepModificationDateTime": _column(_W.changed_us),
    "ScheduledProcedureStepStartDateTime": Key(_W.scheduled_us),
    "ExpectedCompletionDateTime": Key(),
    "ScheduledProcedureStepExpirationDateTime": Key(),
    "ProcedureStepLabel": Key(_LABEL),
    "WorklistLabel": Key(literal(WORKLIST_LABEL)),
    "InputReadinessState": Key(literal(INPUT_READINESS)),
    **_codes("ScheduledStationNameCodeSequence", _MODEL),
    **_codes("ScheduledStationClassCodeSequence"),
    **_codes("ScheduledStationGeographicLocationCodeSequence"),
    **_codes("ScheduledWorkitemCodeSequence", _TASK),
    "ScheduledHumanPerformersSequence.HumanPerformerName": Key(),
    "ScheduledHumanPerformersSequence.HumanPerformerOrganization": Key(),
    **_codes("ScheduledHumanPerformersSequence.HumanPerformerCodeSequence"),
    "StudyInstanceUID": _indexed(_W.study_instance_uid),
    "ReferencedRequestSequence.StudyInstanceUID": _indexed(_W.study_instance_uid),
    "ReferencedRequestSequence.AccessionNumber": _indexed(_STUDY.c.accession_number),
    "ReferencedRequestSequence.RequestedProcedureID": Key(),
    "ReferencedRequestSequence.PlacerOrderNumberImagingServiceRequest": Key(),
    "ReferencedRequestSequence.FillerOrderNumberImagingServiceRequest": Key(),
    "ReplacedProcedureStepSequence.ReferencedSOPInstanceUID": Key(_W.predecessor_uid),
    "AdmissionID": Key(),
    "PatientName": _indexed("patient_name"),
    "PatientID": _indexed(_STUDY.c.patient_value),
    "IssuerOfPatientID": Key(),
    "PatientBirthDate": Key(_STUDY.c.patient_birth_date),
    "PatientSex": Key(_STUDY.c.patient_sex),
    # Last, for they may be many: see MAX_KEYS
    "InputInformationSequence.StudyInstanceUID": _indexed(_W.study_instance_uid),
    "InputInformationSequence.SeriesInstanceUID": Key(),
}

_Match = tuple[str, Condition | Span]  # (path of keywords, what its value must be)


def check_key(path: str, value: str) -> None:
    """See that a value can be matched.

    Raises:
        InvalidQuery: the VR of the key does not allow it.
    """
    _match(path, value, UTC)


def conditions(keys: Sequence[tuple[str, str]], zone: tzinfo) -> list[ColumnElement[bool]]:
    """The conditions of keys and their values, of workitems outer joined with their studies.

    Raises:
        InvalidQuery: the VR of a key does not allow its value.
    """
    matches = [match for path, value in keys if (match := _match(path, value, zone)) is not None]
    require_few(condition for _, condition in matches)
    found = [_of_column(KEYS[path].of_engine, match) for path, match in matches if KEYS[path].is_common]
    rest = sorted((each for each in matches if not KEYS[each[0]].is_common), key=_sequence_of)
    return [*found, *(_one_of(list(group)) for _, group in groupby(rest, key=_sequence_of))]


def _sequence_of(match: _Match) -> str:
    """What keys must share to be asked of one item: their sequence; any other key stands for itself."""
    path = match[0]
    return path.rpartition(".")[0] or path


def _one_of(matches: Sequence[_Match]) -> ColumnElement[bool]:
    """The engine's workitems by their columns, those from outside by their keys.

    Where an index finds either, it is a union of both; or else each half would be looked for in every row.
    """
    holders = list(_holders(matches))
    if any(KEYS[path].of_engine is None for path, _ in matches):
        return and_(*(_W.pk.in_(each) for each in holders))
    of_engine = [_of_column(KEYS[path].of_engine, match) for path, match in matches]
    is_engines = and_(_W.requested_by.is_(None), *of_engine)
    if any(KEYS[path].has_index for path, _ in matches):
        engines = select(_W.pk).where(is_engines)
        if any(KEYS[path].is_of_study for path, _ in matches):
            engines = engines.join_from(
                WORKITEM, _STUDY, _STUDY.c.study_instance_uid == _W.study_instance_uid
            )
        first, *others = holders
        outside = first.where(*(_KEY.c.workitem_pk.in_(each) for each in others))
        return _W.pk.in_(union_all(engines.correlate(None), outside))
    return or_(is_engines, and_(*(_W.pk.in_(each) for each in holders)))


def _match(path: str, value: str, zone: tzinfo) -> _Match | None:
    """What a key asks for; None: any value (Universal Matching)."""
    keyword = path.rpartition(".")[2]
    vr = vr_of(tag_of(keyword) or 0)
    if vr == "DT":
        return _match_instant(path, value, zone)
    condition = parse_condition(vr, keyword, value)
    return None if condition is None else (path, condition)


def _match_instant(path: str, value: str, zone: tzinfo) -> _Match | None:
    if not value.strip("* "):
        return None
    span = parse_span(value, zone)
    if span is None:
        raise InvalidQuery(f"{path}: not a DT or a range of DT.")
    return path, span


def _of_column(column: ColumnElement[Any] | str | None, match: Condition | Span) -> ColumnElement[bool]:
    if isinstance(match, Name):
        return match_name(_STUDY, str(column), match)
    assert column is not None, "asked for only where there is one"
    assert not isinstance(column, str), "of a PN only"
    if isinstance(match, Span):
        return _between(column, match.first_us, match.last_us)
    return MATCH[type(match)](column, match)


def _between(column: ColumnElement[Any], low: Any, high: Any) -> ColumnElement[bool]:
    bounds = [column >= low if low is not None else true(), column <= high if high is not None else true()]
    return and_(*bounds)


def _holders(matches: Sequence[_Match]) -> Iterator[Select[Any]]:
    """Keys of workitems by what their rows of `workitem_key` say; a workitem must be in each selection.

    Keys of one sequence are looked for in one item of it, names apart.
    """
    for path, match in matches:
        if isinstance(match, Name):
            yield from _with_name(path, match)
    if others := [each for each in matches if not isinstance(each[1], Name)]:
        yield _in_one_item(others)


def _in_one_item(matches: Sequence[_Match]) -> Select[Any]:
    query = select(_KEY.c.workitem_pk).where(_of_row(_KEY.c, matches[0]))
    for number, match in enumerate(matches[1:]):
        row = _KEY.alias(f"beside_{number}")
        beside = and_(row.c.workitem_pk == _KEY.c.workitem_pk, row.c.item == _KEY.c.item)
        query = query.where(select(row.c.pk).where(beside, _of_row(row.c, match)).correlate(_KEY).exists())
    return query


def _with_name(path: str, name: Name) -> Iterator[Select[Any]]:
    """One component group is looked for in all, several each in its own (PS3.5 6.2.1.1)."""
    for number, group in enumerate(name.groups):
        if group.pattern.strip("*"):
            query = select(_KEY.c.workitem_pk).where(_KEY.c.path == path, match_text(_KEY.c.value, group))
            is_its_own = _KEY.c.item % len(_NAME_GROUPS) == number
            yield query.where(is_its_own) if len(name.groups) > 1 else query


_NAME_GROUPS = ("alphabetic", "ideographic", "phonetic")


def _of_row(c: Any, match: _Match) -> ColumnElement[bool]:
    path, condition = match
    if isinstance(condition, Span):
        low, high = (None if us is None else comparable(us) for us in (condition.first_us, condition.last_us))
        matched = _between(c.value, low, high)
    else:
        matched = MATCH[type(condition)](c.value, condition)
    return and_(c.path == path, matched)


_Item = tuple[int, ...]  # which item, sequence by sequence; empty: the data set itself
_Value = tuple[_Item, int, str]  # with the component group of a PN, else 0


def key_rows(data_set: Mapping[str, Json], zone: tzinfo) -> list[dict[str, Any]]:
    """The rows of `workitem_key` of a workitem from outside, without its key; each said once."""
    numbers: dict[_Item, int] = {}  # of items, so that no two have one
    rows: dict[tuple[str, int, str], None] = {}
    for path in (path for path, key in KEYS.items() if not key.is_common):
        for item, group, value in _values(data_set, path.split("."), (), zone):
            if value:
                number = numbers.setdefault(item, len(numbers))
                rows[path, number * len(_NAME_GROUPS) + group, value[:MAX_KEY_CHARACTERS]] = None
    return [{"path": path, "item": item, "value": value} for path, item, value in islice(rows, MAX_KEYS)]


def _values(data_set: Mapping[str, Json], path: Sequence[str], item: _Item, zone: tzinfo) -> Iterator[_Value]:
    keyword, *rest = path
    key = key_of(keyword)
    if not rest:
        yield from ((item, group, value) for group, value in _comparable(data_set, keyword, zone))
        return
    for number, each in enumerate(values(data_set, key)):
        if isinstance(each, dict):
            yield from _values(each, rest, (*item, number), zone)


def _comparable(data_set: Mapping[str, Json], keyword: str, zone: tzinfo) -> Iterator[tuple[int, str]]:
    """The value of an attribute in the form in which it is compared; of a PN each group."""
    key, vr = key_of(keyword), vr_of(tag_of(keyword) or 0)
    if vr == "PN":
        groups = name_groups(data_set, key)
        yield from enumerate(getattr(groups, group) for group in _NAME_GROUPS)
        return
    value = text(data_set, key)
    if vr == "DT":
        span = parse_instant(value, zone)
        value = comparable(span.first_us or 0) if span else ""
    elif vr == "DA":
        value = normal_date(value)
    elif vr == "CS":
        value = value.upper()
    yield 0, value
