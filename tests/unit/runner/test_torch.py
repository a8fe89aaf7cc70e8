"""The kind `torch`: bundles in the layouts of MONAI's Model Zoo run as they are, and answer on our axes."""

import io
import json
from collections.abc import AsyncIterator, Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest

from ai_engine.bundle import load_bundle
from ai_engine.geometry import Geometry
from ai_engine.runners import torch_program
from ai_engine.runners.grids import grid_over, onto
from ai_engine.runners.kinds import runner_for
from ai_engine.runners.monai_answers import detections_of
from ai_engine.runners.monai_bundle import BoxFrame
from ai_engine.runners.port import ModelOutputInvalid, ModelRaised, Runner, RunnerInput
from ai_engine.runners.process import RunnerPolicy
from ai_engine.runners.torch_program import Torch, image_of
from ai_engine.runners.windowed import Source
from tests import zoo_bundles
from tests.made_bundles import DETECTION, SEGMENTING, manifest_of, score, write_bundle
from tests.onnx_model import voxelwise

pytestmark = [pytest.mark.torch, pytest.mark.slow, pytest.mark.filterwarnings("ignore")]

RUNTIME = {"kind": "torch", "memory_mb": 8192, "timeout_s": 240}
UNET = {
    "_target_": "UNet",
    "spatial_dims": 3,
    "in_channels": 1,
    "out_channels": 2,
    "channels": [4, 8],
    "strides": [2],
    "num_res_units": 1,
    "norm": "batch",
}
VOXELWISE = {"_target_": "torch.nn.Conv3d", "in_channels": 1, "out_channels": 2, "kernel_size": 1}
DENSE = {"_target_": "DenseNet", "spatial_dims": 2, "in_channels": 3, "out_channels": 4, "init_features": 4}
DENSE |= {"growth_rate": 2, "block_config": [1, 1]}

MakeTorch = Callable[..., Runner]


def saved(state: Any) -> bytes:
    import torch

    buffer = io.BytesIO()
    torch.save(state, buffer)
    return buffer.getvalue()


def voxelwise_weights(gain: float = 40.0) -> dict[str, Any]:
    """Above the middle of the scaled intensities the second channel is the likelier one."""
    import torch

    return {
        "weight": torch.tensor([0.0, gain]).reshape(2, 1, 1, 1, 1),
        "bias": torch.tensor([0.0, -gain / 2]),
    }


@pytest.fixture
async def make_torch(tmp_path: Path) -> AsyncIterator[MakeTorch]:
    made: list[Runner] = []

    def make(
        layout: Any, files: dict[str, bytes | str], *, policy: RunnerPolicy | None = None, **meaning: Any
    ) -> Runner:
        manifest = manifest_of({**RUNTIME, **meaning.pop("runtime", {})}, **meaning)
        inference, metadata = layout
        folder = tmp_path / f"bundle{len(made)}"
        write_bundle(folder, manifest, inference=inference, metadata=metadata, files=files)
        made.append(runner_for(load_bundle(folder), policy or RunnerPolicy()))
        return made[-1]

    yield make
    for runner in made:
        await runner.close()


def oblique_work(ball_at: tuple[float, float, float], radius: float = 4.0) -> RunnerInput:
    """A ball of 160 HU in -50 HU; slices from the head down, the whole turned about the body's axis."""
    shape = (20, 28, 24)
    turn = np.array([[0.96, -0.28, 0], [0.28, 0.96, 0], [0, 0, 1]])
    affine = np.eye(4)
    affine[:3, :3] = turn @ np.array([[0, 0, 1.0], [0, 1.0, 0], [-2.0, 0, 0]])
    affine[:3, 3] = (-12, -14, 40)
    distance = np.linalg.norm((np.indices(shape).T - np.array(ball_at)) * (2, 1, 1), axis=-1).T
    voxels = np.where(distance <= radius, 160, -50).astype(np.int16)
    return RunnerInput(voxels, Geometry(shape, affine, "2.25.1"), {})


def dice(one: np.ndarray, other: np.ndarray) -> float:
    return float(2 * (one & other).sum() / (one.sum() + other.sum()))


def scripted() -> bytes:
    import torch

    network = torch.nn.Conv3d(1, 2, 1)
    network.load_state_dict(voxelwise_weights())
    buffer = io.BytesIO()
    torch.jit.save(torch.jit.trace(network, torch.zeros(1, 1, 4, 4, 4)), buffer)
    return buffer.getvalue()


