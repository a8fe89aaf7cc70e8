"""Registries whose codes are listed: ISO 3166 and 4217 from npm `iso-3166` and `currency-codes` (both MIT).

And the tables that grammars need: the subtags of BCP 47 from npm `language-subtag-registry` (IANA's,
CC0), the units of UCUM from `ucum-essence.xml` in PyPI `ucumvert` (MIT; the file: UCUM's licence, NOTICE).
"""

import io
import json
import re
import tarfile
import zipfile
from collections.abc import Iterator, Mapping
from typing import Any
from xml.etree import ElementTree

from tools import pinned

Json = Any

ISO_3166 = pinned.npm(
    "iso-3166@4.4.0",
    "iso-3166-4.4.0.tgz",
    "sha512-I6ylkNQgxVh7cYADMUJpqBUdremGvyGZkDRSk9Cdic/ITBUemsllQnUeRpz7yDKyfgAXI9oPa5A9dia+7IXLqw==",
)
ISO_4217 = pinned.npm(
    "currency-codes@2.2.0",
    "currency-codes-2.2.0.tgz",
    "sha512-vpbQc5sEYHGdTVAYUhHnKv0DWiYLRvzl/KKyqeHzBh7HD/j3UlWoScpZ9tN/jG6w2feddWoObsBbaNVu5yDapg==",
)
BCP_47 = pinned.npm(
    "language-subtag-registry@0.4.2",
    "language-subtag-registry-0.4.2.tgz",
    "sha512-d0zcIgHLTw18Z8GB3f3isK8Z6mM5bE0JmGEbzORsC7keOwe5Ex5ifAUBlHey7P7yEVFDyxQHN5+I/oCKKHAJag==",
)
UCUM = pinned.pypi(
    "ucumvert==0.3.2",
    "ucumvert-0.3.2-py3-none-any.whl",
    "sha256-scPFuHWENkL1L18BX8hyj/mXzpwze2S9JRQa5EhIvdA=",
)


def _member(package: bytes, name: str) -> bytes:
    with tarfile.open(fileobj=io.BytesIO(package)) as archive:
        member = archive.extractfile(f"package/{name}")
        assert member is not None
        return member.read()


def _entries(package: bytes, name: str) -> Iterator[dict[str, str]]:
    """The objects of an array in JavaScript, each with string members one a line."""
    entry: dict[str, str] = {}
    for line in _member(package, name).decode().splitlines():
        if found := re.fullmatch(r"""\s+(\w+): (?:'((?:[^'\\]|\\.)*)'|"(.*)"),?""", line):
            entry[found[1]] = (found[2] or found[3] or "").replace("\\'", "'")
        elif line.strip() in ("}", "},") and entry:
            yield entry
            entry = {}


def countries(package: bytes, names: Mapping[str, str]) -> Json:
    """ISO 3166-1 as FHIR has it: alpha-2, alpha-3 and numeric codes in one code system.

    `names`: HL7's by alpha-2 code; where one differs it is a designation.
    """
    entries = list(_entries(package, "1.js"))
    concepts = [
        {"code": entry[kind], "display": entry["name"], **_also(entry["name"], names.get(entry["alpha2"]))}
        for kind in ("alpha2", "alpha3", "numeric")
        for entry in sorted(entries, key=lambda each: each[kind])
    ]
    return _code_system("urn:iso:std:iso:3166", "iso3166-1", "ISO 3166-1", "4.4.0", concepts)


def _also(name: str, other: str | None) -> Json:
    return {"designation": [{"language": "en", "value": other}]} if other and other != name else {}


def subdivisions(package: bytes) -> Json:
    """ISO 3166-2; `parent` where a subdivision is part of another."""
    entries = list(_entries(package, "2.js"))
    concepts = [
        {
            "code": entry["code"],
            "display": entry["name"],
            **(
                {"property": [{"code": "parent", "valueCode": entry["parent"]}]}
                if "-" in entry["parent"]
                else {}
            ),
        }
        for entry in entries
    ]
    resource = _code_system("urn:iso:std:iso:3166:-2", "iso3166-2", "ISO 3166-2", "4.4.0", concepts)
    uri = "http://hl7.org/fhir/concept-properties#parent"
    return {
        **resource,
        "hierarchyMeaning": "part-of",
        "property": [{"code": "parent", "uri": uri, "type": "code"}],
    }


