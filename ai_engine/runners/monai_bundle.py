"""A bundle of MONAI's Model Zoo, opened as it is: what it does before, with and after its network.

Of `configs/inference.json` (or YAML) the parts `preprocessing`, `network_def`, `inferer` and `postprocessing`
are used; its dataset and evaluator are not, for they read folders and need pytorch-ignite. What loads images
from files and what saves results is taken out: volumes come by memory, answers go by memory. Where
postprocessing stands in a handler that saves (detection), it is run by us.

Configurations are programs: this runs in the child, behind its walls.
"""

import sys
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

Json = Any

LOADERS = frozenset({"LoadImaged", "LoadImageD", "LoadImageDict"})
SAVERS = frozenset({"SaveImaged", "SaveImageD", "SaveImageDict", "SaveClassificationd"})
WEIGHTS = ("models/model.pt", "models/model.ts", "models/model.onnx")  # in the order they are looked for


@dataclass(slots=True)
class MonaiBundle:
    """The parts of one bundle, ready to run on `device`."""

    preprocessing: Callable[[Any], Any]
    network: Any
    inferer: Any
    postprocessing: Callable[[Any], Any]
    device: Any
    image_key: str
    task: str  # segmentation, classification or detection
    image_dimensions: int  # of what it is given at once: 3 too where its inferer goes from slice to slice
    image_channels: int
    channels: Mapping[str, str]  # of the output: channel_def
    mixed_precision: bool
    boxes: "BoxFrame"


@dataclass(frozen=True, slots=True)
class BoxFrame:
    """What the numbers of a box are, after postprocessing."""

    mode: str  # xyzxyz: corners; cccwhd: centre and size
    frame: str  # LPS, RAS: world, mm; image: index of the preprocessed image


def open_bundle(bundle: str, options: Json) -> MonaiBundle:
    """The bundle in this folder, its network with its weights."""
    import torch
    from monai.bundle import ConfigParser

    parser = ConfigParser()
    parser.read_config(str(_inference_file(bundle)))
    parser.read_meta(str(Path(bundle) / "configs/metadata.json"))
    config = parser.config
    device = torch.device("cuda:0" if options["device"] != "cpu" else "cpu")
    config["bundle_root"] = bundle
    config["device"] = f"$torch.device('{device}')"
    _without_files(config)
    if bundle not in sys.path:
        sys.path.insert(0, bundle)  # for its `scripts`
    _import_all(parser)
    for reference in _wanted_first(config):
        parser.get_parsed_content(reference)
    network = _network(parser, bundle, options, device)
    inferer = parser.get_parsed_content("inferer")
    formats = parser.get("_meta_")["network_data_format"]
    return MonaiBundle(
        preprocessing=parser.get_parsed_content("preprocessing"),
        network=network,
        inferer=inferer,
        postprocessing=parser.get_parsed_content("postprocessing"),
        device=device,
        image_key=str(config.get("image_key", "image")),
        task=options["task"] or _task_of(formats),
        image_dimensions=_image_dimensions(config, formats),
        image_channels=int(formats["inputs"]["image"]["num_channels"]),
        channels=formats["outputs"]["pred"].get("channel_def", {}),
        mixed_precision=device.type == "cuda" or options["precision"] == "bf16",
        boxes=_box_frame(config),
    )


def _inference_file(bundle: str) -> Path:
    files = (Path(bundle) / f"configs/inference.{ending}" for ending in ("json", "yaml", "yml"))
    return next(file for file in files if file.is_file())


def _without_files(config: Json) -> None:
    """Take out what reads and writes files; a loader that adds a channel leaves that step behind."""
    before = config["preprocessing"]["transforms"]
    config["preprocessing"]["transforms"] = [
        kept for each in before if (kept := _without_loader(each)) is not None
    ]
    after = config.get("postprocessing", {"_target_": "Compose", "transforms": []})
    after["transforms"] = [each for each in after["transforms"] if _target(each) not in SAVERS]
    config["postprocessing"] = after


def _without_loader(transform: Json) -> Json:
    if _target(transform) not in LOADERS:
        return transform
    if transform.get("ensure_channel_first"):
        return {"_target_": "EnsureChannelFirstd", "keys": transform["keys"]}
    return None


