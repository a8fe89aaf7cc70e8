"""Search semantics, one table per parameter type (FHIR R4 search.html)."""

from collections.abc import Callable
from typing import Any
from urllib.parse import quote, urlsplit

import httpx
import pytest

from fhir.search.criteria import MAX_VALUES, MAX_VALUES_TOGETHER
from tests.asked_in_turn import asked_in_turn

Ids = Callable[..., Any]


@pytest.fixture
async def names(create: Callable[..., Any]) -> dict[str, str]:
    """A few resources; their names by id."""
    resources: dict[str, dict[str, Any]] = {
        "anna": {
            "resourceType": "Patient",
            "identifier": [{"system": "urn:mrn", "value": "A,1|x"}, {"value": "bare"}],
            "active": True,
            "name": [{"family": "Müller-Lüdenscheidt", "given": ["Anna", "Zoë"]}],
            "gender": "female",
            "birthDate": "1970-05-17",
            "telecom": [
                {"system": "email", "value": "anna@example.org"},
                {"system": "phone", "value": "555"},
            ],
            "address": [{"city": "Zürich"}],
            "generalPractitioner": [{"identifier": {"system": "urn:gp", "value": "77"}}],
        },
        "bob": {
            "resourceType": "Patient",
            "identifier": [{"system": "urn:other", "value": "A,1|x"}],
            "name": [{"family": "Smith", "given": ["Bob"]}],
            "gender": "male",
            "birthDate": "1970-05",
            "deceasedBoolean": True,
        },
        "cara": {"resourceType": "Patient", "deceasedBoolean": False, "birthDate": "1971"},
    }
    made = {name: await create(resource) for name, resource in resources.items()}
    return {value: key for key, value in made.items()}


@asked_in_turn(
    ("search", "expected"),
    [
        # token
        ("gender=female", "anna"),
        ("gender=female,male", "anna bob"),
        ("gender=http://hl7.org/fhir/administrative-gender|female", "anna"),
        ("gender:not=female", "bob cara"),
        ("gender:missing=true", "cara"),
        ("gender:missing=false", "anna bob"),
        ("gender=Female", ""),
        ("active=true", "anna"),
        ("deceased=true", "bob"),
        ("deceased=false", "anna cara"),
        (r"identifier=urn:mrn|A\,1\|x", "anna"),
        (r"identifier=A\,1\|x", "anna bob"),
        ("identifier=|bare", "anna"),
        ("identifier=urn:mrn|", "anna"),
        (r"identifier=|A\,1\|x", ""),
        ("email=anna@example.org", "anna"),
        ("email=555", ""),
        ("telecom=555", "anna"),
        # string
        ("family=mul", "anna"),
        ("family=MÜLLER", "anna"),
        ("family=ludenscheidt", ""),
        ("family:contains=ludensch", "anna"),
        ("family:exact=Smith", "bob"),
        ("family:exact=smith", ""),
        ("name=zoe", "anna"),
        ("name=anna,bob", "anna bob"),
        ("name=anna&name=muller", "anna"),
        ("name=anna&name=bob", ""),
        ("address=zurich", "anna"),
        ("name=%25", ""),
        ("family:contains=_", ""),
        # date: 17 May 1970, May 1970, 1971
        ("birthdate=1970-05-17", "anna"),
        ("birthdate=1970-05", "anna bob"),
        ("birthdate=1970", "anna bob"),
        ("birthdate=ne1970-05", "cara"),
        ("birthdate=gt1970-05-17", "bob cara"),
        ("birthdate=lt1970-05-17", "bob"),
        ("birthdate=ge1970-05-17", "anna bob cara"),
        ("birthdate=le1970-05-17", "anna bob"),
        ("birthdate=sa1970-05-17", "cara"),
        ("birthdate=eb1971", "anna bob"),
        ("birthdate=ap1970-05-17", "anna bob cara"),
        ("birthdate=ge1970-05-01&birthdate=lt1970-06-01", "anna bob"),
        ("birthdate:missing=false", "anna bob cara"),
        # reference by identifier
        ("general-practitioner:identifier=urn:gp|77", "anna"),
        ("general-practitioner:identifier=77", "anna"),
        ("general-practitioner:identifier=urn:x|77", ""),
        # of the resource itself
        ("_lastUpdated=gt2020-01-01", "anna bob cara"),
        ("_lastUpdated=lt2020-01-01", ""),
        ("_tag:missing=true", "anna bob cara"),
        # nothing asked
        ("gender=", "anna bob cara"),
        ("nope=1", "anna bob cara"),
    ],
)
async def test_patients(ids: Ids, names: dict[str, str], search: str, expected: str) -> None:
    found = await ids(f"/Patient?{quote(search, safe='=&%')}")
    assert sorted(names[i] for i in found) == expected.split()