WEIGHTS: dict[str, Callable[[], bytes]] = {
    "models/model.pt": lambda: saved(voxelwise_weights()),
    "models/model.ts": scripted,
    "models/model.onnx": lambda: voxelwise([0, 40], [0, -20]),
}


@pytest.mark.parametrize("weights", WEIGHTS)
async def test_segmentation_comes_back_on_the_input_grid(make_torch: MakeTorch, weights: str) -> None:
    runner = make_torch(zoo_bundles.segmentation(VOXELWISE), {weights: WEIGHTS[weights]()}, **SEGMENTING)
    work = oblique_work((8, 15, 10))
    labels = (await runner.run(work)).labels
    assert labels is not None
    assert dice(labels == 1, work.voxels > 0) > 0.9
    assert labels[8, 15, 10] == 1


def one_side_up(layout: Any, *left_out: str, **inferer: Any) -> Any:
    """The bundle with its image turned to RAS and no step that changes a shape, without these steps."""
    inference, metadata = layout
    for part in ("preprocessing", "postprocessing"):
        steps = inference[part]["transforms"]
        kept = [each for each in steps if each["_target_"] not in ("Spacingd", *left_out)]
        inference[part]["transforms"] = kept
    if inferer:
        inference["inferer"] = inferer
    return inference, metadata


def axial_work() -> RunnerInput:
    """As scanners send it: columns to the left, rows to the back, slices to the head; off the middle."""
    work = oblique_work((8, 20, 6))
    return RunnerInput(work.voxels, Geometry(work.voxels.shape, AXIAL, "2.25.1"), {})


AXIAL = np.array([[0, 0, 1.0, -12], [0, 1.0, 0, -14], [2.0, 0, 0, -20], [0, 0, 0, 1]])


WHOLE = {"_target_": "SimpleInferer"}  # what a network says of it need not say where


@pytest.mark.parametrize(
    ("weights", "inferer"), [("models/model.pt", {}), *((each, WHOLE) for each in WEIGHTS)]
)
async def test_segmentation_without_inversion_is_not_mirrored(
    make_torch: MakeTorch, weights: str, inferer: Any
) -> None:
    layout = one_side_up(zoo_bundles.segmentation(VOXELWISE), "Invertd", **inferer)
    runner = make_torch(layout, {weights: WEIGHTS[weights]()}, **SEGMENTING)
    work = axial_work()
    labels = (await runner.run(work)).labels
    assert labels is not None
    assert np.array_equal(labels == 1, work.voxels > 0)


FLAT = {**VOXELWISE, "_target_": "torch.nn.Conv2d"}
SLICES = {"_target_": "SliceInferer", "roi_size": [16, 16], "spatial_dim": 2}  # ventricular_short_axis_3label
WINDOWS = {"_target_": "SlidingWindowInferer", "roi_size": [16, 16]}


@pytest.mark.parametrize("inferer", [SLICES, WINDOWS], ids=["by the bundle", "by us"])
async def test_segmentation_of_single_images_runs_slice_by_slice(make_torch: MakeTorch, inferer: Any) -> None:
    inference, metadata = one_side_up(zoo_bundles.segmentation(FLAT), "Orientationd", **inferer)
    metadata["network_data_format"]["inputs"]["image"]["spatial_shape"] = [16, 16]
    weights = {name: value.squeeze(-1) for name, value in voxelwise_weights().items()}
    weights["bias"] = voxelwise_weights()["bias"]
    runner = make_torch((inference, metadata), {"models/model.pt": saved(weights)}, **SEGMENTING)
    work = oblique_work((8, 15, 10))
    output = await runner.run(work)
    assert output.labels is not None
    assert np.array_equal(output.labels == 1, work.voxels > 0)


PLANES = {  # columns to the left or the back, rows to the feet or the back; 0.5 mm and 0.8 mm
    "axial": ((0.5, 0, 0), (0, 0.8, 0)),
    "sagittal": ((0, 0.5, 0), (0, 0, -0.8)),
    "coronal": ((0.5, 0, 0), (0, 0, -0.8)),
    "oblique": ((0.5, 0, 0), (0, 0.64, 0.48)),
}


