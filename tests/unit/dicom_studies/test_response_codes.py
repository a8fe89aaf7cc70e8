"""Store statuses and reasons (PS3.18 Table 10.5.3-1, Annex I.2)."""

import pytest

from dicomweb.response_codes import StoreFailure, store_status
from dicomweb.store.prepare import failure_of
from dicomweb.store.warning_texts import TEXTS, warned_attribute
from dicomweb.wire import faults
from server.kernel.faults import Fault


@pytest.mark.parametrize(
    ("stored", "warned", "failed", "status"),
    [
        pytest.param(2, 0, 0, 200, id="all stored"),
        pytest.param(2, 1, 0, 202, id="stored, one with a warning"),
        pytest.param(1, 0, 1, 202, id="one stored, one refused"),
        pytest.param(0, 0, 2, 409, id="none stored"),
    ],
)
def test_table_10_5_3_1(stored: int, warned: int, failed: int, status: int) -> None:
    assert store_status(stored=stored, warned=warned, failed=failed) == status


@pytest.mark.parametrize(
    ("fault", "reason"),
    [
        (faults.NotDicom("x"), StoreFailure.CANNOT_UNDERSTAND),
        (faults.Truncated("x"), StoreFailure.CANNOT_UNDERSTAND),
        (faults.TooComplex("x"), StoreFailure.CANNOT_UNDERSTAND),
        (faults.TransferSyntaxUnknown("x"), StoreFailure.TRANSFER_SYNTAX_NOT_SUPPORTED),
        (faults.IdentifierMissing({}), StoreFailure.DATA_SET_DOES_NOT_MATCH_SOP_CLASS),
        (faults.DataSetDoesNotMatch({}), StoreFailure.DATA_SET_DOES_NOT_MATCH_SOP_CLASS),
        (Fault("x"), StoreFailure.PROCESSING_FAILURE),
    ],
)
def test_faults_have_reasons(fault: Fault, reason: StoreFailure) -> None:
    assert failure_of(fault) is reason


@pytest.mark.parametrize("text", TEXTS.values())
def test_comments_fit_their_vr(text: str) -> None:
    assert len(text) <= 64


@pytest.mark.parametrize(
    ("warning", "tag"),
    [
        ("undecodable-text 00100010", "00100010"),
        ("unknown-vr 00400275/1/00400009", "00400275"),
        ("patient-id-absent", "00100020"),
        ("frames-unknown", "7FE00010"),
        ("something-new 00080060", "00080060"),
    ],
)
def test_warnings_name_their_attribute(warning: str, tag: str) -> None:
    assert warned_attribute(warning).tag == tag
