"""The kind `onnx`: a network and its section of the manifest are a model; no code of the bundle runs."""

import asyncio
import errno
from collections.abc import AsyncIterator, Callable
from pathlib import Path
from typing import Any

import msgspec
import numpy as np
import pytest

from ai_engine.bundle import BundleInvalid, load_bundle
from ai_engine.geometry import Geometry
from ai_engine.interpret import interpret
from ai_engine.runners.child import answer_of
from ai_engine.runners.grids import grid_over
from ai_engine.runners.kinds import runner_for
from ai_engine.runners.label_maps import count_fractions, labels_from
from ai_engine.runners.onnx_program import Onnx, TooMuchAtOnce
from ai_engine.runners.port import ModelOutputInvalid, ModelRaised, Runner, RunnerFault, RunnerInput
from ai_engine.runners.process import RunnerPolicy
from tests.made_bundles import DETECTION, SEGMENTING, manifest_of, score, write_bundle
from tests.onnx_model import mean_classifier, voxelwise

MakeOnnx = Callable[..., Runner]

INTENSITY = {"low": -1000, "high": 1000}  # to 0 … 1
ABOVE_ZERO = voxelwise([0, 40], [0, -20])  # the likelier of two channels: above 0 HU
SEGMENTATION = {
    "task": "segmentation",
    "intensity": INTENSITY,
    "roi": [8, 8, 8],
    "activation": "softmax",
    "labels": [0, 1],
    "volumes": {"1": "lung_volume"},
}


@pytest.fixture
async def make_onnx(tmp_path: Path) -> AsyncIterator[MakeOnnx]:
    made: list[Runner] = []

    def make(
        network: Any, model: bytes, *, meaning: Any = SEGMENTING, runtime: Any = None
    ) -> tuple[Runner, Any]:
        manifest = manifest_of({"kind": "onnx", **(runtime or {})}, network=network, **meaning)
        folder = write_bundle(tmp_path / f"bundle{len(made)}", manifest, files={"models/model.onnx": model})
        bundle = load_bundle(folder)
        made.append(runner_for(bundle, RunnerPolicy()))
        return made[-1], bundle.manifest

    yield make
    for runner in made:
        await runner.close()


def volume_with(ball_at: tuple[float, float, float], radius: float = 3.5) -> RunnerInput:
    """A ball of 500 HU in -500 HU; slices from the head down, 2 mm, pixels 1 mm."""
    shape = (12, 20, 16)
    affine = np.array([[0, 0, 1, -8], [0, 1, 0, -10], [-2, 0, 0, 30], [0, 0, 0, 1.0]])
    distance = np.linalg.norm(np.indices(shape).T - np.array(ball_at), axis=-1).T
    voxels = np.where(distance <= radius, 500, -500).astype(np.int16)
    return RunnerInput(voxels, Geometry(shape, affine, "2.25.1"), {})


async def test_segments_what_the_network_finds_on_the_volumes_own_voxels(make_onnx: MakeOnnx) -> None:
    runner, manifest = make_onnx(SEGMENTATION, ABOVE_ZERO)
    work = volume_with((5, 9, 7))
    output = await runner.run(work)
    assert output.labels is not None
    assert np.array_equal(output.labels, work.voxels > 0)
    (volume,) = output.values
    assert volume.value == pytest.approx((work.voxels > 0).sum() * 2 / 1000)
    findings = interpret(manifest, output, work.geometry)
    assert [segment.label for segment in findings.segments] == ["Lung"]


async def test_segments_on_another_grid_within_a_voxel(make_onnx: MakeOnnx) -> None:
    runner, _ = make_onnx({**SEGMENTATION, "spacing_mm": [0.8, 0.8, 0.8], "overlap": 0.5}, ABOVE_ZERO)
    work = volume_with((5, 9, 7))
    labels = (await runner.run(work)).labels
    assert labels is not None
    truth = work.voxels > 0
    assert 2 * (labels.astype(bool) & truth).sum() / (labels.sum() + truth.sum()) > 0.97


async def test_runs_that_wait_together_get_their_own_answers(make_onnx: MakeOnnx) -> None:
    runner, _ = make_onnx({**SEGMENTATION, "batch": 7}, ABOVE_ZERO, runtime={"batch": 4})
    works = [volume_with((5, 9, column)) for column in (4, 6, 8, 10, 12)]
    outputs = await asyncio.gather(*map(runner.run, works))
    for work, output in zip(works, outputs, strict=True):
        assert output.labels is not None
        assert np.array_equal(output.labels, work.voxels > 0)


