"""The program of the runner kind `torch`: bundles of MONAI's Model Zoo, run unchanged in the child.

A volume becomes a tensor with MONAI's axes (x, y, z) and its affine to RAS; what comes back is on the
bundle's input grid (`Invertd`) or, for boxes, in the world, and is turned to (slice, row, column) again.
"""

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ai_engine.runners.child import BadResult
from ai_engine.runners.monai_answers import detections_of, labels_of, scores_of
from ai_engine.runners.monai_bundle import MonaiBundle, open_bundle
from ai_engine.runners.windowed import Source, volumes_of

Json = Any
LPS_TO_RAS = np.diag([-1.0, -1.0, 1.0, 1.0])
REVERSED = np.eye(4)[:, [2, 1, 0, 3]]  # (column, row, slice) to (slice, row, column)
OUT_OF_MEMORY = ("not enough memory", "out of memory")


class Torch:
    """One bundle, ready; called with the volumes of one request, which are run one after the other."""

    def __init__(self, bundle: str, options: Json) -> None:
        import torch

        torch.set_num_threads(options["threads"])
        if options["device"] != "cpu":
            share = (options["gpu_memory_mb"] << 20) / torch.cuda.get_device_properties(0).total_memory
            torch.cuda.set_per_process_memory_fraction(min(1.0, share))
        self._options = options
        self._bundle = open_bundle(bundle, options)

    def __call__(
        self, voxels: Sequence[NDArray[np.generic]], affines: Sequence[NDArray[np.float64]], _parameters: Json
    ) -> list[Mapping[str, Json]]:
        """An answer for each volume.

        Raises:
            MemoryError: there is not enough for one window at once.
            BadResult: what the bundle says is no answer.
        """
        return [self._run(*pair) for pair in zip(voxels, affines, strict=True)]

    def _run(self, voxels: NDArray[np.generic], affine: NDArray[np.float64]) -> Mapping[str, Json]:
        import torch

        try:
            return self._answer(voxels, affine)
        except torch.OutOfMemoryError:
            torch.cuda.empty_cache()
        except RuntimeError as error:
            if not any(word in str(error) for word in OUT_OF_MEMORY):
                raise
        try:
            with _single_windows(self._bundle.inferer):  # once more
                return self._answer(voxels, affine)
        except RuntimeError as error:  # torch.OutOfMemoryError is one
            if isinstance(error, torch.OutOfMemoryError) or any(w in str(error) for w in OUT_OF_MEMORY):
                raise MemoryError from None
            raise

    def _answer(self, voxels: NDArray[np.generic], affine: NDArray[np.float64]) -> Mapping[str, Json]:
        import torch

        if self._bundle.task == "segmentation":
            labels = self._labels(voxels, affine)
            return {"labels": labels, "values": volumes_of(labels, affine, self._options["volumes"])}
        with torch.no_grad():
            said, data = predict(self._bundle, image_of(self._bundle, voxels, affine))
        if self._bundle.task == "detection":
            source = Source(voxels, affine)
            return {"detections": detections_of(self._bundle, said, data, source, self._options)}
        return {"scores": scores_of(said[0], self._options["names"])}

    def _labels(self, voxels: NDArray[np.generic], affine: NDArray[np.float64]) -> NDArray[np.uint8]:
        """The label map; a bundle for single images gets one slice after the other."""
        import torch

        made = np.empty(voxels.shape, np.uint8)
        ends = float(voxels.min()), float(voxels.max())
        size = 1 if self._bundle.image_dimensions == 2 else len(voxels)
        for start in range(0, len(voxels), size):
            part = voxels[start : start + size]
            image = image_of(self._bundle, part, affine, ends)
            with torch.no_grad():
                said, _ = predict(self._bundle, image)
            made[start : start + size] = labels_of(self._bundle, said, image, part.shape)
        return made


