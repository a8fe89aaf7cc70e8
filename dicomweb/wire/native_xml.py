"""DICOM JSON to the Native DICOM Model, the XML of `application/dicom+xml` (PS3.19 A.1, PS3.18 F.3.1). Pure.

What XML cannot say: characters that it does not have become U+FFFD. A private attribute names its creator and
not its block, so the Private Creator elements themselves are left out, as the standard asks (Table A.1.5-2).
"""

import re
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping
from typing import Any

from dicomweb.wire.dictionary import keyword_of
from dicomweb.wire.values import GROUPS_OF_NAME

Json = Any
NAMESPACE = "http://dicom.nema.org/PS3.19/models/NativeDICOM"
NAME_COMPONENTS = ("FamilyName", "GivenName", "MiddleName", "NamePrefix", "NameSuffix")  # PS3.5 §6.2.1.1
FIRST_BLOCK = 0x10  # elements (gggg,0010) to (gggg,00FF) name the creators of blocks, PS3.5 §7.8.1

_HEAD = (
    f'<?xml version="1.0" encoding="UTF-8"?>\n<NativeDicomModel xmlns="{NAMESPACE}" xml:space="preserve">\n'
)
_TAIL = "</NativeDicomModel>\n"
_ABSENT = "\x00-\x08\x0b\x0c\x0e-\x1f\ud800-\udfff\ufffe\uffff"  # characters that XML 1.0 §2.2 does not have
_IN_TEXT = re.compile(f"[&<>\r{_ABSENT}]")
_IN_ATTRIBUTE = re.compile(f'[&<>"\t\n\r{_ABSENT}]')
_ESCAPES = {"&": "&amp;", "<": "&lt;", ">": "&gt;", '"': "&quot;", "\t": "&#9;", "\n": "&#10;", "\r": "&#13;"}


def write_native_xml(dicom_json: Mapping[str, Json]) -> Iterator[bytes]:
    """The document of one DICOM JSON object, attribute by attribute."""
    yield _HEAD.encode()
    for piece in _data_set(dicom_json):
        yield piece.encode()
    yield _TAIL.encode()


def native_xml(dicom_json: Mapping[str, Json]) -> bytes:
    """The document of one DICOM JSON object."""
    return "".join((_HEAD, *_data_set(dicom_json), _TAIL)).encode()


def _data_set(dicom_json: Mapping[str, Json]) -> Iterator[str]:
    creators = _creators(dicom_json)
    for key, attribute in dicom_json.items():
        if key not in creators:
            yield _attribute(key, creators.get(_creator_key(key)), attribute)


def _creators(dicom_json: Mapping[str, Json]) -> dict[str, str]:
    """Key of a Private Creator element → its name; without those of two blocks in a group: they stay."""
    found: dict[str, str] = {}
    for key, attribute in dicom_json.items():
        if key[4:6] == "00" and int(key[3], 16) & 1 and int(key[6:], 16) >= FIRST_BLOCK:
            name = (attribute.get("Value") or (None,))[0]
            if isinstance(name, str):
                found[key] = name
    blocks = Counter((key[:4], name) for key, name in found.items())
    return {key: name for key, name in found.items() if blocks[key[:4], name] == 1}


def _creator_key(key: str) -> str:
    """The key of the Private Creator element of an attribute's block; "" when it is in none."""
    return f"{key[:4]}00{key[4:6]}" if int(key[3], 16) & 1 and key[4:6] != "00" else ""


def _attribute(key: str, creator: str | None, attribute: Mapping[str, Json]) -> str:
    if creator is None:
        keyword = keyword_of(int(key, 16))
        named = f' keyword="{keyword}"' if keyword else ""
        head = f'<DicomAttribute tag="{key}" vr="{attribute["vr"]}"{named}'
    else:
        tag = f"{key[:4]}00{key[6:]}"
        head = f'<DicomAttribute tag="{tag}" vr="{attribute["vr"]}" privateCreator="{_quoted(creator)}"'
    content = "".join(_content(attribute))
    return f"{head}>{content}</DicomAttribute>\n" if content else f"{head}/>\n"


def _content(attribute: Mapping[str, Json]) -> Iterable[str]:
    if "BulkDataURI" in attribute:
        return (f'<BulkData uri="{_quoted(attribute["BulkDataURI"])}"/>',)
    if "InlineBinary" in attribute:
        return ("<InlineBinary>", attribute["InlineBinary"], "</InlineBinary>")
    values = enumerate(attribute.get("Value", ()), 1)
    match attribute["vr"]:
        case "SQ":
            return (f'<Item number="{n}">{"".join(_data_set(item or {}))}</Item>' for n, item in values)
        case "PN":
            return (f'<PersonName number="{n}">{_name(name or {})}</PersonName>' for n, name in values)
    return (f'<Value number="{n}">{_text(value)}</Value>' for n, value in values)


def _name(name: Mapping[str, str]) -> str:
    groups = ((group, name[group]) for group in GROUPS_OF_NAME if name.get(group))
    return "".join(f"<{group}>{_components(text)}</{group}>" for group, text in groups)


def _components(text: str) -> str:
    """The components of a group; the last is written also when it is empty, so that no delimiter is lost."""
    components = text.split("^", len(NAME_COMPONENTS) - 1)
    named = zip(NAME_COMPONENTS, components, strict=False)
    return "".join(
        f"<{element}>{_text(component)}</{element}>"
        for number, (element, component) in enumerate(named, 1)
        if component or number == len(components)
    )


def _text(value: Json) -> str:
    if isinstance(value, str):
        return _IN_TEXT.sub(_escaped, value) if _IN_TEXT.search(value) else value
    return "" if value is None else repr(value)


def _quoted(text: str) -> str:
    return _IN_ATTRIBUTE.sub(_escaped, text)


def _escaped(found: re.Match[str]) -> str:
    return _ESCAPES.get(found[0], "\ufffd")
