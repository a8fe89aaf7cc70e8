"""Bundles to be processed, in short."""

from typing import Any

Json = Any


def entry(method: str, url: str, resource: Json = None, full_url: str | None = None, **request: str) -> Json:
    """One entry; what is None is left out."""
    made: dict[str, Json] = {"request": {"method": method, "url": url, **request}}
    if resource is not None:
        made["resource"] = resource
    if full_url is not None:
        made["fullUrl"] = full_url
    return made


def bundle(kind: str, *entries: Json) -> Json:
    """A Bundle of these."""
    return {"resourceType": "Bundle", "type": kind, **({"entry": list(entries)} if entries else {})}


def transaction(*entries: Json) -> Json:
    """A transaction of these."""
    return bundle("transaction", *entries)


def patient(value: str = "1", **more: Json) -> Json:
    """A Patient with an identifier."""
    return {"resourceType": "Patient", "identifier": [{"system": "http://mrn", "value": value}], **more}


def observation(subject: str, **more: Json) -> Json:
    """An Observation about somebody."""
    code = {"text": "Finding"}
    found = {
        "resourceType": "Observation",
        "status": "final",
        "code": code,
        "subject": {"reference": subject},
    }
    return {**found, **more}


def statuses(answer: Json) -> list[str]:
    """The status codes of a response Bundle, in order."""
    return [each["response"]["status"][:3] for each in answer["entry"]]


def places(answer: Json) -> list[str]:
    """Where the resources of a response Bundle are: Type/id."""
    return ["/".join(each["response"]["location"].split("/")[-4:-2]) for each in answer["entry"]]
