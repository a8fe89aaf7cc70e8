"""Resources, their methods and what these take and answer: a value, and as WADL and JSON (PS3.18 §8.9). Pure.

The resources are those of the router; only what a route cannot say of itself stands in a table here.
"""

import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from xml.etree.ElementTree import Element, SubElement, tostring

import orjson

from dicomweb.capabilities.media_types import payloads_of
from dicomweb.search.keys import KEYS as STUDY_KEYS
from dicomweb.wire.dictionary import keyword_of
from dicomweb.worklist.keys import KEYS as WORKITEM_KEYS

WADL = "application/vnd.sun.wadl+xml"
JSON = "application/json"
NAMESPACE = "http://wadl.dev.java.net/2009/02"  # W3C Member Submission, Web Application Description Language

_TEMPLATE = re.compile(r"\{(\w+)(?::\w+)?\}")
_CONTROLS = ("includefield", "fuzzymatching", "limit", "offset")


@dataclass(frozen=True, slots=True)
class Method:
    """A method of a resource."""

    name: str  # of HTTP
    id: str
    text: str  # one line: the transaction, with its section


@dataclass(frozen=True, slots=True)
class ResourceDescription:
    """A resource and its methods."""

    path: str  # a URI template below the service root, "" for the root itself
    methods: tuple[Method, ...]

    @property
    def allow(self) -> str:
        """The value of the Allow header field (RFC 9110 §10.2.1)."""
        names = {method.name for method in self.methods} | {"OPTIONS"}
        return ", ".join(sorted(names | {"HEAD"} if "GET" in names else names))


def _keywords(path: str) -> str:
    return ".".join(keyword_of(int(tag, 16)) or tag for tag in path.split("."))


_STUDY_QUERY = (*map(_keywords, STUDY_KEYS), *_CONTROLS, "orderby", "count")
# The query parameters of searches, by the id of their method's route
_QUERY: Mapping[str, Sequence[str]] = {
    "search_workitems": (*WORKITEM_KEYS, *_CONTROLS),
    "create_workitem": ("workitem",),
    "update_workitem": ("transaction",),
    "subscribe_ae": ("deletionlock", "filter"),
}


def query_parameters(method: Method) -> Sequence[str]:
    """The query parameters of a method, beside `accept`, which all take."""
    return _QUERY.get(method.id, _STUDY_QUERY if method.id.startswith("search_") else ())


def to_json(base: str, resources: Iterable[ResourceDescription]) -> bytes:
    """The description as JSON."""
    described = [
        {
            "path": f"/{each.path}",
            "methods": [
                {
                    "name": method.name,
                    "id": method.id,
                    "description": method.text,
                    "query": list(query_parameters(method)),
                    "takes": list(payloads_of(method.id).takes),
                    "answers": list(payloads_of(method.id).answers),
                }
                for method in each.methods
            ],
        }
        for each in resources
    ]
    return orjson.dumps({"base": base, "resources": described})


def to_wadl(base: str, resources: Iterable[ResourceDescription]) -> bytes:
    """The description as WADL."""
    application = Element("application", {"xmlns": NAMESPACE})
    root = SubElement(application, "resources", {"base": base})
    for each in resources:
        resource = SubElement(root, "resource", {"path": _TEMPLATE.sub(r"{\1}", each.path)})
        for name in _TEMPLATE.findall(each.path):
            SubElement(resource, "param", {"name": name, "style": "template", "required": "true"})
        for method in each.methods:
            _add_method(resource, method)
    document: bytes = tostring(application, encoding="utf-8")
    return b'<?xml version="1.0" encoding="UTF-8"?>\n' + document


def _add_method(resource: Element, method: Method) -> None:
    element = SubElement(resource, "method", {"name": method.name, "id": method.id})
    SubElement(element, "doc", {"title": method.text})
    request = SubElement(element, "request")
    for name in query_parameters(method):
        SubElement(request, "param", {"name": name, "style": "query"})
    response, payloads = SubElement(element, "response"), payloads_of(method.id)
    for parent, media_types in ((request, payloads.takes), (response, payloads.answers)):
        for media_type in media_types:
            SubElement(parent, "representation", {"mediaType": media_type})
