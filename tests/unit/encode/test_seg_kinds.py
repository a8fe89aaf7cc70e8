"""The Segmentation Types, multi-frame sources, and what other software reads: dcmqi by its own ITK images."""

import dataclasses
import gzip
import re
import shutil
import subprocess
import sys
from collections.abc import Callable
from io import BytesIO
from pathlib import Path

import highdicom as hd
import numpy as np
import pytest
from pydicom import Dataset, dcmread
from pydicom.uid import EnhancedCTImageStorage

from ai_engine.encode import seg as seg_module
from ai_engine.encode.images import NoPlaceInPatient, Source
from ai_engine.encode.publication import encode
from ai_engine.encode.source import Making
from ai_engine.findings import Findings
from ai_engine.manifest import ResultObjects

from .conftest import AXIAL, blob, make_findings, make_slices
from .detections import detected, nodule
from .test_seg import OBLIQUE, OBLIQUE_NORMAL, places_in_seg, places_of_labels, without_slices

# Of images this small the coded pixels may take as many bytes as the plain ones, which pydicom finds odd.
pytestmark = pytest.mark.filterwarnings("ignore:The number of bytes of compressed pixel data:UserWarning")

KINDS = ["binary", "labelmap", "fractional"]
PLACED = [
    pytest.param(AXIAL, (0.0, 0.0, 2.5), id="axial"),
    pytest.param(AXIAL, (0.0, 0.0, -2.5), id="descending"),
    pytest.param(OBLIQUE, tuple(-3.0 * n for n in OBLIQUE_NORMAL), id="oblique, descending"),
]
World = set[tuple[float, float, float]]


def read(part10: bytes) -> Dataset:
    return dcmread(BytesIO(part10))


def encoded(making: Making, slices: list[Dataset], kind: str) -> bytes:
    asked = ResultObjects(segmentation=kind)  # type: ignore[arg-type]
    result = encode(make_findings(blob(slices)), Source(slices), making, (), asked)
    assert result.seg is not None
    return result.seg.part10


@pytest.mark.parametrize("kind", KINDS)
def test_every_kind_holds_the_same_voxels(making: Making, kind: str) -> None:
    slices = make_slices(6, AXIAL, (0.0, 0.0, -2.5))
    seg = hd.seg.segread(BytesIO(encoded(making, slices, kind)))
    assert seg.SegmentationType == kind.upper()
    uids = [image.SOPInstanceUID for image in slices[1:5]]
    pixels = seg.get_pixels_by_source_instance(uids, combine_segments=True, relabel=False)
    assert np.array_equal(np.asarray(pixels, np.uint8), blob(slices)[1:5])


def test_fractional_knows_no_more_than_the_labels(making: Making) -> None:
    seg = read(encoded(making, make_slices(), "fractional"))
    assert (seg.SegmentationFractionalType, seg.MaximumFractionalValue) == ("OCCUPANCY", 255)
    assert set(np.unique(seg.pixel_array)) == {0, 255}


def with_fractions(labels: np.ndarray) -> Findings:
    """Segments 1 and 2 of the blob, each less likely the farther down, and somewhat beside them."""
    falling = np.linspace(1, 0.6, labels.shape[1])[None, :, None]
    fractions = {n: np.rint(255 * falling * np.where(labels == n, 1, 0.25)).astype(np.uint8) for n in (1, 2)}
    return dataclasses.replace(make_findings(labels), fractions=fractions)


@pytest.mark.parametrize("step", [2.5, -2.5])
def test_fractions_are_the_models_probabilities(
    making: Making, run_tool: Callable[..., str], step: float
) -> None:
    slices = make_slices(6, AXIAL, (0.0, 0.0, step))
    findings = with_fractions(blob(slices))
    result = encode(findings, Source(slices), making, (), ResultObjects(segmentation="fractional"))
    assert result.seg is not None
    seg = hd.seg.segread(BytesIO(result.seg.part10))
    assert (seg.SegmentationFractionalType, seg.MaximumFractionalValue) == ("PROBABILITY", 255)
    uids = [image.SOPInstanceUID for image in slices]
    for number in (1, 2):
        pixels = seg.get_pixels_by_source_instance(uids, segment_numbers=[number])[..., 0]
        assert np.array_equal(np.rint(255 * np.asarray(pixels)), findings.fractions[number])
    assert "Error" not in run_tool("dciodvfy", result.seg.part10)


@pytest.mark.parametrize(("room", "says"), [(0, "PROBABILITY"), (-1, "OCCUPANCY")])
def test_more_probabilities_than_there_is_room_for_are_occupancy(
    making: Making, monkeypatch: pytest.MonkeyPatch, room: int, says: str
) -> None:
    slices = make_slices(6)
    findings = with_fractions(blob(slices))
    for each in findings.fractions.values():
        each[4:] = 0  # which makes no frame and takes no room
    monkeypatch.setattr(seg_module, "MAX_PROBABILITIES", 2 * findings.fractions[1][:4].size + room)
    asked = ResultObjects(segmentation="fractional")
    result = encode(findings, Source(slices), making, (), asked)
    assert result.seg is not None
    assert read(result.seg.part10).SegmentationFractionalType == says


def test_fractions_of_some_segments_alone_are_occupancy(making: Making) -> None:
    findings = with_fractions(blob(make_slices(6)))
    findings = dataclasses.replace(findings, fractions={1: findings.fractions[1]})
    asked = ResultObjects(segmentation="fractional")
    result = encode(findings, Source(make_slices(6)), making, (), asked)
    assert result.seg is not None
    seg = read(result.seg.part10)
    assert seg.SegmentationFractionalType == "OCCUPANCY"
    assert set(np.unique(seg.pixel_array)) == {0, 255}