@pytest.mark.parametrize("plane", PLANES)
def test_single_image_lies_in_its_own_plane(plane: str) -> None:
    from monai.transforms import Compose, EnsureChannelFirst, Orientation, Spacing

    column, row = (np.array(each) for each in PLANES[plane])
    affine = np.eye(4)
    affine[:3, :3] = np.stack([4 * np.cross(column, row), row, column], axis=1)
    bundle: Any = SimpleNamespace(image_dimensions=2, image_channels=1)
    image = image_of(bundle, np.arange(40 * 30, dtype=np.int16).reshape(1, 40, 30), affine)
    assert np.linalg.norm(image.affine[:2, :2], axis=0) == pytest.approx([0.5, 0.8])
    made = Compose([EnsureChannelFirst(), Orientation("LP"), Spacing((1.0, 1.0))])(image)
    assert made.shape[1:] == pytest.approx((15, 32), abs=1)
    assert made[0, 0, 0] < made[0, -1, 0] < made[0, -1, -1]  # as it is shown


def test_slices_of_a_volume_are_scaled_alike(monkeypatch: pytest.MonkeyPatch) -> None:
    voxels = np.full((2, 8, 8), -1000, np.int16)
    voxels[:, 2:6, 2:6] = 40
    voxels[1, 0, 0] = 3071  # metal
    seen: list[Any] = []
    monkeypatch.setattr(torch_program, "predict", lambda _, image: (seen.append(image), None))
    monkeypatch.setattr(torch_program, "labels_of", lambda *_: 0)
    program = Torch.__new__(Torch)
    program._bundle = SimpleNamespace(image_dimensions=2, image_channels=3)  # type: ignore[assignment]
    program._labels(voxels, np.eye(4))
    tissue = [float(image[3, 3, 0]) for image in seen]
    assert tissue == pytest.approx([255 * 1040 / 4071] * 2)
    assert float(seen[0].min()) == 0


async def test_configuration_may_be_yaml(make_torch: MakeTorch, tmp_path: Path) -> None:
    inference, metadata = zoo_bundles.segmentation(VOXELWISE)
    files = {
        "models/model.pt": saved(voxelwise_weights()),
        "configs/inference.yaml": "---\n" + json.dumps(inference),  # YAML takes JSON in
    }
    folder = write_bundle(
        tmp_path / "yaml", manifest_of(RUNTIME, **SEGMENTING), metadata=metadata, files=files
    )
    (folder / "configs/inference.json").unlink()
    runner = runner_for(load_bundle(folder), RunnerPolicy())
    work = oblique_work((8, 15, 10))
    labels = (await runner.run(work)).labels
    await runner.close()
    assert labels is not None
    assert dice(labels == 1, work.voxels > 0) > 0.9


async def test_segmentation_that_says_no_place_is_refused(make_torch: MakeTorch) -> None:
    inference, metadata = one_side_up(zoo_bundles.segmentation(VOXELWISE), "Invertd")
    bare = {"_target_": "Lambdad", "keys": "pred", "func": "$lambda x: x.as_tensor()", "track_meta": False}
    inference["postprocessing"]["transforms"].append(bare)
    runner = make_torch((inference, metadata), {"models/model.pt": saved(voxelwise_weights())}, **SEGMENTING)
    with pytest.raises(ModelOutputInvalid, match="place"):
        await runner.run(axial_work())


async def test_segmentation_is_what_the_zoo_itself_makes_of_a_file(
    make_torch: MakeTorch, tmp_path: Path
) -> None:
    import nibabel
    import torch
    from monai import bundle

    torch.manual_seed(3)
    inference, metadata = zoo_bundles.segmentation(UNET)
    parser = bundle.ConfigParser(dict(inference))
    state = parser.get_parsed_content("network_def").state_dict()
    runner = make_torch((inference, metadata), {"models/model.pt": saved({"model": state})}, **SEGMENTING)
    work = oblique_work((8, 15, 10))
    labels = (await runner.run(work)).labels

    images = tmp_path / "imagesTs"
    images.mkdir()
    ras = np.diag([-1.0, -1.0, 1.0, 1.0]) @ work.geometry.affine @ np.eye(4)[:, [2, 1, 0, 3]]
    nibabel.save(nibabel.Nifti1Image(work.voxels.transpose(2, 1, 0), ras), images / "volume.nii.gz")
    inference["dataset_dir"] = str(tmp_path)
    inference["postprocessing"]["transforms"] = inference["postprocessing"]["transforms"][:-1]  # not saved
    parser = bundle.ConfigParser(inference)
    network = parser.get_parsed_content("network_def").eval()
    network.load_state_dict(state)
    (batch,) = parser.get_parsed_content("dataloader")
    with torch.no_grad():
        batch["pred"] = parser.get_parsed_content("inferer")(batch["image"], network)
    from monai.data.utils import decollate_batch

    (theirs,) = map(parser.get_parsed_content("postprocessing"), decollate_batch(batch))
    wanted = theirs["pred"][0].numpy().transpose(2, 1, 0)
    assert labels is not None
    assert 0 < wanted.sum() < wanted.size
    assert (labels == wanted).mean() > 0.999  # a voxel whose channels are nearly alike may fall either way


