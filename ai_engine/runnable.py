"""Whether a bundle can run as its manifest says: its runtime, its network, the files that the kind needs.

Rule: nothing of the bundle is executed or opened here but its names.
"""

from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any

from ai_engine.manifest import Manifest
from ai_engine.network import faults_of

Json = Any

ONNX_WEIGHTS = "models/model.onnx"


def against_running(path: Path, manifest: Manifest, metadata: Mapping[str, Json]) -> Iterator[str]:
    """What keeps the model of this bundle from running; `metadata` is MONAI's."""
    yield from CHECKS[manifest.runtime.kind](path, manifest)
    if manifest.wants.input == "projections":
        yield from _of_projections(manifest)
    if manifest.runtime.kind == "torch" and manifest.wants.input == "volume":
        yield from _of_single_images(manifest, metadata)
    weights = manifest.runtime.weights
    if weights is not None and not _is_inside(path, weights):
        yield f"runtime.weights: the bundle has no file {weights}"


def _python(path: Path, manifest: Manifest) -> Iterator[str]:
    module, colon, function = (manifest.runtime.entry or "").partition(":")
    if not (colon and function.isidentifier() and all(map(str.isidentifier, module.split(".")))):
        yield 'runtime.entry is not "package.module:function"'
    elif not path.joinpath(*module.split(".")).with_suffix(".py").is_file():
        yield f"runtime.entry: the bundle has no module {module}"


def _of_projections(manifest: Manifest) -> Iterator[str]:
    """Radiographs go to code of a bundle only, and have no place in the patient to draw a result at."""
    if manifest.runtime.kind != "python":
        yield "wants.input: projections go to models of the kind python only"
    if manifest.segments or manifest.detections:
        yield "wants.input: there are no segments and detections on projections"


def _onnx(path: Path, manifest: Manifest) -> Iterator[str]:
    if manifest.runtime.weights is None and not (path / ONNX_WEIGHTS).is_file():
        yield f"runtime.kind is onnx, and the bundle has no {ONNX_WEIGHTS}"
    yield from _windowed(manifest)


def _remote(_path: Path, manifest: Manifest) -> Iterator[str]:
    if manifest.runtime.remote is None:
        yield "runtime.remote is missing"
    elif manifest.network is not None and not (manifest.network.input and manifest.network.output):
        yield "network: a remote model's input and output need names"
    yield from _windowed(manifest)


def _torch(path: Path, manifest: Manifest) -> Iterator[str]:
    if manifest.runtime.weights is None and not any(path.glob("models/model.*")):
        yield "runtime.kind is torch, and the bundle has no models/model.pt, .ts or .onnx"


def _of_single_images(manifest: Manifest, metadata: Mapping[str, Json]) -> Iterator[str]:
    """A segmentation of single images goes slice by slice; boxes of slices would have to be joined."""
    image, said = _formats(metadata)
    task = manifest.network.task if manifest.network else None
    flat = isinstance(image.get("spatial_shape"), list) and len(image["spatial_shape"]) == 2
    if flat and (task == "detection" or (task is None and said.get("type") == "object")):
        yield "metadata.json: boxes of single images are not read; the network must take volumes"


def _formats(metadata: Mapping[str, Json]) -> tuple[Mapping[str, Json], Mapping[str, Json]]:
    """What MONAI's metadata say of the first input and output; empty where they do not."""
    found: list[Mapping[str, Json]] = []
    for side, name in (("inputs", "image"), ("outputs", "pred")):
        at: Json = metadata
        for key in ("network_data_format", side, name):
            at = at.get(key) if isinstance(at, Mapping) else None
        found.append(at if isinstance(at, Mapping) else {})
    return found[0], found[1]


def _windowed(manifest: Manifest) -> Iterator[str]:
    if manifest.network is None:
        yield "network is missing"
        return
    faults = faults_of(
        manifest.network,
        segments=[segment.number for segment in manifest.segments],
        scores=[score.name for score in manifest.scores],
        detections=[detection.name for detection in manifest.detections],
    )
    yield from (f"network: {fault}" for fault in faults)
    outputs = {output.name for output in manifest.outputs}
    for number, name in manifest.network.volumes.items():
        if not number.isdecimal() or name not in outputs:
            yield f"network: volumes: {number} or {name} is unknown"


def _is_inside(path: Path, name: str) -> bool:
    file = (path / name).resolve()
    return file.is_relative_to(path) and file.is_file()


CHECKS: Mapping[str, Callable[[Path, Manifest], Iterator[str]]] = {
    "python": _python,
    "onnx": _onnx,
    "remote": _remote,
    "torch": _torch,
}