@pytest.fixture
async def observations(create: Callable[..., Any]) -> dict[str, str]:
    def quantity(value: Any, unit: str = "mm", **more: Any) -> dict[str, Any]:
        return {"value": value, "unit": unit, "system": "http://unitsofmeasure.org", "code": unit, **more}

    def component(code: str, value: float) -> dict[str, Any]:
        return {"code": {"coding": [{"system": "urn:c", "code": code}]}, "valueQuantity": quantity(value)}

    resources: dict[str, dict[str, Any]] = {
        "five": {"valueQuantity": quantity(5.0), "effectiveDateTime": "2024-03-01T10:00:00+02:00"},
        "fifty": {
            "valueQuantity": quantity(50),
            "effectivePeriod": {"start": "2024-03-01", "end": "2024-03-31"},
        },
        "under": {"valueQuantity": quantity(7, comparator="<"), "effectivePeriod": {"start": "2024-04-01"}},
        "pair": {"component": [component("sys", 120), component("dia", 80)]},
        "riap": {"component": [component("dia", 120), component("sys", 80)]},
    }
    base = {"resourceType": "Observation", "status": "final", "code": {"coding": [{"code": "c1"}]}}
    made = {name: await create({**base, **resource}) for name, resource in resources.items()}
    return {value: key for key, value in made.items()}


@asked_in_turn(
    ("search", "expected"),
    [
        ("value-quantity=5", "five"),
        ("value-quantity=5.0", "five"),
        ("value-quantity=5.4", ""),
        ("value-quantity=5e0", "five"),
        ("value-quantity=50", "fifty"),
        ("value-quantity=gt5", "fifty under"),
        ("value-quantity=ge5", "fifty five under"),
        ("value-quantity=lt5", "under"),
        ("value-quantity=le5", "five under"),
        ("value-quantity=eb10", "five under"),
        ("value-quantity=sa10", "fifty"),
        ("value-quantity=ap5.2", "five under"),
        ("value-quantity=ne50", "five under"),
        ("value-quantity=5|http://unitsofmeasure.org|mm", "five"),
        ("value-quantity=5||mm", "five"),
        ("value-quantity=5|http://unitsofmeasure.org|cm", ""),
        ("component-value-quantity=gt100", "pair riap"),
        ("component-code-value-quantity=urn:c|sys$gt100", "pair"),
        ("component-code-value-quantity=urn:c|sys$80", "riap"),
        ("component-code-value-quantity=sys$99", ""),
        ("code-value-quantity=c1$50", "fifty"),
        ("component-code-value-quantity:missing=false", "pair riap"),
        ("date=2024-03-01", "five"),
        ("date=2024-03", "fifty five"),
        ("date=2024-03-01T08:00:00Z", "five"),
        ("date=2024-03-01T10:00:00Z", ""),
        ("date=2024-03-01T08:00Z", "five"),
        ("date=2024-03-01T10:00:00+02:00", "five"),
        ("date=ge2030", "under"),
        ("date=lt2024-03-01T12:00:00Z", "fifty five"),
    ],
)
async def test_observations(ids: Ids, observations: dict[str, str], search: str, expected: str) -> None:
    found = await ids(f"/Observation?{search}")
    assert sorted(observations[i] for i in found) == expected.split()


async def test_references(client: httpx.AsyncClient, create: Callable[..., Any], ids: Ids) -> None:
    patient = await create({"resourceType": "Patient"})
    study = await create(
        {
            "resourceType": "ImagingStudy",
            "status": "available",
            "subject": {"reference": f"Patient/{patient}"},
        }
    )
    report = await create(
        {
            "resourceType": "DiagnosticReport",
            "status": "final",
            "code": {"text": "x"},
            "subject": {"reference": f"http://fhir.test/fhir/Patient/{patient}"},
            "imagingStudy": [{"reference": f"ImagingStudy/{study}"}],
            "performer": [{"reference": "http://other.test/fhir/Organization/1"}],
        }
    )
    for search in (
        f"subject=Patient/{patient}",
        f"subject={patient}",
        f"subject:Patient={patient}",
        f"subject:Patient=Patient/{patient}",
        f"subject=http://fhir.test/fhir/Patient/{patient}",
        f"patient={patient}",
        f"imaging-study=ImagingStudy/{study}",
        f"imaging-study={study}",
        "performer=http://other.test/fhir/Organization/1",
    ):
        assert await ids(f"/DiagnosticReport?{search}") == [report], search
    for search in (
        f"subject:Group={patient}",
        "subject=Patient/x",
        "performer=Organization/1",
        "performer=1",
    ):
        assert await ids(f"/DiagnosticReport?{search}") == [], search
    bundle = (
        await client.get(
            "/DiagnosticReport?_include=DiagnosticReport:imaging-study&_include=DiagnosticReport:subject:Patient"
        )
    ).json()
    assert {(e["resource"]["id"], e["search"]["mode"]) for e in bundle["entry"]} == {
        (report, "match"),
        (study, "include"),
        (patient, "include"),
    }
    assert bundle["total"] == 1
    assert bundle["entry"][0]["fullUrl"] == f"http://fhir.test/fhir/DiagnosticReport/{report}"
    reverse = (
        await client.get("/Patient?_revinclude=DiagnosticReport:subject&_revinclude=ImagingStudy:*")
    ).json()
    assert [e["resource"]["id"] for e in reverse["entry"]] == [patient, report, study]