@contextmanager
def _single_windows(inferer: Any) -> Iterator[None]:
    """A window at a time, of inferers that know windows; afterwards as many as the bundle says, again."""
    together = getattr(inferer, "sw_batch_size", None)
    if together is not None:
        inferer.sw_batch_size = 1
    try:
        yield
    finally:
        if together is not None:
            inferer.sw_batch_size = together


def _plane_of(affine: NDArray[np.float64]) -> NDArray[np.float64]:
    """The affine (x, y) of a single image: spacings, signs as if axial; it has no axes of the patient."""
    row, column = np.linalg.norm(affine[:3, 1]), np.linalg.norm(affine[:3, 2])
    return np.diag([-column, -row, 1.0])


def image_of(
    bundle: MonaiBundle,
    voxels: NDArray[np.generic],
    affine: NDArray[np.float64],
    ends: tuple[float, float] | None = None,
) -> Any:
    """The volume as MONAI's reader would have given it: (x, y, z), or (x, y[, channel]) for images.

    `ends`: the least and greatest value of what an image is a slice of; None: its own.
    """
    import torch
    from monai.data import MetaTensor

    ras = LPS_TO_RAS @ affine @ REVERSED
    array = np.transpose(voxels, (2, 1, 0)).astype(np.float32)
    channel: float = float("nan")  # MONAI's word for none
    if bundle.image_dimensions == 2:
        if array.shape[2] != 1:
            raise BadResult("the bundle takes single images")
        array, ras = array[:, :, 0], _plane_of(affine)
        if bundle.image_channels == 3:  # made for pictures: eight bits, three colours alike
            low, high = ends or (float(array.min()), float(array.max()))
            array = np.repeat(((array - low) * (255 / max(high - low, 1e-6)))[..., None], 3, axis=2)
            channel = -1
    # a tensor of a single image keeps a 4×4 affine, as MONAI's readers give it
    full = np.eye(4)
    full[: ras.shape[0] - 1, : ras.shape[0] - 1] = ras[:-1, :-1]
    full[: ras.shape[0] - 1, 3] = ras[:-1, -1]
    meta = {
        "original_channel_dim": channel,
        "spatial_shape": np.array(array.shape[: bundle.image_dimensions]),
        "original_affine": full,
        "space": "RAS",
        "filename_or_obj": "volume",
    }
    return MetaTensor(torch.from_numpy(np.ascontiguousarray(array)), affine=torch.from_numpy(full), meta=meta)


def predict(bundle: MonaiBundle, image: Any) -> tuple[Any, Any]:
    """What the bundle says of an image, after its postprocessing, and the image as it was preprocessed."""
    import torch
    from monai.data.utils import decollate_batch, list_data_collate

    key = bundle.image_key
    data = bundle.preprocessing({key: image})
    precision = torch.autocast(bundle.device.type, torch.bfloat16, enabled=bundle.mixed_precision)
    if bundle.task == "detection":
        with precision:
            (found,) = bundle.inferer([data[key].to(bundle.device)], bundle.network)
        _require_finite(*(value for value in found.values() if isinstance(value, torch.Tensor)))
        return bundle.postprocessing({**found, key: data[key]}), data[key]
    batch = list_data_collate([data])
    with precision:
        batch["pred"] = bundle.inferer(batch[key].to(bundle.device), bundle.network)
    batch["pred"] = _placed(batch["pred"].float(), batch[key])
    _require_finite(batch["pred"])
    (done,) = [bundle.postprocessing(each) for each in decollate_batch(batch)]
    return [done["pred"], done], data[key]


def _placed(predicted: Any, image: Any) -> Any:
    """What a network says with the place of the image it was given; not every network hands that on."""
    from monai.data import MetaTensor

    if isinstance(predicted, MetaTensor) or predicted.shape[2:] != image.shape[2:]:
        return predicted
    return MetaTensor(predicted).copy_meta_from(image, copy_attr=False)


def _require_finite(*tensors: Any) -> None:
    import torch

    for each in tensors:
        if each.is_floating_point() and not bool(torch.isfinite(each).all()):
            raise BadResult("the network's output is not finite")


load = Torch
