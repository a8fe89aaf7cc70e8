"""Which runner runs which kind of model; a kind is a line in a table."""

from collections.abc import Callable, Mapping

import msgspec

from ai_engine.bundle import Bundle
from ai_engine.manifest import Manifest, Runtime
from ai_engine.runners.gpus import CPU
from ai_engine.runners.port import Runner
from ai_engine.runners.process import ProcessRunner, Program, RunnerLimits, RunnerPolicy
from ai_engine.runners.remote import RemoteRunner, RemoteTarget
from server.kernel.faults import Fault, FaultKind

MakeRunner = Callable[[Bundle, RunnerPolicy, str], Runner]


class UnsupportedRunnerKind(Fault):
    """A manifest names a kind, or an inference server, that this installation does not have."""

    kind = FaultKind.NOT_IMPLEMENTED


def runner_for(bundle: Bundle, policy: RunnerPolicy, device: str = CPU) -> Runner:
    """The runner of a bundle on this device ("cpu", "cuda:N"); no process starts before its first run.

    Raises:
        UnsupportedRunnerKind: no runner of that kind.
    """
    make = RUNNERS.get(bundle.manifest.runtime.kind)
    if make is None:
        raise UnsupportedRunnerKind(f"runner kind is not one of: {', '.join(sorted(RUNNERS))}")
    return make(bundle, policy, device)


def limits_of(runtime: Runtime, device: str = CPU) -> RunnerLimits:
    """What one run of the model may take."""
    return RunnerLimits(runtime.memory_mb, runtime.timeout_s, runtime.threads, device)


def _python(bundle: Bundle, policy: RunnerPolicy, device: str) -> Runner:
    runtime = bundle.manifest.runtime
    program = Program(entry=runtime.entry or "", batch=runtime.batch)
    return ProcessRunner(bundle.path, program, limits_of(runtime, device), policy)


def _onnx(bundle: Bundle, policy: RunnerPolicy, device: str) -> Runner:
    return _ours("onnx", {**_options(bundle.manifest, device), **_network(bundle.manifest)}, bundle, policy)


def _torch(bundle: Bundle, policy: RunnerPolicy, device: str) -> Runner:
    runtime, network = bundle.manifest.runtime, bundle.manifest.network
    options = {
        **_options(bundle.manifest, device),
        "task": network.task if network else None,
        "names": list(network.names if network and network.names else _names(bundle.manifest)),
        "volumes": network.volumes if network else {},
        "precision": runtime.precision,
        "allow_pickled_weights": runtime.allow_pickled_weights and policy.allow_pickled_weights,
        "least_probability": min((each.least_probability for each in bundle.manifest.detections), default=0),
    }
    return _ours("torch", options, bundle, policy)


def _remote(bundle: Bundle, policy: RunnerPolicy, _device: str) -> Runner:
    runtime = bundle.manifest.runtime
    assert runtime.remote is not None  # the loader looked
    url = policy.inference_servers.get(runtime.remote.server)
    if url is None:
        raise UnsupportedRunnerKind(f"no inference server {runtime.remote.server} in the settings")
    target = RemoteTarget(url, runtime.remote, runtime.timeout_s, runtime.memory_mb)
    return RemoteRunner(target, _windows(bundle.manifest))


def _ours(name: str, options: Mapping[str, object], bundle: Bundle, policy: RunnerPolicy) -> Runner:
    runtime = bundle.manifest.runtime
    limits = limits_of(runtime, str(options["device"]))
    return ProcessRunner(
        bundle.path, Program(name=name, options=options, batch=runtime.batch), limits, policy
    )


def _options(manifest: Manifest, device: str) -> Mapping[str, object]:
    runtime = manifest.runtime
    return {
        "device": device,
        "threads": runtime.threads,
        "weights": runtime.weights,
        "gpu_memory_mb": runtime.gpu_memory_mb or 0,
    }


def _network(manifest: Manifest) -> Mapping[str, object]:
    return {"network": _windows(manifest)}


def _windows(manifest: Manifest) -> dict[str, object]:
    """The section `network`, and the segments whose probabilities are asked for, in their order.

    Without an activation nobody knows whether a network's output is probabilities.
    """
    network = manifest.network
    asked = network is not None and network.task == "segmentation" and network.activation != "none"
    is_fractional = asked and manifest.results.segmentation == "fractional"
    numbers = [segment.number for segment in manifest.segments] if is_fractional else []
    return {**msgspec.to_builtins(network), "fractions": numbers}


def _names(manifest: Manifest) -> list[str]:
    """What a bundle's classes stand for when the manifest does not say: its detections or scores in order."""
    return [each.name for each in manifest.detections or manifest.scores]


RUNNERS: Mapping[str, MakeRunner] = {"python": _python, "onnx": _onnx, "torch": _torch, "remote": _remote}
