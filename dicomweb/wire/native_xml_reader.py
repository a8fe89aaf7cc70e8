"""The Native DICOM Model of a stranger to DICOM JSON (PS3.19 A.1, PS3.18 F.3.1). Pure.

Read by expat of the standard library, with what is dangerous in XML refused: a document type declaration, and
so every entity. Depth, size and the number of elements have limits. Messages name places and never values.
"""

import re
from binascii import Error as NotBase64
from binascii import a2b_base64
from collections.abc import Callable, Mapping
from typing import Any
from xml.parsers import expat  # DTDs are refused, see `_refuse_doctype`

from dicomweb.wire.dictionary import vr_of
from dicomweb.wire.faults import TooComplex, UnreadableXml
from dicomweb.wire.native_xml import NAME_COMPONENTS, NAMESPACE
from dicomweb.wire.native_xml_data_set import Attribute, DataSet
from dicomweb.wire.native_xml_values import READERS, VALUE_VRS
from dicomweb.wire.values import GROUPS_OF_NAME, WORD_BYTES
from dicomweb.wire.walk import MAX_DEPTH, MAX_ELEMENTS

Json = Any
MAX_XML_BYTES = 32 << 20  # of one document; bulk data travels apart

_TAG = re.compile(r"[0-9A-F]{8}")
_NUMBER = re.compile(r"[1-9][0-9]{0,6}")
# What may stand in what, PS3.19 A.1.6; "" is the document.
_CHILDREN: Mapping[str, frozenset[str]] = {
    "": frozenset({"NativeDicomModel"}),
    "NativeDicomModel": frozenset({"DicomAttribute"}),
    "Item": frozenset({"DicomAttribute"}),
    "DicomAttribute": frozenset({"Value", "Item", "PersonName", "InlineBinary", "BulkData"}),
    "PersonName": frozenset(GROUPS_OF_NAME),
    **dict.fromkeys(GROUPS_OF_NAME, frozenset(NAME_COMPONENTS)),
}
_WITH_TEXT = frozenset({"Value", "InlineBinary", *NAME_COMPONENTS})
# Which element holds what a VR has; each may hold BulkData instead, PS3.19 Table A.1.5-2.
_CONTENT_OF: Mapping[str, str] = {
    "SQ": "Item",
    "PN": "PersonName",
    **dict.fromkeys(WORD_BYTES, "InlineBinary"),
    **dict.fromkeys(VALUE_VRS, "Value"),
}


def read_native_xml(document: bytes) -> dict[str, Json]:
    """The DICOM JSON object of a document, attributes in the order of their tags.

    `BulkData` becomes a BulkDataURI, of `uri` or else of `uuid`, as written. Blocks of private attributes are
    given out anew in each group, from 10 on, in order of appearance.

    Raises:
        UnreadableXml: it is not well-formed, no Native DICOM Model, or has a document type declaration.
        TooComplex: it is longer, deeper or has more elements than any real object.
    """
    if len(document) > MAX_XML_BYTES:
        raise TooComplex(f"an XML document of metadata has at most {MAX_XML_BYTES} bytes")
    reading = _Reading()
    parser = expat.ParserCreate(namespace_separator=" ")
    parser.buffer_text = True
    parser.StartDoctypeDeclHandler = _refuse_doctype
    parser.StartElementHandler = reading.start
    parser.EndElementHandler = reading.end
    parser.CharacterDataHandler = reading.characters
    try:
        parser.Parse(document, True)
    except (expat.ExpatError, LookupError, ValueError) as error:
        raise UnreadableXml(f"the XML is not well-formed, line {parser.ErrorLineNumber}") from error
    return reading.result


def _refuse_doctype(*_: object) -> None:
    raise UnreadableXml("a document type declaration is not taken")


