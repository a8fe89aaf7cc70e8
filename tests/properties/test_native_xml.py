"""DICOM JSON survives the way to the Native DICOM Model and back (PS3.19 A.1); other text is refused."""

import contextlib
from base64 import b64encode
from typing import Any

from hypothesis import given, settings
from hypothesis import strategies as st

from dicomweb.wire.native_xml import native_xml
from dicomweb.wire.native_xml_reader import read_native_xml
from server.kernel.faults import Fault

TEXT = st.text(
    st.characters(codec="utf-8", exclude_categories=["Cc", "Cs"], exclude_characters="\ufffe\uffff")
    | st.sampled_from("\t\r\n&<>\"'"),
    min_size=1,
)
NAME = TEXT.map(lambda text: text.replace("=", ""))
SINGLE = st.floats(width=32, allow_nan=False, allow_infinity=False)
VALUES: dict[str, st.SearchStrategy[Any]] = {
    **dict.fromkeys(("LO", "LT", "CS", "UI", "UT", "DA"), TEXT),
    "US": st.integers(0, 65535),
    "SL": st.integers(-(2**31), 2**31 - 1),
    "UV": st.integers(0, 2**64 - 1),
    "FL": SINGLE | st.sampled_from(["NaN", "Infinity", "-Infinity"]),
    "FD": st.floats(allow_nan=False, allow_infinity=False),
    "DS": st.floats(allow_nan=False, allow_infinity=False) | st.integers(-999, 999),
    "IS": st.integers(-(2**53), 2**53),
    "AT": st.integers(0, 2**32 - 1).map(lambda tag: f"{tag:08X}"),
    "PN": st.fixed_dictionaries({}, optional={"Alphabetic": NAME, "Ideographic": NAME, "Phonetic": NAME}).map(
        lambda name: {group: text for group, text in name.items() if text} or None
    ),
}


def valued(vr: str) -> st.SearchStrategy[dict[str, Any]]:
    values = st.lists(VALUES[vr] | st.none(), max_size=3)
    return values.map(lambda found: {"vr": vr, "Value": found} if found else {"vr": vr})


LEAF = st.sampled_from(sorted(VALUES)).flatmap(valued) | st.one_of(
    st.binary(min_size=1).map(lambda raw: {"vr": "OB", "InlineBinary": b64encode(raw).decode()}),
    TEXT.map(lambda uri: {"vr": "OW", "BulkDataURI": uri}),
)
KEYS = st.sampled_from(
    ["00080018", "00100010", "00104000", "00400275", "60003000", "7FE00010", "00091001", "00110001"]
)
CREATORS = {"00090010": {"vr": "LO", "Value": ["ACME & <1>"]}}


def completed(data_set: dict[str, Any]) -> dict[str, Any]:
    """In the order of tags, with the creator of its private block."""
    return dict(sorted({**data_set, **(CREATORS if "00091001" in data_set else {})}.items()))


def data_sets(attributes: st.SearchStrategy[Any]) -> st.SearchStrategy[dict[str, Any]]:
    return st.dictionaries(KEYS, attributes, max_size=4).map(completed)


def sequences(items: st.SearchStrategy[Any]) -> st.SearchStrategy[Any]:
    return st.lists(data_sets(items), min_size=1, max_size=2).map(lambda found: {"vr": "SQ", "Value": found})


DATA_SETS = data_sets(st.recursive(LEAF, sequences, max_leaves=8))


@settings(max_examples=150, deadline=None)
@given(DATA_SETS)
def test_data_sets_survive(data_set: dict[str, Any]) -> None:
    assert read_native_xml(native_xml(data_set)) == data_set


@settings(max_examples=150, deadline=None)
@given(DATA_SETS, st.integers(0), st.binary(max_size=4) | st.sampled_from([b"<", b"&lt;", b"<Item>", b'"']))
def test_a_changed_document_is_read_or_refused(data_set: dict[str, Any], at: int, raw: bytes) -> None:
    document = native_xml(data_set)
    at %= len(document)
    with contextlib.suppress(Fault):
        read_native_xml(document[:at] + raw + document[at + len(raw) :])