async def test_boxes_of_the_world_become_detections(make_torch: MakeTorch) -> None:
    import torch

    files = {
        "models/model.pt": saved({"gain": torch.tensor(1.0)}),
        "scripts/__init__.py": "",
        "scripts/detector.py": zoo_bundles.DETECTOR,
    }
    runner = make_torch(zoo_bundles.detection(), files, detections=[DETECTION])
    work = oblique_work((8, 15, 10))
    work.voxels[...] = np.where(work.voxels > 0, 300, -1000)
    (found,) = (await runner.run(work)).detections  # the unlikely one is below the manifest's least
    assert found.name == "nodule"
    assert found.probability == pytest.approx(0.9)
    assert found.centre == pytest.approx((8, 15, 10), abs=0.6)
    assert found.box is not None
    low, high = found.box
    assert (high[0] - low[0]) * 2 == pytest.approx(8, abs=2.6)  # of a ball 8 mm across


def test_leaning_stack_stands_on_a_grid_like_monais() -> None:
    import torch
    from monai.data import MetaTensor
    from monai.transforms import Orientation, Spacing

    affine = np.array([[0, 0, 0.8, -20], [0.9, 0.8, 0, -30], [2, 0, 0, 5], [0, 0, 0, 1]])
    places = np.tensordot(affine[:3, :3], np.indices((20, 48, 44)), 1) + affine[:3, 3, None, None, None]
    middle = affine @ (9.5, 24, 22, 1)
    distance = np.hypot(places[0] - middle[0], places[1] - middle[1])
    rod = (1000 * np.clip(4.5 - distance, 0, 1)).astype(np.float32)
    ras = np.diag([-1.0, -1.0, 1.0, 1.0]) @ affine @ np.eye(4)[:, [2, 1, 0, 3]]
    image = MetaTensor(torch.from_numpy(rod.transpose(2, 1, 0)[None].copy()), affine=torch.from_numpy(ras))
    theirs = Spacing((1.0, 1.0, 1.5))(Orientation("RAS")(image))[0].numpy()
    ours = onto(rod, grid_over((20, 48, 44), affine, "RAS", (1.0, 1.0, 1.5)))
    assert ours.shape == theirs.shape
    for plane in (0, 12, ours.shape[2] - 1):
        there, here = (
            [(each[..., plane] * at).sum() / each[..., plane].sum() for at in np.indices(each.shape[:2])]
            for each in (theirs, ours)
        )
        assert here == pytest.approx(there, abs=0.6)  # MONAI parts what is left at both ends


BOX = np.array([10.0, 6, 4, 14, 8, 5])  # x, y, z: four voxels, two and one, as MONAI's masks become boxes


@pytest.mark.parametrize("mode", ["xyzxyz", "cccwhd"])
@pytest.mark.parametrize("frame", ["image", "RAS", "LPS"])
def test_box_is_as_large_as_what_it_is_of(frame: str, mode: str) -> None:
    import torch
    from monai.data import MetaTensor

    ras = np.diag([-0.5, -0.5, 2.0, 1.0])
    box = BOX
    if frame != "image":  # the world is by the affine, and its voxel n lies about n
        ends = np.stack([BOX[:3], BOX[3:]]) - 0.5
        ends = ends * np.diag(ras)[:3] * ((1, 1, 1) if frame == "RAS" else (-1, -1, 1))
        box = np.concatenate([ends.min(axis=0), ends.max(axis=0)])
    if mode == "cccwhd":
        box = np.concatenate([(box[:3] + box[3:]) / 2, box[3:] - box[:3]])
    said = {
        "box": torch.from_numpy(box[None]),
        "label": torch.tensor([0]),
        "label_scores": torch.tensor([0.9]),
    }
    bundle: Any = SimpleNamespace(boxes=BoxFrame(mode, frame))
    image = MetaTensor(torch.zeros(1, 2, 2, 2), affine=torch.from_numpy(ras))
    source = Source(np.zeros((9, 20, 30), np.int16), np.diag([0.5, 0.5, 2.0, 1.0])[:, [2, 1, 0, 3]])
    options = {"names": ["nodule"], "least_probability": 0.5}
    (found,) = detections_of(bundle, said, image, source, options)
    assert found["center"] == pytest.approx((4, 6.5, 11.5))
    assert np.array(found["box"]) == pytest.approx(np.array([(4, 6, 10), (4, 7, 13)]))