def _target(transform: Json) -> str:
    return str(transform.get("_target_", "")).rpartition(".")[2] if isinstance(transform, dict) else ""


def _import_all(parser: Any) -> None:
    """Run the configuration's imports; "import" is a spelling that nothing but some bundles knows."""
    if "imports" in parser.config:
        parser.get_parsed_content("imports")


def _wanted_first(config: Json) -> list[str]:
    """What the evaluator requires to have been run, such as the settings of a detector."""
    required = config.get("evaluator", {}).get("_requires_", [])
    names = [required] if isinstance(required, str) else required
    return [name.removeprefix("@") for name in names if name.startswith("@")]


def _task_of(formats: Json) -> str:
    said = formats["outputs"]["pred"]
    if said.get("type") == "object":
        return "detection"
    return "segmentation" if said.get("format") in ("segmentation", "hounsfield") else "classification"


def _image_dimensions(config: Json, formats: Json) -> int:
    """Of a network for single images whose inferer takes a volume apart, the zoo states the network's."""
    if _target(config["inferer"]) == "SliceInferer":
        return 3
    return len(formats["inputs"]["image"]["spatial_shape"])


def _network(parser: Any, bundle: str, options: Json, device: Any) -> Any:
    """The network with its weights, on the device, for inference only."""
    import torch

    weights = _weights_file(parser, bundle, options)
    if weights.suffix == ".onnx":
        return _OnnxNetwork(str(weights), options["threads"], device)
    if weights.suffix == ".ts":
        return torch.jit.load(str(weights), map_location=device).eval()
    network = parser.get_parsed_content("network" if "network" in parser.config else "network_def")
    pickled = bool(options["allow_pickled_weights"])
    state = torch.load(weights, map_location=device, weights_only=not pickled)
    if isinstance(state, Mapping) and isinstance(state.get("model"), Mapping):
        state = state["model"]  # as MONAI's CheckpointLoader reads it
    network.load_state_dict(state)
    return network.to(device).eval()


def _weights_file(parser: Any, bundle: str, options: Json) -> Path:
    names: list[str] = (
        [options["weights"]] if options["weights"] else [_checkpoint_of(parser, bundle), *WEIGHTS]
    )
    for name in filter(None, names):
        if (Path(bundle) / name).is_file():
            return Path(bundle) / name
    raise FileNotFoundError


def _checkpoint_of(parser: Any, bundle: str) -> str:
    """The file that the configuration's checkpoint loader names, relative to the bundle; "": none."""
    handlers = parser.config.get("handlers", [])
    places = {f"handlers#{number}": each for number, each in enumerate(handlers)}
    for place, loader in {"checkpointloader": parser.config.get("checkpointloader"), **places}.items():
        if _target(loader) == "CheckpointLoader":
            path = str(parser.get_parsed_content(f"{place}#load_path"))
            return path.removeprefix(f"{bundle}/")
    return ""


def _box_frame(config: Json) -> BoxFrame:
    mode, frame = "xyzxyz", "image"
    for transform in config["postprocessing"]["transforms"]:
        if _target(transform) == "AffineBoxToWorldCoordinated":
            frame = "LPS" if transform.get("affine_lps_to_ras") else "RAS"
        elif _target(transform) == "ConvertBoxModed":
            mode = str(transform["dst_mode"])
    return BoxFrame(mode, frame)


class _OnnxNetwork:
    """A network that onnxruntime runs, called as one of torch."""

    def __init__(self, file: str, threads: int, device: Any) -> None:
        import onnxruntime

        settings = onnxruntime.SessionOptions()
        settings.intra_op_num_threads = threads
        settings.log_severity_level = 4
        self._session = onnxruntime.InferenceSession(file, settings, providers=["CPUExecutionProvider"])
        self._device = device

    def __call__(self, inputs: Any) -> Any:
        import torch

        given = {self._session.get_inputs()[0].name: torch.as_tensor(inputs).cpu().float().numpy()}
        return torch.from_numpy(self._session.run(None, given)[0]).to(self._device)