async def test_uris(create: Callable[..., Any], ids: Ids) -> None:
    base = {"resourceType": "ValueSet", "status": "active"}
    one = await create({**base, "url": "http://a.test/x"})
    two = await create({**base, "url": "http://a.test/x/y"})
    await create({**base, "url": "http://a.test/xx"})
    assert await ids("/ValueSet?url=http://a.test/x") == [one]
    assert await ids("/ValueSet?url:below=http://a.test/x") == [one, two]
    assert await ids("/ValueSet?url:above=http://a.test/x/y") == [one, two]


@asked_in_turn(
    "search",
    [
        "_graph=x",
        "_query=x",
        "_contained=true",
        "_include:nonsense=Observation:subject",
        "code:nonsense=x",
        "status:exact=final",
    ],
)
async def test_what_is_not_offered_is_refused(client: httpx.AsyncClient, search: str) -> None:
    answer = await client.get(f"/Observation?{search}")
    assert (answer.status_code, answer.json()["issue"][0]["code"]) == (400, "not-supported")


@asked_in_turn(
    "search",
    [
        "date=yesterday",
        "date=2024-13",
        "date=gt",
        "value-quantity=x",
        "value-quantity=5|a",
        "value-quantity=1e999",
        "status=a|b|c",
        "status=|",
        "_count=-1",
        "_count=x",
        "_total=maybe",
        "_summary=maybe",
        "_sort=nope",
        "_sort=code-value-quantity",
        "_include=Observation",
        "_include=Patient:link",
        "_include=Observation:code",
        "_include=Observation:subject:Nope",
        "subject:missing=x",
        "component-code-value-quantity=a",
        "status=%00",
        "status=%ff",
        "_page=abc",
        "subject:Patient=Group/1",
        f"status={','.join('a' * 501)}",
        "&".join(["status=final"] * 101),
    ],
)
async def test_nonsense_is_400(client: httpx.AsyncClient, search: str) -> None:
    answer = await client.get(f"/Observation?{search}")
    assert answer.status_code == 400, answer.text
    assert answer.json()["resourceType"] == "OperationOutcome"


async def test_unknown_parameters(client: httpx.AsyncClient) -> None:
    answer = await client.get("/Patient?nope=1&gender=male&_format=json")
    assert answer.json()["link"] == [{"relation": "self", "url": "http://fhir.test/fhir/Patient?gender=male"}]
    strict = await client.get("/Patient?nope=1", headers={"prefer": "handling=strict"})
    assert strict.status_code == 400
    assert "nope" in strict.json()["issue"][0]["diagnostics"]


@asked_in_turn(
    ("path", "headers", "status"),
    [
        ("/Patient?_format=xml", {}, 406),
        ("/Patient?_format=application/fhir+json", {}, 200),
        ("/Patient?_format=json", {"accept": "application/fhir+xml"}, 200),
        ("/Patient", {"accept": "application/fhir+xml"}, 406),
        ("/Patient", {"accept": "application/fhir+xml, */*;q=0.1"}, 200),
        ("/Patient", {"accept": "application/json;q=0"}, 406),
        ("/metadata", {"x-rights": "nobody"}, 200),
        ("/metadata", {"accept": "text/turtle"}, 406),
        ("/Patient", {"x-rights": "nobody"}, 401),
        ("/Patient", {"x-rights": "reader"}, 403),
    ],
)
async def test_negotiation(
    client: httpx.AsyncClient, path: str, headers: dict[str, str], status: int
) -> None:
    assert (await client.get(path, headers=headers)).status_code == status


