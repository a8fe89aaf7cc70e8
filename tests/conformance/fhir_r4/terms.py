"""A small code system of our own, and what belongs to it: how a stone is called."""

from typing import Any

Json = Any

STONES = "http://example.org/CodeSystem/stones"
GEMS = "http://example.org/CodeSystem/gems"


def stones(version: str | None = "2", **elements: Json) -> Json:
    """igneous > granite, basalt; granite > pegmatite; `slate` is retired, `igneous` is not to be chosen."""
    return {
        "resourceType": "CodeSystem",
        "url": STONES,
        **({"version": version} if version else {}),
        "name": "Stones",
        "status": "active",
        "language": "en",
        "content": "complete",
        "caseSensitive": True,
        "hierarchyMeaning": "is-a",
        "property": [
            {"code": "hardness", "type": "integer"},
            {"code": "status", "uri": "http://hl7.org/fhir/concept-properties#status", "type": "code"},
            {"code": "notSelectable", "type": "boolean"},
        ],
        "concept": [
            {
                "code": "igneous",
                "display": "Igneous rock",
                "property": [{"code": "notSelectable", "valueBoolean": True}],
                "concept": [
                    {
                        "code": "granite",
                        "display": "Granite",
                        "definition": "Coarse-grained, of quartz and feldspar.",
                        "designation": [
                            {"language": "de", "value": "Granit"},
                            {"language": "fr", "value": "Granite rose", "use": {"code": "poetic"}},
                        ],
                        "property": [{"code": "hardness", "valueInteger": 6}],
                        "concept": [{"code": "pegmatite", "display": "Pegmatite"}],
                    },
                    {"code": "basalt", "display": "Basalt"},
                ],
            },
            {
                "code": "slate",
                "display": "Slate",
                "property": [{"code": "status", "valueCode": "retired"}],
            },
        ],
        **elements,
    }


def gem_map(**elements: Json) -> Json:
    """From stones to gems: granite is wider than agate; basalt has two; slate has none."""
    return {
        "resourceType": "ConceptMap",
        "url": "http://example.org/ConceptMap/stones-to-gems",
        "version": "1",
        "status": "active",
        "sourceCanonical": "http://example.org/ValueSet/stones",
        "targetCanonical": "http://example.org/ValueSet/gems",
        "group": [
            {
                "source": STONES,
                "target": GEMS,
                "element": [
                    {
                        "code": "granite",
                        "target": [
                            {
                                "code": "agate",
                                "display": "Agate",
                                "equivalence": "narrower",
                                "comment": "Not each granite has any.",
                            }
                        ],
                    },
                    {
                        "code": "basalt",
                        "target": [
                            {"code": "onyx", "equivalence": "equivalent"},
                            {
                                "code": "jet",
                                "equivalence": "wider",
                                "dependsOn": [{"property": "http://example.org/colour", "value": "black"}],
                                "product": [
                                    {
                                        "property": "http://example.org/lustre",
                                        "system": GEMS,
                                        "value": "dull",
                                    }
                                ],
                            },
                        ],
                    },
                    {"code": "slate", "target": [{"equivalence": "unmatched"}]},
                ],
            }
        ],
        **elements,
    }


def parameters(**named: Json) -> Json:
    """Parameters by name and kind: `system_Uri="…"`; a list is a repetition, without kind a resource."""
    found = []
    for name, value in named.items():
        what, _, kind = name.partition("_")
        for each in value if isinstance(value, list) else [value]:
            held = f"value{kind}" if kind else "resource"
            found += [{"name": what.replace("0", "-"), held: each}]
    return {"resourceType": "Parameters", "parameter": found}


def told(answer: Json) -> dict[str, Json]:
    """The values of Parameters by name; of a repeated one a list, of parts a dict."""
    found: dict[str, list[Json]] = {}
    for parameter in answer.get("parameter", answer.get("part", ())):
        value = next((v for n, v in parameter.items() if n.startswith("value")), parameter.get("resource"))
        found.setdefault(parameter["name"], []).append(told(parameter) if "part" in parameter else value)
    return {name: values[0] if len(values) == 1 else values for name, values in found.items()}
