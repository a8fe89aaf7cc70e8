"""What the forms of metadata cost: `python tests/benchmarks/metadata_forms.py`.

The CPU time of one page of 200 CT instances: some fields of it, in XML, coded. The median of nine runs.
"""

import statistics
import time
from collections.abc import Callable
from pathlib import Path

import orjson
from pydicom.data import get_testdata_file

from dicomweb.data_sets import documents_of
from dicomweb.metadata import pack_metadata, unpack_metadata
from dicomweb.retrieve.included import only_included, parse_include_fields
from dicomweb.wire.content_coding import Coding, encode
from dicomweb.wire.instance import parse_instance
from dicomweb.wire.native_xml_reader import read_native_xml

INSTANCES = 200
VIEWER = "Rows,Columns,BitsAllocated,PixelRepresentation,RescaleSlope,RescaleIntercept,ImagePositionPatient"


def measure(name: str, operation: Callable[[], bytes | list[bytes]]) -> None:
    costs = []
    for _ in range(9):
        begun = time.process_time()
        made = operation()
        costs.append((time.process_time() - begun) * 1e3)
    length = len(made) if isinstance(made, bytes) else sum(map(len, made))
    print(f"{name:<44} {statistics.median(costs):>8.2f} ms {length / 1024:>9.1f} KiB", flush=True)


def main() -> None:
    instance = parse_instance(Path(get_testdata_file("CT_small.dcm", download=False)).read_bytes()).dicom_json
    packed = []
    for number in range(INSTANCES):
        instance["00080018"] = {"vr": "UI", "Value": [f"1.2.3.{number}"]}
        instance["00200013"] = {"vr": "IS", "Value": [number]}
        packed.append(pack_metadata(instance))
    url = "http://testserver/dicom-web/studies/1.2/series/1.2.3/instances/1.2.3.4"
    page = b"[" + b",".join(unpack_metadata(each, url) for each in packed) + b"]"
    fields = parse_include_fields([VIEWER])
    documents = documents_of(page)
    measure("made of what is stored", lambda: b",".join(unpack_metadata(each, url) for each in packed))
    measure("seven fields, values skipped over", lambda: only_included(page, fields))
    measure("seven fields, values built", lambda: orjson.dumps(_built(page, fields.keys or frozenset())))
    measure("XML", lambda: documents_of(page))
    measure("read from XML", lambda: orjson.dumps([read_native_xml(each) for each in documents]))
    for coding in (Coding.ZSTD, Coding.GZIP):
        measure(coding.value, lambda coding=coding: encode(page, coding))


def _built(page: bytes, keys: frozenset[str]) -> list[dict[str, object]]:
    return [{key: value for key, value in each.items() if key in keys} for each in orjson.loads(page)]


if __name__ == "__main__":
    main()