async def test_classes_become_scores(make_torch: MakeTorch) -> None:
    import torch
    from monai import bundle

    torch.manual_seed(5)
    layout = zoo_bundles.classification(DENSE)
    network = bundle.ConfigParser({"n": DENSE}).get_parsed_content("n").eval()
    classes = [f"density_{letter}" for letter in "abcd"]
    runner = make_torch(
        layout, {"models/model.pt": saved(network.state_dict())}, scores=[score(each) for each in classes]
    )
    image = np.random.default_rng(2).integers(0, 4000, (1, 50, 40)).astype(np.int16)
    work = RunnerInput(image, Geometry(image.shape, np.diag([1.0, 0.1, 0.1, 1.0]), "2.25.1"), {})
    scores = (await runner.run(work)).scores

    colours = torch.from_numpy(image[0].T.astype(np.float32))[None].repeat(3, 1, 1)
    scaled = (colours - colours.min()) / (colours.max() - colours.min())
    with torch.no_grad():
        small = torch.nn.functional.interpolate(scaled[None], (32, 32), mode="area")
        wanted = torch.sigmoid(network(small))[0].tolist()
    assert [each.name for each in scores] == classes
    assert [each.probability for each in scores] == pytest.approx(wanted, abs=1e-3)


async def test_output_that_is_no_number_is_refused(make_torch: MakeTorch) -> None:
    weights = {"models/model.pt": saved(voxelwise_weights(float("nan")))}
    runner = make_torch(zoo_bundles.segmentation(VOXELWISE), weights, **SEGMENTING)
    with pytest.raises(ModelOutputInvalid, match="not finite"):
        await runner.run(oblique_work((8, 15, 10)))


class Opens:
    """What a pickle may do: anything."""

    def __reduce__(self) -> tuple[Any, ...]:
        return (dict, ([("weight", None)],))


@pytest.mark.parametrize(
    ("manifest", "operator"), [(False, False), (True, False), (False, True)], ids=["neither", "one", "other"]
)
async def test_pickled_weights_need_both_the_manifest_and_the_operator(
    make_torch: MakeTorch, manifest: bool, operator: bool
) -> None:
    state = {**voxelwise_weights(), "extra": Opens()}
    runner = make_torch(
        zoo_bundles.segmentation(VOXELWISE),
        {"models/model.pt": saved(state)},
        policy=RunnerPolicy(allow_pickled_weights=operator),
        runtime={"allow_pickled_weights": manifest},
        **SEGMENTING,
    )
    with pytest.raises(ModelRaised, match="UnpicklingError"):
        await runner.run(oblique_work((8, 15, 10)))


class Scarce(Torch):
    """A bundle whose GPU has memory for a window at a time, or for none."""

    def __init__(self, least: int) -> None:
        self._least, self.tries = least, list[int]()
        self._bundle = type("Parts", (), {"inferer": type("Inferer", (), {"sw_batch_size": 4})()})()

    def _answer(self, *_: np.ndarray) -> dict[str, Any]:
        import torch

        self.tries.append(self._bundle.inferer.sw_batch_size)
        if self.tries[-1] > self._least:
            raise torch.OutOfMemoryError("CUDA out of memory")
        return {"labels": None}


def test_gpu_without_memory_is_asked_once_more_for_single_windows() -> None:
    work = oblique_work((8, 15, 10))
    scarce = Scarce(least=1)
    assert scarce([work.voxels], [work.geometry.affine], {}) == [{"labels": None}]
    assert scarce.tries == [4, 1]
    scarce([work.voxels], [work.geometry.affine], {})  # a smaller volume may fit: windows go together again
    assert scarce.tries == [4, 1, 4, 1]
    with pytest.raises(MemoryError):  # which the child tells as `model-out-of-memory`
        Scarce(least=0)([work.voxels], [work.geometry.affine], {})
