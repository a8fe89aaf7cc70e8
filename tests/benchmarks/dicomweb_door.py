"""What one DICOMweb transaction costs the server:
`python tests/benchmarks/dicomweb_door.py [--count N] [--database postgresql]`.

A store row counts instances, every other row requests.
"""

import json
from io import BytesIO

from pydicom.data import get_testdata_file
from pydicom.filereader import dcmread
from served import Client, Served, heading, measure, parse_arguments, serve

SLICES = 200
SIDE = 512  # rows and columns of a slice
ROOT = "1.2.826.0.1.3680043.10.1338."  # of documentation and tests; then a study's ten digits
FIRST_STUDY = 1_000_000_000
DICOM_JSON = {"Accept": "application/dicom+json"}
FRAME = {"Accept": 'multipart/related; type="application/octet-stream"'}
ANY_SYNTAX = {"Accept": 'multipart/related; type="application/dicom"; transfer-syntax=*'}
BOUNDARY = b"benchmark-boundary"
STORE = {
    **DICOM_JSON,
    "Content-Type": f'multipart/related; type="application/dicom"; boundary={BOUNDARY.decode()}',
}


def study_uid(number: int) -> str:
    """The Study Instance UID of a copy."""
    return f"{ROOT}{FIRST_STUDY + number}.1"


def make_slice() -> bytes:
    """A CT instance of study 0 and instance number 1000: a real header, and pixels of the usual size."""
    path = get_testdata_file("CT_small.dcm", download=False)
    assert isinstance(path, str)
    data_set = dcmread(path)
    data_set.Rows = data_set.Columns = SIDE
    data_set.PixelData = bytes(range(256)) * (SIDE * SIDE * 2 // 256)
    data_set.StudyInstanceUID = study_uid(0)
    data_set.SeriesInstanceUID = f"{study_uid(0)}.1"
    data_set.SOPInstanceUID = data_set.file_meta.MediaStorageSOPInstanceUID = f"{study_uid(0)}.1.1000"
    data_set.PatientID = f"{FIRST_STUDY}"
    written = BytesIO()
    data_set.save_as(written)
    return written.getvalue()


class Slices:
    """Copies of one slice with other UIDs of the same length."""

    def __init__(self) -> None:
        self._slice = make_slice()

    def request(self, study: int, first: int, count: int) -> bytes:
        """The body of a Store request."""
        parts = []
        for number in range(first, first + count):
            copy = self._slice.replace(b"%d" % FIRST_STUDY, b"%d" % (FIRST_STUDY + study))
            copy = copy.replace(b".1.1000", b".1.%d" % (1000 + number))
            parts.append(b"--" + BOUNDARY + b"\r\nContent-Type: application/dicom\r\n\r\n" + copy + b"\r\n")
        return b"".join((*parts, b"--" + BOUNDARY + b"--\r\n"))


def measure_store(served: Served, slices: Slices, count: int, connections: int, each: int) -> None:
    """Store `count` instances, each connection to its own study."""
    studies = 100 * connections + 10 * each

    def operation(client: Client, number: int) -> None:
        study = studies + (number % connections if number >= 0 else 90)
        first = (number // connections if number >= 0 else id(client) % 800) * each
        _, content = client.ask("POST", "/dicom-web/studies", slices.request(study, first, each), STORE)
        assert len(json.loads(content)["00081199"]["Value"]) == each

    requests = count // each
    measure(served, f"store 0.5 MB, {each} a request", requests, connections, operation, operations_each=each)


def run(served: Served, count: int) -> None:
    """Every row."""
    heading()
    slices = Slices()
    for connections, each in ((1, 1), (8, 1), (1, 10), (8, 10)):
        measure_store(served, slices, min(count, 900), connections, each)
    client = Client(served)
    for first in range(0, SLICES, 20):
        client.ask("POST", "/dicom-web/studies", slices.request(1, first, 20), STORE)
    study, series = f"/dicom-web/studies/{study_uid(1)}", f"/series/{study_uid(1)}.1"
    instances = [f"{study}{series}/instances/{study_uid(1)}.1.{1000 + n}" for n in range(SLICES)]
    patient = f"/dicom-web/studies?PatientID={FIRST_STUDY + 1}"
    rows = (
        ("search studies by PatientID", [patient], DICOM_JSON, 1),
        ("search a series' 200 instances", [f"{study}{series}/instances"], DICOM_JSON, 10),
        ("metadata of a series of 200", [f"{study}{series}/metadata"], DICOM_JSON, 10),
        ("metadata of an instance", [f"{path}/metadata" for path in instances], DICOM_JSON, 1),
        ("frame of 0.5 MB", [f"{path}/frames/1" for path in instances], FRAME, 1),
        ("instance of 0.5 MB", instances, ANY_SYNTAX, 1),
    )
    for connections in (1, 8):
        for name, paths, headers, dearer in rows:
            measure(
                served,
                name,
                count // dearer,
                connections,
                lambda c, n, paths=paths, headers=headers: c.ask(  # type: ignore[misc]
                    "GET", paths[n % len(paths)], headers=headers
                ),
            )
    print(f"memory, highest: {served.memory_mib():.0f} MiB")


if __name__ == "__main__":
    arguments = parse_arguments(__doc__, 400)
    with serve(arguments.database) as started:
        run(started, arguments.count)