class _Reading:
    """What expat's calls build."""

    def __init__(self) -> None:
        self.result: dict[str, Json] = {}
        self._open: list[str] = [""]  # elements
        self._data_sets: list[DataSet] = []
        self._text: list[str] = []
        self._name: dict[str, str] = {}
        self._components: dict[str, str] = {}
        self._budget = MAX_ELEMENTS
        self._starts: Mapping[str, Callable[[Mapping[str, str]], None]] = {
            "NativeDicomModel": self._start_data_set,
            "DicomAttribute": self._start_attribute,
            "Item": self._start_item,
            "Value": self._start_value,
            "PersonName": self._start_value,
            "InlineBinary": self._start_binary,
            "BulkData": self._start_bulk_data,
        }
        self._ends: Mapping[str, Callable[[str], None]] = {
            "NativeDicomModel": self._end_model,
            "DicomAttribute": self._end_attribute,
            "Item": self._end_item,
            "Value": self._end_value,
            "PersonName": self._end_name,
            "InlineBinary": self._end_binary,
            **dict.fromkeys(GROUPS_OF_NAME, self._end_group),
            **dict.fromkeys(NAME_COMPONENTS, self._end_component),
        }

    def start(self, name: str, attributes: Mapping[str, str]) -> None:
        """An element begins."""
        namespace, _, local = name.rpartition(" ")
        if namespace not in ("", NAMESPACE) or local not in _CHILDREN.get(self._open[-1], ()):
            raise UnreadableXml("the document is no Native DICOM Model")
        self._spend(1)
        self._open.append(local)
        self._text.clear()
        if (begin := self._starts.get(local)) is not None:
            begin(attributes)

    def end(self, _: str) -> None:
        """The newest element ends."""
        local = self._open.pop()
        if (finish := self._ends.get(local)) is not None:
            finish(local)

    def characters(self, text: str) -> None:
        """Text, of which an element may have several pieces."""
        if self._open[-1] in _WITH_TEXT:
            self._text.append(text)
        elif text.strip():
            raise UnreadableXml("text stands where the Native DICOM Model has none")

    def _spend(self, count: int) -> None:
        self._budget -= count
        if self._budget < 0:
            raise TooComplex(f"more than {MAX_ELEMENTS} elements")

    @property
    def _attribute(self) -> Attribute:
        attribute = self._data_sets[-1].open
        assert attribute is not None
        return attribute

    def _start_data_set(self, _: Mapping[str, str]) -> None:
        if len(self._data_sets) > MAX_DEPTH:
            raise TooComplex(f"sequences nest deeper than {MAX_DEPTH}")
        self._data_sets.append(DataSet())

    def _start_attribute(self, attributes: Mapping[str, str]) -> None:
        key = attributes.get("tag", "")
        if not _TAG.fullmatch(key):
            raise UnreadableXml("a DicomAttribute has no tag of eight upper-case hexadecimal digits")
        vr = attributes.get("vr") or vr_of(int(key, 16))
        if vr not in _CONTENT_OF:
            raise UnreadableXml(f"attribute {key} has no known VR")
        creator = attributes.get("privateCreator") or None
        if creator is not None and not int(key[3], 16) & 1:
            raise UnreadableXml(f"attribute {key} has a private creator and is not private")
        self._data_sets[-1].open = Attribute(key, vr, creator)

    def _expect(self, content: str) -> Attribute:
        """The attribute under way, which may hold such an element."""
        attribute = self._attribute
        fits = content == "BulkData" or content == _CONTENT_OF[attribute.vr]
        is_more = content == attribute.content and content not in ("BulkData", "InlineBinary")
        if not fits or not (is_more or attribute.content is None):
            raise UnreadableXml(f"attribute {attribute.key} holds a {content} that it cannot hold")
        attribute.content = content
        return attribute

    def _start_value(self, attributes: Mapping[str, str]) -> None:
        """A value begins; those that were left out before it are empty."""
        attribute = self._expect(self._open[-1])
        number = attributes.get("number", str(len(attribute.values) + 1))
        missing = int(number) - len(attribute.values) - 1 if _NUMBER.fullmatch(number) else -1
        if missing < 0:
            raise UnreadableXml(f"the values of attribute {attribute.key} are not numbered from 1 on")
        self._spend(missing)
        attribute.values += [None] * missing

    def _start_item(self, attributes: Mapping[str, str]) -> None:
        self._start_value(attributes)
        self._start_data_set(attributes)

    def _start_binary(self, _: Mapping[str, str]) -> None:
        self._expect("InlineBinary")

    def _start_bulk_data(self, attributes: Mapping[str, str]) -> None:
        attribute = self._expect("BulkData")
        uri = attributes.get("uri") or attributes.get("uuid")
        if not uri:
            raise UnreadableXml(f"the bulk data of attribute {attribute.key} has neither uri nor uuid")
        attribute.other["BulkDataURI"] = uri

    def _end_model(self, _: str) -> None:
        self.result = self._data_sets.pop().finished()

    def _end_attribute(self, _: str) -> None:
        self._data_sets[-1].close_attribute()

    def _end_item(self, _: str) -> None:
        item = self._data_sets.pop().finished()
        self._attribute.values.append(item)

    def _end_value(self, _: str) -> None:
        attribute = self._attribute
        text = "".join(self._text)
        try:
            attribute.values.append(READERS[attribute.vr](text) if text else None)
        except ValueError:
            raise UnreadableXml(f"a value of attribute {attribute.key} is not one of its VR") from None

    def _end_binary(self, _: str) -> None:
        attribute = self._attribute
        text = "".join("".join(self._text).split())
        try:
            a2b_base64(text, strict_mode=True)
        except (NotBase64, ValueError):
            raise UnreadableXml(f"the binary value of attribute {attribute.key} is not base64") from None
        if text:
            attribute.other["InlineBinary"] = text

    def _end_component(self, local: str) -> None:
        if local in self._components:
            raise UnreadableXml(f"a name of attribute {self._attribute.key} has a component twice")
        self._components[local] = "".join(self._text)

    def _end_group(self, local: str) -> None:
        """A component group; a delimiter stands before each component that is there or that one follows."""
        found = [number for number, each in enumerate(NAME_COMPONENTS, 1) if each in self._components]
        if found:
            components = NAME_COMPONENTS[: found[-1]]
            self._name[local] = "^".join(self._components.get(each, "") for each in components)
        self._components.clear()

    def _end_name(self, _: str) -> None:
        self._attribute.values.append({group: text for group, text in self._name.items() if text} or None)
        self._name.clear()
