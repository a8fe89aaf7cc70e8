"""PS3.4 Table CC.2.5-3: Req. Type N-CREATE, Req. Type N-SET, Final State."""

from typing import Any

import pytest

from dicomweb.wire.dictionary import key_of, tag_of
from dicomweb.worklist.dicom_json import attribute, item
from dicomweb.worklist.outside.requirements import (
    ALLOWED,
    EMPTY_WHEN_CREATED,
    FINAL,
    NOT_SET,
    PRESENT,
    SET_WITH_VALUE,
    WITH_VALUE,
    AttributeInvalid,
    NotScheduled,
    check_update,
    complete_new,
    meets_final_state,
)
from dicomweb.worklist.state import State
from tests.conformance.ps3_18.worklist import code, discontinued, input_of, performed, without, workitem


def test_every_attribute_is_in_the_dictionary() -> None:
    finals = [keyword for pairs in FINAL.values() for pair in pairs for keyword in pair]
    named = (*WITH_VALUE, *PRESENT, *EMPTY_WHEN_CREATED, *NOT_SET, *SET_WITH_VALUE, *ALLOWED, *finals)
    assert [keyword for keyword in named if tag_of(keyword) is None] == []


def test_complete_data_set_is_not_changed() -> None:
    assert complete_new(workitem()) == workitem()


@pytest.mark.parametrize("keyword", WITH_VALUE)
@pytest.mark.parametrize("value", [None, [], [""]], ids=["absent", "empty", "blank"])
def test_type_1_when_created(keyword: str, value: Any) -> None:
    with pytest.raises(AttributeInvalid, match=keyword):
        complete_new(workitem(**{keyword: value}))


@pytest.mark.parametrize("keyword", PRESENT)
def test_type_2_when_created_counts_as_empty(keyword: str) -> None:
    completed = complete_new(without(workitem(), keyword))
    assert key_of(keyword) in completed
    assert list(completed) == sorted(completed)


@pytest.mark.parametrize("state", [state.value for state in State if state is not State.SCHEDULED])
def test_state_when_created_is_scheduled(state: str) -> None:
    with pytest.raises(NotScheduled) as refusal:
        complete_new(workitem(ProcedureStepState=state))
    assert refusal.value.status_code == 0xC309


@pytest.mark.parametrize("keyword", EMPTY_WHEN_CREATED)
def test_what_is_empty_when_created(keyword: str) -> None:
    value: Any = "1.2" if keyword == "TransactionUID" else item(attribute("ProcedureStepProgress", 1))
    assert complete_new(workitem(**{keyword: []}))
    with pytest.raises(AttributeInvalid, match=keyword):
        complete_new(workitem(**{keyword: value}))


@pytest.mark.parametrize(
    ("said", "named"),
    [
        ({"ScheduledProcedureStepPriority": "URGENT"}, "ScheduledProcedureStepPriority"),
        ({"InputReadinessState": "SOON"}, "InputReadinessState"),
        ({"ScheduledProcedureStepStartDateTime": "tomorrow"}, "ScheduledProcedureStepStartDateTime"),
        ({"ExpectedCompletionDateTime": "20261399"}, "ExpectedCompletionDateTime"),
        ({"StudyInstanceUID": "x"}, "StudyInstanceUID"),
        ({"InputInformationSequence": input_of("../1")}, "InputInformationSequence.StudyInstanceUID"),
        ({"InputInformationSequence": input_of("1.2", "1.2", ("1.2", "a"))}, "ReferencedSOPInstanceUID"),
        ({"ReferencedRequestSequence": item(attribute("AccessionNumber", "A"))}, "StudyInstanceUID"),
        ({"ScheduledStationNameCodeSequence": {}}, "ScheduledStationNameCodeSequence"),
        (
            {"ScheduledStationNameCodeSequence": without(code("A"), "CodingSchemeDesignator")},
            "ScheduledStationNameCodeSequence",
        ),
        ({"ScheduledWorkitemCodeSequence": without(code("A"), "CodeMeaning")}, "CodeMeaning"),
    ],
)
def test_values_when_created(said: dict[str, Any], named: str) -> None:
    with pytest.raises(AttributeInvalid, match=named):
        complete_new(workitem(**said))


@pytest.mark.parametrize("keyword", NOT_SET)
def test_not_allowed_by_n_set(keyword: str) -> None:
    stands = workitem(**{keyword: "1.2"})
    assert check_update(attribute(keyword, "1.2"), stands) == {}
    with pytest.raises(AttributeInvalid, match=keyword):
        check_update(attribute(keyword, "1.3"), stands)


@pytest.mark.parametrize("keyword", SET_WITH_VALUE)
def test_type_1_of_n_set(keyword: str) -> None:
    with pytest.raises(AttributeInvalid, match=keyword):
        check_update(attribute(keyword), workitem())


def test_update_keeps_what_is_new() -> None:
    changes = attribute("ProcedureStepLabel", "Read CT") | attribute("WorklistLabel", "Other")
    assert check_update(changes, workitem()) == attribute("WorklistLabel", "Other")


@pytest.mark.parametrize("sequence", ["ProcedureStepProgressInformationSequence"])
def test_one_item_only(sequence: str) -> None:
    with pytest.raises(AttributeInvalid, match=sequence):
        check_update(attribute(sequence, {}, {}), workitem())


@pytest.mark.parametrize(
    "absent", [None, *(keyword for _, keyword in FINAL[State.COMPLETED])], ids=lambda each: each or "none"
)
def test_final_state_completed(absent: str | None) -> None:
    said = performed(**({absent: None} if absent else {}))
    assert meets_final_state(State.COMPLETED, workitem() | said) is (absent is None)


def test_final_state_canceled() -> None:
    assert meets_final_state(State.CANCELED, workitem() | discontinued())
    assert not meets_final_state(State.CANCELED, workitem())
    assert not meets_final_state(State.CANCELED, workitem() | performed())


@pytest.mark.parametrize("state", [State.SCHEDULED, State.IN_PROGRESS])
def test_other_states_want_nothing(state: State) -> None:
    assert meets_final_state(state, {})
