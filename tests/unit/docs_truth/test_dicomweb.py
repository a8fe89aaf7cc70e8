"""docs/conformance/dicomweb.md names what the code's own tables hold."""

import json
from pathlib import Path

import pytest

import ai_engine
from dicomweb.definitions.transfer_syntaxes import TRANSFER_SYNTAXES
from dicomweb.response_codes import StoreFailure, StoreWarning
from dicomweb.search.answers import INSTANCE_COLUMNS, SERIES_DEFAULTS, STUDY_DEFAULTS
from dicomweb.search.keys import KEYS
from dicomweb.store.warning_texts import TEXTS
from dicomweb.wire.character_sets import SINGLE_CODECS
from dicomweb.wire.dictionary import keyword_of
from dicomweb.wire.file_meta import NOT_OF_FILES
from dicomweb.wire.negotiation import ALIASES, MEDIA_TYPE_OF
from dicomweb.worklist.attempts import DEFAULT_RETRY
from dicomweb.worklist.keys import KEYS as WORKITEM_KEYS
from dicomweb.worklist.state import State


@pytest.fixture
def page(reference: dict[str, str]) -> str:
    return reference["conformance/dicomweb.md"]


def absent(page: str, names: list[str]) -> list[str]:
    return [name for name in names if f"`{name}`" not in page]


def keywords(path: str) -> str:
    return ".".join(str(keyword_of(int(tag, 16))) for tag in path.split("."))


def test_failure_and_warning_reasons(page: str) -> None:
    assert absent(page, [f"{reason.value:04X}" for reason in (*StoreFailure, *StoreWarning)]) == []


def test_matching_keys_of_studies(page: str) -> None:
    assert absent(page, [keywords(path) for path in KEYS]) == []


def test_attributes_that_are_always_answered(page: str) -> None:
    answered = [*STUDY_DEFAULTS, *SERIES_DEFAULTS, *INSTANCE_COLUMNS]
    assert absent(page, [keywords(tag) for tag in answered]) == []


def test_matching_keys_of_workitems(page: str) -> None:
    assert absent(page, list(WORKITEM_KEYS)) == []


def test_states_of_workitems(page: str) -> None:
    assert absent(page, [state.value for state in State]) == []


def test_retries_of_the_engine(page: str) -> None:
    assert f"{DEFAULT_RETRY.attempts} attempts" in page
    assert f"{DEFAULT_RETRY.first_delay_s:g} s" in page


def test_media_types_of_frames(page: str) -> None:
    assert absent(page, [*MEDIA_TYPE_OF.values(), *ALIASES]) == []


def test_transfer_syntaxes_not_taken(page: str) -> None:
    assert absent(page, [TRANSFER_SYNTAXES[uid][0] for uid in NOT_OF_FILES]) == []


def test_character_sets(page: str) -> None:
    named = page.replace(" ", "").replace("_", "")
    assert [term for term in SINGLE_CODECS if f"`{term}`" not in named and term] == []


def test_local_codes(reference: dict[str, str]) -> None:
    page = reference["conformance/ai-results.md"]
    path = Path(ai_engine.__file__).parent / "definitions/isthmus_codes.json"
    codes = json.loads(path.read_text())["codes"]
    assert absent(page, [code["code"] for code in codes]) == []
    assert [code["display"] for code in codes if code["display"] not in page] == []


def test_warnings_of_the_reader(reference: dict[str, str]) -> None:
    assert absent(reference["conformance/reading-dicom.md"], list(TEXTS)) == []