async def test_post_search_takes_a_form(client: httpx.AsyncClient, create: Callable[..., Any]) -> None:
    await create({"resourceType": "Patient", "gender": "male"})
    form = {"content-type": "application/x-www-form-urlencoded"}
    assert (await client.post("/Patient/_search", content="gender=male", headers=form)).json()["total"] == 1
    assert (await client.post("/Patient/_search?gender=female", headers=form)).json()["total"] == 0
    assert (await client.post("/Patient/_search", json={})).status_code == 415


async def test_elements(client: httpx.AsyncClient, create: Callable[..., Any]) -> None:
    await create({"resourceType": "Patient", "gender": "male", "birthDate": "1970"})
    found = (await client.get("/Patient?_elements=gender")).json()["entry"][0]["resource"]
    assert set(found) == {"resourceType", "id", "meta", "gender"}
    assert found["meta"]["tag"][0]["code"] == "SUBSETTED"


def next_path(bundle: dict[str, Any]) -> str | None:
    for link in bundle["link"]:
        if link["relation"] == "next":
            parts = urlsplit(link["url"])
            return f"{parts.path.removeprefix('/fhir')}?{parts.query}"
    return None


@pytest.mark.parametrize(
    "sort", ["", "&_sort=birthdate", "&_sort=-birthdate,family", "&_sort=-_lastUpdated,_id"]
)
async def test_paging_is_stable_under_inserts(
    client: httpx.AsyncClient, create: Callable[..., Any], sort: str
) -> None:
    births = ["1970", "1960", None, "1970", "1980", None, "1960-05"]
    made = []
    for at, birth in enumerate(births):
        patient = {"resourceType": "Patient", "gender": "other", "name": [{"family": f"f{at % 3}"}]}
        made.append(await create({**patient, **({"birthDate": birth} if birth else {})}))
    seen: list[str] = []
    path: str | None = f"/Patient?gender=other&_count=2{sort}"
    while path:
        bundle = (await client.get(path)).json()
        seen += [entry["resource"]["id"] for entry in bundle["entry"]]
        path = next_path(bundle)
        await create({"resourceType": "Patient", "gender": "other", "birthDate": "1900"})
    assert sorted(i for i in seen if i in made) == sorted(made)
    assert len(seen) == len(set(seen))
    if sort == "&_sort=birthdate":
        order = [births[made.index(i)] for i in seen if i in made]
        assert order == ["1960", "1960-05", "1970", "1970", "1980", None, None]


async def test_sort_descending_puts_missing_last(create: Callable[..., Any], ids: Ids) -> None:
    made = [
        await create({"resourceType": "Patient", **({"birthDate": b} if b else {})})
        for b in ("1970", None, "1980")
    ]
    assert await ids("/Patient?_sort=-birthdate") == [made[2], made[0], made[1]]
    assert await ids("/Patient?_sort=birthdate") == [made[0], made[2], made[1]]


async def test_counts(client: httpx.AsyncClient, create: Callable[..., Any]) -> None:
    for _ in range(3):
        await create({"resourceType": "Patient"})
    for search, total, entries in (
        ("_count=2&_total=accurate", 3, 2),
        ("_count=2", None, 2),
        ("_count=0", 3, 0),
        ("_summary=count", 3, 0),
        ("_count=9999999", 3, 3),
    ):
        bundle = (await client.get(f"/Patient?{search}")).json()
        assert (bundle.get("total"), len(bundle.get("entry", []))) == (total, entries), search


@pytest.mark.parametrize(
    "value",
    [
        "identifier=urn:s|v{n}",
        "birthdate=20{n:02}",
        "name=n{n}",
        "organization=o{n}",
        "_lastUpdated=20{n:02}",
    ],
)
async def test_a_parameter_takes_all_the_values_it_may(client: httpx.AsyncClient, value: str) -> None:
    name, _, template = value.partition("=")
    listed = ",".join(template.format(n=n % 100) for n in range(MAX_VALUES))
    answer = await client.post("/Patient/_search", data={name: listed})
    assert answer.status_code == 200, answer.text
    answer = await client.post("/Patient/_search", data={f"{name}": f"{listed},{template.format(n=1)}"})
    assert answer.status_code == 400


async def test_the_values_of_a_search_are_bounded_together(client: httpx.AsyncClient) -> None:
    most = {f"{name}": ",".join(["2001"] * MAX_VALUES) for name in ("identifier", "birthdate", "name", "_id")}
    assert sum(value.count(",") + 1 for value in most.values()) == MAX_VALUES_TOGETHER
    assert (await client.post("/Patient/_search", data=most)).status_code == 200
    assert (await client.post("/Patient/_search", data=most | {"phone": "1"})).status_code == 400
