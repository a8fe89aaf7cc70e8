"""The peak hour of a 1000-study day, or some minutes of it, on an installation that this starts and stops:
`python tests/load/peak_hour.py --minutes 60 --database postgresql`.

Ends with an error when a request failed too often, when something acknowledged is not there as it was sent,
or when work was left undone; never for being slow. What it measures is printed, and kept with --result.
"""

import argparse
import json
import os
import subprocess
import sys
from collections.abc import Sequence
from datetime import UTC, datetime
from pathlib import Path
from tempfile import TemporaryDirectory

import httpx
import psutil

sys.path.insert(0, str(Path(__file__).parents[2]))  # run as a file: the tests are no installed package

from tests.load.figures import Run, write_result
from tests.load.installation import Installation, Sampler, Shape, installation
from tests.load.plan import ANALYSED_EVERY, EHRS, PATIENTS, PER_REQUEST, SIDE, SLICES, VIEWERS, Plan
from tests.load.proof import Proof
from tests.load.record import Ledger
from tests.load.studies import BOUNDARY, PATIENT_SYSTEM, load_template, save_template
from tests.services import loopback

FIRST_STUDIES = 3  # there before the load begins, for the viewers to open
STOP_S = 120  # for requests under way when the time is over


def parse_arguments(words: Sequence[str] | None = None) -> argparse.Namespace:
    """The options."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--minutes", type=float, default=60)
    parser.add_argument("--database", choices=("sqlite", "postgresql"), default="postgresql")
    parser.add_argument("--servers", type=int, default=1)
    parser.add_argument("--workers", type=int, default=1, help="processes that run models")
    parser.add_argument("--store", choices=("local", "s3"), default="local")
    parser.add_argument("--redis", action="store_true")
    parser.add_argument("--rate", type=float, default=1.0, help="of the peak hour's requests")
    parser.add_argument("--slices", type=int, default=SLICES, help="of a study")
    parser.add_argument("--side", type=int, default=SIDE, help="rows and columns of a slice")
    parser.add_argument("--analysed-every", type=int, default=ANALYSED_EVERY, help="one study of so many")
    parser.add_argument(
        "--pullers", type=int, default=0, help="clients that fetch whole series without pause"
    )
    parser.add_argument("--quiet-s", type=float, help="until a study is settled; default: the rule's 60")
    parser.add_argument("--result", type=Path, help="a file for the figures, as JSON")
    return parser.parse_args(words)


def run(options: argparse.Namespace, folder: Path) -> None:
    """Start everything, drive the load, prove that nothing is lost, say what it took."""
    save_template(folder / "template", options.slices, options.side)
    settings = {} if options.quiet_s is None else {"ISTHMUS_QUIET_TIME_S": str(options.quiet_s)}
    shape = Shape(options.database, options.servers, options.workers, options.store, options.redis, settings)
    with installation(folder, shape) as running:
        plan = prepare(running, options)
        begun = datetime.now(UTC)
        client = start_client(plan, options.minutes)
        with Sampler({**running.roles, "client": [client]}) as sampler:
            code = client.wait()
        assert code == 0, f"locust ended with {code}"
        proof = prove(plan)
    what = {
        "begun": f"{begun:%Y-%m-%d %H:%M} UTC",
        **{k: v for k, v in vars(options).items() if k != "result"},
    }
    requests = json.loads(plan.requests.read_text())
    summary = write_result(Run(what, requests, sampler.samples, proof), options.result)
    assert summary["met"]["errors < 1 %"], "too many requests failed"


def prepare(running: Installation, options: argparse.Namespace) -> Plan:
    """Patients and the first studies; returns the plan, written for locust."""
    token = running.token()
    headers = {"Authorization": f"Bearer {token}"}
    with loopback.client(running.bases[0], headers=headers, timeout=120) as http:
        patients = tuple(create_patient(http, number) for number in range(PATIENTS))
        plan = Plan(
            folder=str(running.folder),
            bases=running.bases,
            token=token,
            patients=patients,
            rate=options.rate,
            slices=options.slices,
            analysed_every=options.analysed_every,
            pullers=options.pullers,
        )
        store_first_studies(http, plan)
    plan.save()
    return plan


def create_patient(http: httpx.Client, number: int) -> str:
    """A Patient as an EHR knows it before its first study; returns its id."""
    resource = {
        "resourceType": "Patient",
        "identifier": [{"system": PATIENT_SYSTEM, "value": f"LOAD-{number:04}"}],
        "name": [{"family": "Phantom", "given": [f"Number {number}"]}],
        "birthDate": "1960-01-01",
        "gender": "other",
    }
    answer = http.post("/fhir/Patient", json=resource, headers={"Prefer": "return=representation"})
    return str(answer.raise_for_status().json()["id"])


def store_first_studies(http: httpx.Client, plan: Plan) -> None:
    """Studies for the viewers to open at once."""
    template, ledger = load_template(plan.template), Ledger(plan.ledger)
    kind = f'multipart/related; type="application/dicom"; boundary={BOUNDARY.decode()}'
    for number in range(1, FIRST_STUDIES + 1):
        study = plan.study(number)
        for first in range(0, plan.slices, PER_REQUEST[-1]):
            indices = range(first, min(first + PER_REQUEST[-1], plan.slices))
            body = template.request(study, indices)
            answer = http.post("/dicom-web/studies", content=body, headers={"Content-Type": kind})
            assert answer.status_code == 200, answer.text[:300]
            ledger.add(study, first, len(indices))


def start_client(plan: Plan, minutes: float) -> psutil.Popen:
    """Locust, without its web page, for so long."""
    users = len(PER_REQUEST) + VIEWERS + EHRS + 1 + plan.pullers
    words = ["--headless", "--users", str(users), "--spawn-rate", str(users), "--only-summary"]
    times = [
        "--run-time",
        f"{int(minutes * 60)}s",
        "--stop-timeout",
        str(STOP_S),
        "--exit-code-on-error",
        "0",
    ]
    command = [sys.executable, "-m", "locust", "-f", str(Path(__file__).with_name("locustfile.py"))]
    environment = {**os.environ, "ISTHMUS_LOAD": plan.folder}
    with (Path(plan.folder) / "locust.txt").open("wb") as log:
        return psutil.Popen([*command, *words, *times], env=environment, stdout=log, stderr=subprocess.STDOUT)


def prove(plan: Plan) -> dict[str, object]:
    """Raises where something is missing; returns what was found."""
    proof = Proof(plan, Ledger(plan.ledger).read())
    try:
        proof.settle()
        drained_s = proof.await_drained()
        return {
            "queues ran dry after s": round(drained_s, 1),
            "reports": proof.compare_reports(),
            "instances compared bit by bit": proof.compare_bytes(load_template(plan.template)),
            "series counted": proof.compare_counts(),
        }
    finally:
        proof.close()


def main(words: Sequence[str] | None = None) -> None:
    """Run it in a folder that is removed again."""
    options = parse_arguments(words)
    with TemporaryDirectory(prefix="isthmus-load-") as made:
        run(options, Path(made))


if __name__ == "__main__":
    main()