def currencies(package: bytes) -> Json:
    """ISO 4217, from list one of the maintenance agency, which the package carries."""
    root = ElementTree.fromstring(_member(package, "iso-4217-list-one.xml"))
    found = {}
    for entry in root.iter("CcyNtry"):
        code, number, units = (entry.findtext(name) for name in ("Ccy", "CcyNbr", "CcyMnrUnts"))
        if code:
            properties = [{"code": "numeric", "valueString": number}]
            if units and units.isdigit():
                properties.append({"code": "decimals", "valueInteger": int(units)})
            found[code] = {"code": code, "display": entry.findtext("CcyNm"), "property": properties}
    concepts = [found[code] for code in sorted(found)]
    resource = _code_system("urn:iso:std:iso:4217", "iso4217", "ISO 4217", root.attrib["Pblshd"], concepts)
    defined = [{"code": "numeric", "type": "string"}, {"code": "decimals", "type": "integer"}]
    return {**resource, "property": defined}


def _code_system(url: str, id_: str, title: str, version: str, concepts: list[Json]) -> Json:
    return {
        "resourceType": "CodeSystem",
        "id": id_,
        "url": url,
        "version": version,
        "name": re.sub(r"\W", "", title),
        "title": title,
        "status": "active",
        "language": "en",
        "caseSensitive": True,
        "content": "complete",
        "count": len(concepts),
        "concept": concepts,
    }


def subtags(package: bytes) -> Json:
    """The registry of BCP 47 by kind: subtag -> its first description and what it needs before it."""
    found: dict[str, dict[str, Json]] = {}
    for record in json.loads(_member(package, "data/json/registry.json")):
        subtag = record.get("Subtag") or record["Tag"]
        entry = {"name": record["Description"][0]}
        entry |= {"deprecated": True} if "Deprecated" in record else {}
        entry |= {"prefix": record["Prefix"]} if record["Type"] == "extlang" else {}
        found.setdefault(record["Type"], {})[subtag] = entry
    date = json.loads(_member(package, "data/json/meta.json"))["File-Date"]
    return {
        "version": date,
        "kinds": {kind: dict(sorted(each.items())) for kind, each in sorted(found.items())},
    }


def units(wheel: bytes) -> Json:
    """UCUM's prefixes and units, with what they are made of."""
    with zipfile.ZipFile(io.BytesIO(wheel)) as archive:
        root = ElementTree.fromstring(archive.read("ucumvert/vendor/ucum-essence.xml"))
    space = {"u": "http://unitsofmeasure.org/ucum-essence"}
    prefixes = {
        each.attrib["Code"]: {"name": _name(each), "value": each.find("u:value", space).attrib["value"]}  # type: ignore[union-attr]
        for each in root.iterfind("u:prefix", space)
    }
    base = {
        each.attrib["Code"]: {"name": _name(each), "property": each.findtext("u:property", None, space)}
        for each in root.iterfind("u:base-unit", space)
    }
    derived = {each.attrib["Code"]: _unit(each, space) for each in root.iterfind("u:unit", space)}
    return {
        "version": root.attrib["version"],
        "date": root.attrib["revision-date"],
        "prefixes": prefixes,
        "base": base,
        "units": derived,
    }


def _name(element: ElementTree.Element) -> str:
    return next(each.text or "" for each in element if each.tag.endswith("name"))


def _unit(element: ElementTree.Element, space: dict[str, str]) -> Json:
    value = element.find("u:value", space)
    assert value is not None
    function = value.find("u:function", space)
    made_of = value.attrib if function is None else function.attrib
    found: dict[str, Json] = {
        "name": _name(element),
        "property": element.findtext("u:property", None, space),
        "class": element.attrib["class"],
        "value": made_of["value"],
        "unit": made_of["Unit"],
    }
    found |= {"metric": True} if element.attrib["isMetric"] == "yes" else {}
    found |= {"arbitrary": True} if element.attrib.get("isArbitrary") == "yes" else {}
    found |= {"special": True} if element.attrib.get("isSpecial") == "yes" else {}
    return found
