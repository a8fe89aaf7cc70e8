"""What the audit of reads costs:
`python tests/benchmarks/audit_price.py [--count N] [--database postgresql]`.

Three servers side by side: one with audit, one more (the noise), and one without (`unaudited.py`).
"""

import sys
from contextlib import ExitStack
from pathlib import Path

from dicomweb_door import DICOM_JSON, FIRST_STUDY, FRAME, STORE, Slices, study_uid
from fhir_door import FHIR_JSON, create, observation, patient
from served import Client, Served, parse_arguments, serve
from side_by_side import Act, compare, each_of, heading

UNAUDITED = (sys.executable, str(Path(__file__).with_name("unaudited.py")))
INSTANCES, RESOURCES = 20, 50


def fill(served: Served) -> dict[str, Act]:
    """Store something of each kind; returns what is asked of it."""
    client = Client(served)
    client.ask("POST", "/dicom-web/studies", Slices().request(1, 0, INSTANCES), STORE)
    ids = [create(client, "Patient", patient(number)) for number in range(RESOURCES)]
    for number, each in enumerate(ids):
        create(client, "Observation", observation(each, number))
    series = f"/dicom-web/studies/{study_uid(1)}/series/{study_uid(1)}.1"
    frames = [f"{series}/instances/{study_uid(1)}.1.{1000 + n}/frames/1" for n in range(INSTANCES)]
    return {
        "FHIR read": each_of([f"/fhir/Patient/{each}" for each in ids], FHIR_JSON),
        "FHIR search": each_of([f"/fhir/Observation?patient={each}" for each in ids], FHIR_JSON),
        "WADO frame of 0.5 MB": each_of(frames, FRAME),
        "QIDO": each_of([f"/dicom-web/studies?PatientID={FIRST_STUDY + 1}"], DICOM_JSON),
    }


def run(database: str, count: int) -> None:
    """Every row."""
    programs = {"without": UNAUDITED, "audited": None, "audited again": None}
    with ExitStack() as stack:
        servers = {
            name: stack.enter_context(serve(database, program) if program else serve(database))
            for name, program in programs.items()
        }
        acts = {name: fill(served) for name, served in servers.items()}
        heading()
        for title in acts["without"]:
            for connections in (1, 8):
                compare(title, servers, {name: acts[name][title] for name in servers}, count, connections)


if __name__ == "__main__":
    arguments = parse_arguments(__doc__, 300)
    run(arguments.database, arguments.count)