async def test_detects_where_it_is_hot(make_onnx: MakeOnnx) -> None:
    network = {
        "task": "detection",
        "intensity": INTENSITY,
        "roi": [12, 12, 12],
        "spacing_mm": [1, 1, 1],
        "activation": "sigmoid",
        "threshold": 0.5,
        "names": ["nodule"],
    }
    runner, manifest = make_onnx(network, voxelwise([20], [-10]), meaning={"detections": [DETECTION]})
    work = volume_with((5, 9, 7))
    (found,) = (output := await runner.run(work)).detections
    assert found.centre == pytest.approx((5, 9, 7), abs=0.3)
    assert found.probability == pytest.approx(1 / (1 + np.exp(-5)), abs=1e-3)
    assert found.box is not None
    assert found.box[0][1] == pytest.approx(6, abs=1)
    assert output.labels is not None
    assert output.labels[5, 9, 7] == found.label == 1
    (finding,) = interpret(manifest, output, work.geometry).findings
    assert finding.location is not None
    assert finding.location.centre.lps_mm == pytest.approx((-1, -1, 20), abs=0.6)


async def test_classifies_the_whole_volume(make_onnx: MakeOnnx) -> None:
    network = {
        "task": "classification",
        "intensity": INTENSITY,
        "roi": [6, 6, 6],
        "activation": "softmax",
        "names": ["", "effusion"],
    }
    runner, _ = make_onnx(network, mean_classifier([0, 2], [0, 0]), meaning={"scores": [score("effusion")]})
    work = volume_with((5, 9, 7), radius=0)
    work.voxels[...] = 0
    (said,) = (await runner.run(work)).scores
    assert said.name == "effusion"
    assert said.probability == pytest.approx(1 / (1 + np.exp(-1)), abs=1e-4)


@pytest.mark.parametrize(
    ("model", "fault", "text"),
    [
        pytest.param(
            voxelwise([float("nan"), 1], [0, 0]), ModelOutputInvalid, "not finite", id="not a number"
        ),
        pytest.param(voxelwise([1, 1, 1], [0, 0, 0]), ModelOutputInvalid, "another shape", id="channels"),
        pytest.param(mean_classifier([1, 1], [0, 0]), ModelOutputInvalid, "another shape", id="no volume"),
        pytest.param(b"no network", ModelRaised, "outside the bundle", id="not ONNX"),
    ],
)
async def test_bad_network_is_a_fault(
    make_onnx: MakeOnnx, model: bytes, fault: type[RunnerFault], text: str
) -> None:
    runner, _ = make_onnx(SEGMENTATION, model)
    with pytest.raises(fault, match=text):
        await runner.run(volume_with((5, 9, 7)))


@pytest.mark.parametrize(
    ("changes", "says"),
    [
        ({"roi": None}, "network: roi is missing"),
        ({"axes": "RAL"}, "network: axes"),
        ({"intensity": {"low": 1, "high": 1}}, "intensity.low"),
        ({"labels": [0, 2]}, "labels holds 2"),
        ({"labels": []}, "labels is missing"),
        ({"task": "detection", "names": ["x"]}, "names holds x"),
        ({"task": "detection", "names": [""]}, "threshold is missing"),
        ({"volumes": {"1": "liver"}}, "volumes: 1 or liver"),
    ],
)
def test_network_that_does_not_fit_its_manifest_is_refused(
    tmp_path: Path, changes: dict[str, Any], says: str
) -> None:
    manifest = manifest_of({"kind": "onnx"}, network={**SEGMENTATION, **changes}, **SEGMENTING)
    folder = write_bundle(tmp_path, manifest, files={"models/model.onnx": b""})
    with pytest.raises(BundleInvalid, match=says):
        load_bundle(folder)


def test_what_does_not_fit_at_once_is_tried_one_by_one(tmp_path: Path) -> None:
    """onnxruntime's own errors derive from Exception alone."""
    from onnxruntime.capi.onnxruntime_pybind11_state import RuntimeException

    manifest = manifest_of({"kind": "onnx"}, network={**SEGMENTATION, "batch": 4}, **SEGMENTING)
    bundle = load_bundle(write_bundle(tmp_path, manifest, files={"models/model.onnx": ABOVE_ZERO}))
    options = {"network": msgspec.to_builtins(bundle.manifest.network), "threads": 1, "weights": None}
    model = Onnx(str(tmp_path), {**options, "device": "cpu"})
    network, batches = model._session, []

    class Small:
        def run(self, names: list[str], given: dict[str, Any]) -> Any:
            (windows,) = given.values()
            batches.append(len(windows))
            if len(windows) > most:
                raise RuntimeException("Failed to allocate memory for requested buffer")
            return network.run(names, given)

    model._session = Small()
    work = volume_with((5, 9, 7))
    most = 1
    (answer,) = model([work.voxels], [work.geometry.affine], {})
    assert np.array_equal(answer["labels"], work.voxels > 0)
    assert (batches[0], set(batches[1:])) == (4, {1})
    most = 0
    batches.clear()
    with pytest.raises(MemoryError):
        model([work.voxels], [work.geometry.affine], {})
    assert batches == [4, 1]


