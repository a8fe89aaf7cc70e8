"""Torch and ONNX say the same; MONAI builds the shipped network; training goes its way: all with torch."""

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from ai_engine.bundle import SHIPPED_BUNDLES, load_bundle
from ai_engine.bundles.lung_nodule_ct.scripts.detect import Settings, detect
from ai_engine.bundles.lung_nodule_ct.scripts.network import PATCH, SIDE, Networks
from ai_engine.phantom.nodule_scans.scan import NoduleScan

pytestmark = [pytest.mark.torch, pytest.mark.slow]
BUNDLE = SHIPPED_BUNDLES / "lung_nodule_ct"


class TorchNetworks(Networks):
    """The same networks by torch, built and loaded by MONAI's parser from the bundle's configuration."""

    def __init__(self) -> None:
        super().__init__(BUNDLE / "models")
        from monai.bundle import ConfigParser

        parser = ConfigParser(json.loads((BUNDLE / "configs" / "inference.json").read_text()))
        parser["bundle_root"], parser["device"] = str(BUNDLE), "cpu"
        names = ("network", "strict", "classifier")
        self.unet, self.strict, self.classifier = (parser.get_parsed_content(name) for name in names)
        for name in names:
            parser.get_parsed_content(f"load_{name}")

    def _logits(self, image: np.ndarray) -> np.ndarray:
        import torch

        with torch.inference_mode():
            return self.unet(torch.from_numpy(image[None, None].copy()))[0, 0].numpy()

    def _strict_logits(self, image: np.ndarray) -> np.ndarray:
        import torch

        with torch.inference_mode():
            return self.strict(torch.from_numpy(image[None, None].copy()))[0, 0].numpy()

    def judge(self, patches: np.ndarray) -> np.ndarray:
        import torch

        with torch.inference_mode():
            return self.classifier(torch.from_numpy(patches.copy()))[:, 0].double().numpy()


@pytest.fixture(scope="module")
def by_torch() -> TorchNetworks:
    return TorchNetworks()


def test_logits_are_the_same(by_torch: TorchNetworks) -> None:
    rng = np.random.default_rng(1)
    image = rng.random((48, 64, 56), np.float32)
    patches = rng.random((3, 2, PATCH, PATCH, PATCH), np.float32)
    by_onnx = Networks(BUNDLE / "models")
    assert np.abs(by_torch.logits(image) - by_onnx.logits(image)).max() < 2e-3
    regions = rng.random((2, SIDE, SIDE, SIDE), np.float32)
    assert np.abs(by_torch.second_look(regions) - by_onnx.second_look(regions)).max() < 2e-3
    assert np.abs(by_torch.judge(patches) - by_onnx.judge(patches)).max() < 2e-3


def test_detections_are_the_same(by_torch: TorchNetworks, with_nodule: NoduleScan) -> None:
    settings = Settings.of(load_bundle(BUNDLE).manifest.parameters)
    affine = with_nodule.geometry.affine
    one = detect(with_nodule.voxels, affine, settings, Networks(BUNDLE / "models"))
    other = detect(with_nodule.voxels, affine, settings, by_torch)
    assert np.mean(one["labels"] != other["labels"]) < 1e-6
    assert len(one["detections"]) == len(other["detections"]) > 0
    for first, second in zip(one["detections"], other["detections"], strict=True):
        assert first["probability"] == pytest.approx(second["probability"], abs=1e-3)
        assert first["center"] == pytest.approx(second["center"], abs=0.01)


def test_monai_windows_give_what_the_whole_box_gives(by_torch: TorchNetworks) -> None:
    from monai.bundle import ConfigParser

    parser = ConfigParser(json.loads((BUNDLE / "configs" / "inference.json").read_text()))
    inferer = parser.get_parsed_content("inferer")
    image = np.random.default_rng(2).random((96, 96, 120), np.float32)
    import torch

    with torch.inference_mode():
        windowed = inferer(torch.from_numpy(image[None, None]), by_torch.unet)[0, 0].numpy()
    whole = by_torch.logits(image)
    inner = (slice(40, 56),) * 3
    assert np.abs(windowed[inner] - whole[inner]).max() < 0.05


@pytest.mark.timeout(600)
def test_a_tiny_training_run_learns_and_writes_a_bundle(tmp_path: Path) -> None:
    from ai_engine.training.recipe import TINY
    from ai_engine.training.start import TrainingUnavailable, start

    told: list[str] = []
    figures = start("lung-nodule-ct", tmp_path / "made", TINY, told.append)
    assert figures["losses"]["model"][-1] < figures["losses"]["model"][0]
    made = load_bundle(tmp_path / "made")
    assert 0 <= made.manifest.detections[0].least_probability <= 1
    assert Networks(made.path / "models").logits(np.zeros((16, 16, 16), np.float32)).shape == (16, 16, 16)
    assert figures["scans"] == TINY.validation_scans
    network = (made.path / "models" / "model.onnx").read_bytes()
    (made.path / "models" / "classifier.onnx").unlink()  # as if it had been broken off there
    told.clear()
    again = start("lung-nodule-ct", made.path, TINY, told.append)
    assert again["losses"].keys() == {"classify"}
    assert (made.path / "models" / "model.onnx").read_bytes() == network
    with pytest.raises(TrainingUnavailable, match="is there already"):
        start("lung-nodule-ct", made.path, replace(TINY, seed=2), told.append)
