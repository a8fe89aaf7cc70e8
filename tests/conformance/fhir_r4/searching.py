"""A few resources that refer to one another, under names, and searches over them as tables of cases."""

from collections.abc import Iterable
from typing import Any

import httpx

LOINC = "http://loinc.org"


def observation(patient: str, **more: Any) -> dict[str, Any]:
    """A final Observation of a patient."""
    code = {"coding": [{"system": LOINC, "code": "8867-4"}]}
    subject = {"subject": {"reference": f"Patient/{patient}"}} if patient else {}
    return {"resourceType": "Observation", "status": "final", "code": code, **subject, **more}


def named(url: str, names: dict[str, str]) -> str:
    """The URL with `{name}` replaced by the id of that resource."""
    for name, resource_id in names.items():
        url = url.replace(f"{{{name}}}", resource_id)
    return url


async def found(
    client: httpx.AsyncClient, url: str, names: dict[str, str], mode: str = "match", **headers: str
) -> str:
    """The names of what a search finds, sorted, joined by blanks; or the status and the issue's code."""
    answer = await client.get(named(url, names), headers=headers)
    if answer.status_code != 200:
        return f"{answer.status_code} {answer.json()['issue'][0]['code']}"
    by_id = {resource_id: name for name, resource_id in names.items()}
    entries = [e for e in answer.json().get("entry", []) if e["search"]["mode"] == mode]
    return " ".join(sorted(by_id[entry["resource"]["id"]] for entry in entries))


async def check(
    client: httpx.AsyncClient,
    names: dict[str, str],
    cases: Iterable[tuple[str, str]],
    mode: str = "match",
    **headers: str,
) -> None:
    """Every search finds what is expected."""
    wrong = {
        url: (got, expected)
        for url, expected in cases
        if (got := await found(client, url, names, mode, **headers)) != expected
    }
    assert not wrong, wrong
