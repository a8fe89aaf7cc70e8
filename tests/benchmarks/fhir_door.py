"""What one FHIR interaction costs the server:
`python tests/benchmarks/fhir_door.py [--count N] [--database postgresql]`.
"""

import json

from served import Client, Served, heading, measure, parse_arguments, serve

FHIR_JSON = {"Content-Type": "application/fhir+json", "Accept": "application/fhir+json"}
MINIMAL = {**FHIR_JSON, "Prefer": "return=minimal"}


def patient(number: int) -> bytes:
    """A Patient as an EHR sends it."""
    return json.dumps(
        {
            "resourceType": "Patient",
            "active": True,
            "identifier": [{"system": "http://benchmark.example/mrn", "value": f"p{number}"}],
            "name": [{"family": f"Family{number % 500}", "given": [f"Given{number}", "Q"]}],
            "gender": "female" if number % 2 else "male",
            "birthDate": f"{1940 + number % 70}-{1 + number % 12:02}-{1 + number % 28:02}",
            "telecom": [{"system": "phone", "value": f"555-{number:05}"}],
            "address": [{"line": ["1 Street"], "city": "Town", "postalCode": f"{number % 99999:05}"}],
        }
    ).encode()


def observation(subject: str, number: int) -> bytes:
    """An Observation with a quantity."""
    system = "http://terminology.hl7.org/CodeSystem/observation-category"
    return json.dumps(
        {
            "resourceType": "Observation",
            "status": "final",
            "category": [{"coding": [{"system": system, "code": "imaging"}]}],
            "code": {"text": "Finding"},
            "subject": {"reference": f"Patient/{subject}"},
            "effectiveDateTime": f"20{10 + number % 15}-0{1 + number % 9}-1{number % 10}T10:00:00Z",
            "valueQuantity": {
                "value": number % 100,
                "unit": "mm",
                "system": "http://unitsofmeasure.org",
                "code": "mm",
            },
        }
    ).encode()


def create(client: Client, resource_type: str, body: bytes) -> str:
    """Create a resource and return its id."""
    response, _ = client.ask("POST", f"/fhir/{resource_type}", body, MINIMAL)
    return (response.getheader("Location") or "").split("/")[-3]


def run(served: Served, count: int) -> None:
    """Every row."""
    heading()
    client = Client(served)
    ids = [create(client, "Patient", patient(1_000_000 + number)) for number in range(50)]
    measure(served, "liveness (a route that does nothing)", count, 1, lambda c, _: c.ask("GET", "/livez"))
    for connections in (1, 8):
        measure(
            served,
            "read Patient",
            count,
            connections,
            lambda c, n: c.ask("GET", f"/fhir/Patient/{ids[n % 50]}", headers=FHIR_JSON),
        )
        measure(
            served,
            "create Patient",
            count // 2,
            connections,
            lambda c, n, start=connections * 10_000: create(c, "Patient", patient(start + n)),  # type: ignore[misc]
        )
        measure(
            served,
            "create Observation",
            count // 2,
            connections,
            lambda c, n: create(c, "Observation", observation(ids[n % 50], n)),
        )
        measure(
            served,
            "search Patient?identifier",
            count // 2,
            connections,
            lambda c, n: c.ask("GET", f"/fhir/Patient?identifier=p{1_000_000 + n % 50}", headers=FHIR_JSON),
        )
        measure(
            served,
            "search Observation?patient&_count=20",
            count // 4,
            connections,
            lambda c, n: c.ask("GET", f"/fhir/Observation?patient={ids[n % 50]}&_count=20"),
        )
    print(f"memory, highest: {served.memory_mib():.0f} MiB")


if __name__ == "__main__":
    arguments = parse_arguments(__doc__, 1000)
    with serve(arguments.database) as started:
        run(started, arguments.count)
