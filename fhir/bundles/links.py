"""Links of a resource are rewritten in its text (FHIR R4 http.html#trules). Pure.

The text stays as it was sent apart from the links. Where the same string also stands in a place that does not
link, the resource is written anew from its value: numbers keep every digit, escapes may differ.
"""

import re
from collections.abc import Callable, Iterator, Mapping
from html import escape, unescape
from typing import Any

from fhir.bundles.places import Link, Place, is_resource_type, places_of
from fhir.model.json_codec import InvalidJson, Json, decode_json, encode_json

Rewrite = Callable[[Link, str], str]  # what a link becomes; the same: it stays

# In R4 every property of this name with a text is Reference.reference or a uri, so nearly all links are found
# in the text. An escaped name, or a link in a place of another name, needs the walk.
_REFERENCE = re.compile(rb'"reference"(\s*:\s*)"([^"\\]*)"')
_STRING = re.compile(rb'"[^"\\]*(?:\\.[^"\\]*)*"', re.DOTALL)
_ESCAPED_NAME = b"\\u00"
_ATTRIBUTE = re.compile(
    r"""(?<=[\s"'])(?P<name>href|src)(?P<is>\s*=\s*)(?P<quote>["'])(?P<link>.*?)(?P=quote)""", re.DOTALL
)


def references_of(text: bytes) -> list[str]:
    """The texts of the References in a resource's text.

    Raises:
        InvalidJson: the text is no JSON.
    """
    if _ESCAPED_NAME in text or b'"reference"' in _REFERENCE.sub(b"", text):
        return [link for kind, link in _links(decode_json(text)) if kind is Link.REFERENCE]
    try:
        return [match[1].decode() for match in _REFERENCE.findall(text)]
    except UnicodeDecodeError:
        raise InvalidJson("A reference is not UTF-8.") from None


def rewrite_links(text: bytes, rewrite: Rewrite, marks: tuple[bytes, ...] | None) -> bytes:
    """A resource's text with its links rewritten.

    `marks` is what every link begins with that may change, wherever it stands; None: any may.
    """
    if marks is None or _ESCAPED_NAME in text:
        return _rewrite_by_value(text, rewrite)
    marked = sum(text.count(mark) for mark in marks)
    if marked != sum(match[1].startswith(marks) for match in _REFERENCE.findall(text)):
        return _rewrite_by_value(text, rewrite)

    def replace(match: re.Match[bytes]) -> bytes:
        before = match[2].decode()
        after = rewrite(Link.REFERENCE, before)
        return match[0] if after == before else b'"reference"' + match[1] + encode_json(after)

    return _REFERENCE.sub(replace, text)


def _rewrite_by_value(text: bytes, rewrite: Rewrite) -> bytes:
    resource = decode_json(text)
    replaced: dict[str, tuple[str, int]] = {}  # string as it was -> as it is, and how often it links
    for owner, name, kind in list(_places(resource)):
        before = owner[name]
        after = _in_narrative(before, rewrite) if kind is Link.NARRATIVE else rewrite(kind, before)
        if after != before:
            owner[name] = after
            replaced[before] = (after, replaced.get(before, ("", 0))[1] + 1)
    return _exchange(text, replaced, resource) if replaced else text


def _exchange(text: bytes, replaced: Mapping[str, tuple[str, int]], resource: Json) -> bytes:
    """Exchange whole strings in the text, in one pass, if each stands there as often as it links."""
    becomes = {encode_json(before): encode_json(after) for before, (after, _) in replaced.items()}
    found = dict.fromkeys(becomes, 0)

    def exchange(match: re.Match[bytes]) -> bytes:
        after = becomes.get(match[0])
        if after is None:
            return match[0]
        found[match[0]] += 1
        return after

    exchanged = _STRING.sub(exchange, text)
    if list(found.values()) != [times for _, times in replaced.values()]:
        return encode_json(resource)
    return exchanged if decode_json(exchanged) == resource else encode_json(resource)


def _in_narrative(xhtml: str, rewrite: Rewrite) -> str:
    def attribute(match: re.Match[str]) -> str:
        before = unescape(match["link"])
        after = rewrite(Link.NARRATIVE, before)
        if after == before:
            return match[0]
        quote = match["quote"]
        return f"{match['name']}{match['is']}{quote}{escape(after)}{quote}"

    return _ATTRIBUTE.sub(attribute, xhtml)


def _links(resource: Json) -> Iterator[tuple[Link, str]]:
    for owner, name, kind in _places(resource):
        yield kind, owner[name]


def _places(resource: Json) -> Iterator[tuple[Any, Any, Link]]:
    """Each string that links: the object or array it is in, its name or index there, and what it is."""
    waiting: list[tuple[Any, Mapping[str, Place]]] = [(resource, _table(resource))]
    while waiting:
        owner, places = waiting.pop()
        for name in places.keys() & owner.keys():
            place, value = places[name], owner[name]
            if type(value) is str:
                if type(place) is Link and place is not Link.RESOURCE:
                    yield owner, name, place
            elif type(value) is dict:
                waiting.append((value, _table_at(place, value)))
            elif type(value) is list:
                waiting += [(each, _table_at(place, each)) for each in value if type(each) is dict]
                if place is Link.URI:
                    yield from ((value, n, Link.URI) for n, each in enumerate(value) if type(each) is str)


def _table_at(place: Place, value: Json) -> Mapping[str, Place]:
    if type(place) is tuple:
        return places_of(*place)
    return _table(value) if place is Link.RESOURCE else {}


def _table(resource: Json) -> Mapping[str, Place]:
    named = resource.get("resourceType")
    return places_of(named) if is_resource_type(named) else {}