@pytest.mark.parametrize("kind", ["binary", "fractional"])  # dciodvfy 2022 does not know LABELMAP's SOP Class
def test_dciodvfy_finds_no_error(making: Making, run_tool: Callable[..., str], kind: str) -> None:
    said = run_tool("dciodvfy", encoded(making, make_slices(), kind))
    assert "Segmentation" in said
    assert "Error" not in said


@pytest.mark.parametrize(("orientation", "step"), PLACED)
@pytest.mark.parametrize("kind", KINDS)
def test_dcmqi_finds_each_voxel_at_its_place(
    making: Making,
    tmp_path: Path,
    kind: str,
    orientation: tuple[float, ...],
    step: tuple[float, float, float],
) -> None:
    slices = make_slices(6, orientation, step)
    read_by_dcmqi = itk_places(encoded(making, slices, kind), tmp_path)
    for number in (1, 2):
        assert read_by_dcmqi[number] == places_of_labels(slices, blob(slices), number)


def itk_places(part10: bytes, folder: Path) -> dict[int, World]:
    """LPS positions of the voxels of each segment, from the NRRD files that dcmqi writes."""
    tool = shutil.which("segimage2itkimage", path=str(Path(sys.executable).parent))
    assert tool is not None, "dcmqi is not installed; it is in the extra dev"
    (folder / "seg.dcm").write_bytes(part10)
    words = ["--inputDICOM", "seg.dcm", "--outputDirectory", ".", "--prefix", "made", "--outputType", "nrrd"]
    done = subprocess.run([tool, *words], cwd=folder, capture_output=True, timeout=60, check=False)
    assert done.returncode == 0, done.stderr.decode(errors="replace")
    found: dict[int, World] = {}
    is_fractional = dcmread(BytesIO(part10)).SegmentationType == "FRACTIONAL"
    for file in sorted(folder.glob("made-*.nrrd")):
        head, _, body = file.read_bytes().partition(b"\n\n")
        fields = dict(re.findall(r"^([\w ]+): (.+)$", head.decode(), re.MULTILINE))
        assert (fields["space"], fields["encoding"]) == ("left-posterior-superior", "gzip")
        sizes = [int(size) for size in fields["sizes"].split()]
        voxels = np.frombuffer(gzip.decompress(body), fields["type"].replace("unsigned char", "uint8"))
        directions, origin = (
            np.array(triples(fields[name])) for name in ("space directions", "space origin")
        )
        voxels = voxels.reshape(sizes[::-1])
        for number in set(np.unique(voxels)) - {0}:
            index = np.argwhere(voxels == number)[:, ::-1]
            places = np.round(origin[0] + index @ directions, 3) + 0.0
            segment = int(file.stem.removeprefix("made-")) if is_fractional else int(number)
            found.setdefault(segment, set()).update(tuple(map(float, place)) for place in places)  # type: ignore[misc]
    return found


def triples(text: str) -> list[list[float]]:
    return [[float(number) for number in triple.split(",")] for triple in re.findall(r"\(([^)]+)\)", text)]


class TestMultiFrame:
    """Planes that are frames of one image."""

    def source(self) -> Source:
        slices = make_slices(6)
        for image in slices:
            image.SOPClassUID, image.SOPInstanceUID = EnhancedCTImageStorage, "2.25.71"
        return Source(slices, [4, 5, 6, 7, 8, 9])

    def test_frames_of_the_segmentation_name_frames_of_the_source(self, making: Making) -> None:
        source = self.source()
        result = encode(make_findings(blob(list(source.slices))), source, making)
        assert result.seg is not None
        seg = read(result.seg.part10)
        position_of = dict(
            zip([4, 5, 6, 7, 8, 9], [image.ImagePositionPatient for image in source.slices], strict=True)
        )
        for group in seg.PerFrameFunctionalGroupsSequence:
            named = group.DerivationImageSequence[0].SourceImageSequence[0]
            assert named.ReferencedSOPClassUID == EnhancedCTImageStorage
            assert named.ReferencedSOPInstanceUID == "2.25.71"
            position = group.PlanePositionSequence[0].ImagePositionPatient
            assert position == position_of[named.ReferencedFrameNumber]
        (instance,) = seg.ReferencedSeriesSequence[0].ReferencedInstanceSequence
        assert instance.ReferencedSOPInstanceUID == "2.25.71"
        labels = blob(list(source.slices))
        assert places_in_seg(seg)[1] == places_of_labels(list(source.slices), labels, 1)

    def test_the_report_names_frames(self, making: Making, run_tool: Callable[..., str]) -> None:
        source = self.source()
        found = detected(list(source.slices), nodule(list(source.slices), 1, segment_number=7))
        result = encode(found, source, making, (), ResultObjects(key_images=True))
        assert result.seg is not None
        for made in (result.sr, *result.others):
            frames = {
                reference.get("ReferencedFrameNumber")
                for element in read(made.part10).iterall()
                if element.keyword == "ReferencedSOPSequence"
                for reference in element.value
                if reference.ReferencedSOPInstanceUID == "2.25.71"
            }
            assert 6 in frames  # slice 2
            assert frames <= {6, None}  # None: the evidence names the image as a whole
            assert "Error" not in run_tool("dciodvfy", made.part10)
        assert "Error" not in run_tool("dciodvfy", result.seg.part10)


def test_images_without_a_place_take_no_segmentation(making: Making) -> None:
    slices = make_slices(1)
    labels = np.zeros((1, 12, 10), np.uint8)
    labels[0, 3:5, 4:9] = 1
    for keyword in ("ImagePositionPatient", "ImageOrientationPatient"):
        del slices[0][keyword]
    with pytest.raises(NoPlaceInPatient):
        encode(without_slices(make_findings(labels)), Source(slices), making)  # type: ignore[arg-type]
