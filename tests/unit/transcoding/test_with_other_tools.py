"""What is sent, read by dcmtk and dicom3tools: transcoded files, and the Native DICOM Model."""

import io
import shutil
import subprocess
from collections import Counter
from pathlib import Path
from xml.etree import ElementTree

import numpy as np
import pydicom
import pytest

from dicomweb.definitions import transfer_syntaxes as ts
from dicomweb.pixels.syntaxes import HTJ2K
from dicomweb.wire.instance import parse_instance
from dicomweb.wire.native_xml import native_xml
from tests.unit.transcoding.kit import installed_files, transcoded
from tests.unit.transcoding.test_file import pairs

pytestmark = [pytest.mark.slow, pytest.mark.filterwarnings("ignore::UserWarning")]
DECODER = {  # of dcmtk
    **dict.fromkeys(
        (ts.JPEGBaseline8Bit, ts.JPEGExtended12Bit, ts.JPEGLossless, ts.JPEGLosslessSV1), "dcmdjpeg"
    ),
    **dict.fromkeys((ts.JPEGLSLossless, ts.JPEGLSNearLossless), "dcmdjpls"),
    ts.RLELossless: "dcmdrle",
}
LOSSY = frozenset({ts.JPEGBaseline8Bit, ts.JPEGExtended12Bit, ts.JPEGLSNearLossless})
# dicom3tools takes what it does not know for native, or reads on in deflated bytes.
NOT_KNOWN = HTJ2K | {ts.DeflatedImageFrameCompression, ts.DeflatedExplicitVRLittleEndian}


def run(tool: str, *arguments: object) -> subprocess.CompletedProcess[str]:
    path = shutil.which(tool)
    assert path is not None, f"{tool} is not installed; the test set-up installs dicom3tools and dcmtk"
    return subprocess.run(
        [path, *map(str, arguments)], capture_output=True, text=True, errors="replace", check=False
    )


def errors_of(path: Path) -> Counter[str]:
    said = run("dciodvfy", "-new", path).stderr.splitlines()
    return Counter(line for line in said if line.startswith("Error"))


@pytest.mark.parametrize(("name", "target"), pairs())
def test_transcoded_files(name: str, target: str, tmp_path: Path) -> None:
    """dcmdump reads them, dciodvfy finds no fault that was not there, dcmtk decodes the same pixels."""
    stored, made, decoded = installed_files()[name], tmp_path / "made.dcm", tmp_path / "decoded.dcm"
    made.write_bytes(transcoded(stored.read_bytes(), target))
    dumped = run("dcmdump", "-q", made)
    assert (dumped.returncode, dumped.stderr) == (0, "")
    is_deflated = parse_instance(stored.read_bytes()).transfer_syntax_uid in NOT_KNOWN
    if target not in NOT_KNOWN and not is_deflated:
        new = errors_of(made) - errors_of(stored)
        assert [error for error in new if "<YBR_FULL>" not in error] == []  # of JPEG; an old edition's list
    if target not in DECODER:
        return
    as_it_is = ["+cn"] if DECODER[target] == "dcmdjpeg" else []  # no conversion of the colour space
    run_decoder = run(DECODER[target], *as_it_is, made, decoded)
    assert run_decoder.returncode == 0, run_decoder.stderr
    ours = io.BytesIO(transcoded(stored.read_bytes(), ts.ExplicitVRLittleEndian))
    found, expected = pydicom.dcmread(decoded), pydicom.dcmread(ours)
    if target not in LOSSY:
        assert np.array_equal(samples(found), samples(expected))


def samples(dataset: pydicom.Dataset) -> np.ndarray:
    """Stored values, by pixel, without what lies above High Bit, which codings do not keep."""
    cells = pydicom.pixels.get_decoder(dataset.file_meta.TransferSyntaxUID).as_array(dataset, raw=True)[0]
    cells = cells.view(f"u{cells.dtype.itemsize}")
    return cells & ((1 << (dataset.HighBit + 1)) - 1)


def by_tag(data_set: ElementTree.Element) -> dict[tuple[str, str], ElementTree.Element]:
    return {(each.get("tag", ""), each.get("privateCreator", "")): each for each in data_set}


def values(attribute: ElementTree.Element) -> list[object]:
    """The texts of its values; numbers as numbers, of which dcmtk writes fewer digits."""
    texts = [(each.text or "").strip() for each in attribute.iter() if each.tag.endswith(("Value", "Name"))]
    return [number(text) for text in texts if text]


def number(text: str) -> object:
    try:
        return pytest.approx(float(text), rel=1e-6)
    except ValueError:
        return text


def is_creator(tag: str) -> bool:
    """Whether it reserves a block of private attributes; these name it (PS3.19 Table A.1.5-2)."""
    return int(tag[3], 16) % 2 == 1 and tag[4:6] == "00"


@pytest.mark.parametrize(
    "name", ["CT_small.dcm", "examples_palette.dcm", "MR_small_RLE.dcm", "liver_1frame.dcm"]
)
def test_native_dicom_model_is_that_of_dcm2xml(name: str) -> None:
    path = installed_files()[name]
    theirs = by_tag(ElementTree.fromstring(run("dcm2xml", "-nat", "+U8", path).stdout))
    ours = by_tag(ElementTree.fromstring(native_xml(parse_instance(path.read_bytes()).dicom_json)))
    for key, attribute in theirs.items():
        is_left_out = key[0].startswith("0002") or key[0] in ("00080005", "FFFCFFFC") or is_creator(key[0])
        if is_left_out or attribute.get("vr") == "UN":
            continue
        assert ours[key].get("vr") == attribute.get("vr"), key
        assert ours[key].get("keyword") == attribute.get("keyword"), key
        assert values(ours[key]) == values(attribute), key
