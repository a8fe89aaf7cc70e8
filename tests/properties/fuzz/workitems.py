"""Payloads of the worklist: refused with a fault, or a workitem that can be shown and found (PS3.18 11)."""

import json
from datetime import UTC
from typing import Any

import orjson
from hypothesis import strategies as st

from dicomweb.store.identity import demographics, patient_identifier
from dicomweb.wire.native_xml import native_xml
from dicomweb.worklist.cancel_request import parse_cancel_request
from dicomweb.worklist.keys import key_rows
from dicomweb.worklist.outside.change_state import parse_state_change
from dicomweb.worklist.outside.columns import (
    Planned,
    planned_columns,
    progress_columns,
    reason_in,
    sent_columns,
)
from dicomweb.worklist.outside.data_set import read_data_set
from dicomweb.worklist.outside.engine import names_of_models, studies_of
from dicomweb.worklist.outside.requirements import check_update, complete_new, meets_final_state
from dicomweb.worklist.shown import assigned_to, input_readiness, workitem_json
from dicomweb.worklist.state import State
from dicomweb.worklist.ups_json import View
from server.kernel.faults import Fault
from server.kernel.site import Site
from tests.conformance.ps3_18.worklist import workitem
from tests.properties.fuzz.json_attributes import Json, data_sets
from tests.properties.fuzz.properties import Property

JSON = "application/dicom+json"
TYPES = (
    JSON,
    "application/dicom+xml",
    "multipart/related; boundary=x",
    "multipart/related",
    "text/plain",
    "",
)
SITE = Site()
ROW: dict[str, Any] = {
    "pk": 1,
    "workitem_uid": "1.2.3",
    "state": "SCHEDULED",
    "requested_by": "client:x",
    "attempt": 0,
    "progress": 0,
    "progress_text": None,
    "changed_us": 1,
    "scheduled_us": 1,
    "started_us": None,
    "ended_us": None,
    "reason_scheme": None,
    "reason_code": None,
    "reason_meaning": None,
    "reason_text": None,
    "predecessor_uid": None,
    "study_instance_uid": "1.2",
    "priority": "HIGH",
    "model_name": "m",
    "model_version": "1",
    "input": "[]",
    "output": "[]",
}


def is_a_payload_or_a_fault(sent: tuple[bytes, str]) -> None:
    """Any bytes of any media type."""
    body, content_type = sent
    for read in (read_data_set, parse_cancel_request):
        try:
            read(body, content_type)
        except Fault:
            continue


def can_be_shown_and_found(sent: Json) -> None:
    """What was taken is never in the way of a later search or retrieval."""
    body = json.dumps(sent).encode()
    try:
        data_set = read_data_set(body, JSON)
    except Fault:
        return
    for each in (data_set, dict(sorted((workitem() | data_set).items()))):
        _is_shown(each)
        try:
            complete = complete_new(each)
        except Fault:
            continue
        _is_indexed(complete)
        _is_shown(complete)


def _is_shown(data_set: Json) -> None:
    for requested_by in ("client:x", None):
        row: Any = ROW | {"attributes": orjson.dumps(data_set).decode(), "requested_by": requested_by}
        for instances in (True, False):
            shown = workitem_json(row, View({}, "http://x", instances))
            native_xml(orjson.loads(orjson.dumps(shown)))
        assigned_to(row)
        input_readiness(row)
        try:
            check_update(data_set, workitem_json(row, View({}, "")))
        except Fault:
            continue


def _is_indexed(data_set: Json) -> None:
    planned = Planned(None, UTC, 1)
    columns = (sent_columns(data_set), planned_columns(data_set, planned), progress_columns(data_set))
    rows = key_rows(data_set, UTC)
    assert all("\x00" not in row["value"] and row["item"] < 2**31 for row in rows)
    assert all("\x00" not in value for each in columns for value in each.values() if isinstance(value, str))
    demographics(data_set)
    patient_identifier(data_set, SITE)
    reason_in(data_set)
    names_of_models(data_set)
    studies_of(data_set)
    for state in State:
        meets_final_state(state, data_set)
    try:
        parse_state_change(data_set)
    except Fault:
        return


_payloads = st.binary(max_size=80) | data_sets.map(lambda found: json.dumps([found]).encode())

PROPERTIES = [
    Property(
        "a payload of the worklist", st.tuples(_payloads, st.sampled_from(TYPES)), is_a_payload_or_a_fault
    ),
    Property(
        "a workitem",
        data_sets,
        can_be_shown_and_found,
        [
            {"00404021": {"vr": "LO", "Value": ["x"]}},
            {"00741002": {"vr": "LO", "Value": ["x"]}},
            {"00741216": {"vr": "UN", "Value": ["x"]}},
            {"00100010": {"vr": "PN", "Value": [{"Alphabetic": 5}]}},
            {"00100010": {"vr": "PN", "Value": ["Doe^Jane"]}},
            {"00091001": {"vr": "OB", "InlineBinary": 5}},
            {"00080005": {"vr": "AE", "Value": [-(2**63) - 1]}},
        ],
    ),
]
