"""Trained networks as files: state dictionaries for torch, ONNX for the CPU."""

import warnings
from pathlib import Path

import torch
from torch import nn

OPSET = 17
AXES = {0: "n", 2: "z", 3: "y", 4: "x"}


def write_segmenter(network: nn.Module, models: Path, name: str) -> None:
    """A U-Net as `name`.pt and `name`.onnx: any box whose sides are multiples of 8."""
    _write_state(network, models / f"{name}.pt")
    axes = {"image": AXES, "logits": AXES}
    _write_onnx(network, torch.zeros(1, 1, 32, 32, 32), models / f"{name}.onnx", ("image", "logits"), axes)


def write_classifier(network: nn.Module, side: int, models: Path) -> None:
    """`classifier.pt` and `classifier.onnx`: any number of cubes."""
    _write_state(network, models / "classifier.pt")
    axes = {"patches": {0: "n"}, "logits": {0: "n"}}
    example = torch.zeros(2, 2, side, side, side)
    _write_onnx(network, example, models / "classifier.onnx", ("patches", "logits"), axes)


def _write_state(network: nn.Module, file: Path) -> None:
    state = {name: tensor.contiguous() for name, tensor in network.state_dict().items()}
    torch.save(state, file)


def _write_onnx(
    network: nn.Module,
    example: torch.Tensor,
    file: Path,
    names: tuple[str, str],
    axes: dict[str, dict[int, str]],
) -> None:
    network = network.to(memory_format=torch.contiguous_format).eval()
    part = file.with_suffix(".part")
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of the exporter, about itself
        torch.onnx.export(
            network,
            (example,),
            str(part),
            input_names=[names[0]],
            output_names=[names[1]],
            dynamic_axes=axes,
            opset_version=OPSET,
            dynamo=False,  # the other exporter needs onnxscript
        )
    part.rename(file)  # a stage that is there is whole: a run that is begun again goes on from it
