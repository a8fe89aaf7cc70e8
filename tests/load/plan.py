"""What the load is: the peak hour of a day of 1000 studies, and its parts in proportion.

The numbers are of one hour at rate 1. They say what is asked of the server, not what it can do.
"""

import json
from dataclasses import asdict, dataclass, fields
from pathlib import Path

from tests.load.studies import Study

HOUR_S = 3600.0

STUDIES = 150  # stored in the hour: 15 % of the day's 1000
SLICES = 300  # of a study
SIDE = 512  # rows and columns of a slice: 0.5 MB
OPENED = 150  # studies that a viewer opens: each new one once
FRAMES = 100  # of an opened study that are looked at, in the order of the stack
WHOLE_EVERY = 4  # opened studies of which one is fetched whole
EHR_CALLS = 4 * 3600  # four a second, over all EHRs
PROBES = 3600  # one small query a second, whatever else goes on
ANALYSED_EVERY = 5  # studies of which one is a chest CT that the shipped model wants
PATIENTS = 50  # whose studies these are, in turn

PER_REQUEST = (1, 10, 50)  # instances that each modality puts into a request
VIEWERS = 5
EHRS = 4


@dataclass(frozen=True, slots=True)
class Plan:
    """One run: where, how fast, and of what size. The driver reads it from its folder."""

    folder: str
    bases: tuple[str, ...]  # of the servers
    token: str
    patients: tuple[str, ...]  # ids of the FHIR Patients, by their number
    rate: float = 1.0  # of the peak hour's
    slices: int = SLICES
    analysed_every: int = ANALYSED_EVERY
    pullers: int = 0  # clients that fetch whole series without a pause: none in the peak hour

    def study(self, number: int) -> Study:
        """A study by its number."""
        return Study(number, number % PATIENTS, number % self.analysed_every == 0)

    @property
    def template(self) -> Path:
        """The folder of the slices."""
        return Path(self.folder) / "template"

    @property
    def ledger(self) -> Path:
        """The file of what was acknowledged: a study, the first slice and how many, a line."""
        return Path(self.folder) / "acknowledged.jsonl"

    @property
    def requests(self) -> Path:
        """The file of what every request took."""
        return Path(self.folder) / "requests.json"

    def save(self) -> None:
        """Write it where `load` looks."""
        (Path(self.folder) / "plan.json").write_text(json.dumps(asdict(self)))


def load_plan(folder: str) -> Plan:
    """The plan of a folder."""
    values = json.loads((Path(folder) / "plan.json").read_text())
    return Plan(**{f.name: tuple(v) if isinstance(v := values[f.name], list) else v for f in fields(Plan)})