def test_memory_that_ends_outside_the_network_is_not_tried_again(monkeypatch: pytest.MonkeyPatch) -> None:
    runs = []

    def run(*_: Any) -> Any:
        runs.append(1)
        raise MemoryError

    monkeypatch.setattr(Onnx, "_run", run)
    model = Onnx.__new__(Onnx)
    model._network = {"batch": 4}
    with pytest.raises(MemoryError):
        model([], [], {})
    assert len(runs) == 1


def test_mapping_beyond_the_limit_is_out_of_memory() -> None:
    assert answer_of(OSError(errno.ENOMEM, "x"), "/bundle") == {"status": "out-of-memory"}
    assert answer_of(OSError(errno.EIO, "x"), "/bundle")["status"] == "raised"


def test_weights_are_files_of_the_bundle(tmp_path: Path) -> None:
    manifest = manifest_of({"kind": "onnx", "weights": "../secret.onnx"}, network=SEGMENTATION, **SEGMENTING)
    with pytest.raises(BundleInvalid, match=r"has no file \.\./secret"):
        load_bundle(write_bundle(tmp_path / "bundle", manifest))


class Short(Onnx):
    """A network with memory for `most` windows at once."""

    def __init__(self, most: int) -> None:
        network = {**SEGMENTATION, "axes": "RAS", "spacing_mm": None, "overlap": 0, "blending": "constant"}
        network |= {"intensity": None, "padding": 0, "batch": 4, "threshold": None, "volumes": {}}
        self._network, self._most = network, most
        self.batches: list[int] = []

    def _predict(self, batch: np.ndarray) -> np.ndarray:
        self.batches.append(len(batch))
        if len(batch) > self._most:
            raise TooMuchAtOnce
        return np.concatenate([np.zeros_like(batch), batch], axis=1)


def test_batch_that_memory_does_not_hold_is_repeated_by_single_windows() -> None:
    work = volume_with((5, 9, 7))
    network = Short(most=3)
    (answer,) = network([work.voxels], [work.geometry.affine], {})
    assert network.batches == [4, *[1] * 12]
    assert np.array_equal(answer["labels"], work.voxels > 0)
    with pytest.raises(MemoryError):
        Short(most=0)([work.voxels], [work.geometry.affine], {})


FRACTIONAL = {**SEGMENTING, "results": {"segmentation": "fractional"}}
GENTLE = voxelwise([0, 4], [0, -2])  # 500 HU are 0.73 likely, -500 HU 0.27


async def test_probabilities_come_back_where_fractions_are_asked_for(make_onnx: MakeOnnx) -> None:
    work = volume_with((5, 9, 7))
    runner, manifest = make_onnx(SEGMENTATION, GENTLE, meaning=FRACTIONAL)
    output = await runner.run(work)
    assert output.fractions is not None
    assert output.labels is not None
    assert output.fractions.shape == (1, *work.voxels.shape)
    wanted = np.rint(255 / (1 + np.exp(2 - 4 * (work.voxels + 1000) / 2000)))
    assert np.abs(output.fractions[0] - wanted).max() <= 1
    assert np.array_equal(output.labels == 1, output.fractions[0] > 127)
    fractions = interpret(manifest, output, work.geometry).fractions
    assert np.array_equal(fractions[1], output.fractions[0])


@pytest.mark.parametrize(
    ("network", "meaning"),
    [
        pytest.param({}, SEGMENTING, id="not asked for"),
        pytest.param({"activation": "none"}, FRACTIONAL, id="nobody knows whether they are probabilities"),
    ],
)
async def test_no_fractions(make_onnx: MakeOnnx, network: Any, meaning: Any) -> None:
    runner, _ = make_onnx({**SEGMENTATION, **network}, GENTLE, meaning=meaning)
    output = await runner.run(volume_with((5, 9, 7)))
    assert output.fractions is None
    assert output.labels is not None


def test_traces_are_left_out_and_what_is_not_bounded_is_not_begun() -> None:
    network = {"fractions": [2, 1], "labels": [0, 1, 2, 2], "activation": "softmax", "threshold": None}
    grid = grid_over((1, 1, 3), np.eye(4), "native", None)
    likely = np.array([[0.98, 0.2, 0.11], [0.01, 0.3, 0.2], [0.005, 0.3, 0.3], [0.005, 0.2, 0.39]])
    labels, fractions = labels_from(likely.astype(np.float32)[:, None, None], grid, network)
    assert fractions is not None
    assert labels.tolist() == [[[0, 1, 2]]]
    assert fractions[:, 0, 0].tolist() == [[0, 128, 176], [0, 76, 51]]
    assert count_fractions((512, 512, 512), network) == 2
    assert count_fractions((512, 512, 513), network) == 0
