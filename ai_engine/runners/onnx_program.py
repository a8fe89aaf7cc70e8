"""The program of the runner kind `onnx`: onnxruntime on a bundle's `models/model.onnx`, in the child.

Nothing of the bundle is executed: the network's section of the manifest says what goes in and what comes out.
"""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ai_engine.runners.child import BadResult
from ai_engine.runners.windowed import NotFinite, Source, WrongShape, batches_of

Json = Any
OUT_OF_MEMORY = ("bad_alloc", "allocate", "out of memory", "OOM")  # in what onnxruntime says


class TooMuchAtOnce(MemoryError):
    """The network has not enough memory for a batch."""


class Onnx:
    """One network, ready; called with the volumes of one request."""

    def __init__(self, bundle: str, options: Json) -> None:
        import onnxruntime

        network = options["network"]
        settings = onnxruntime.SessionOptions()
        settings.intra_op_num_threads = options["threads"]
        settings.inter_op_num_threads = 1
        settings.log_severity_level = 4  # it writes to standard error, which leads nowhere
        model = str(Path(bundle) / (options["weights"] or "models/model.onnx"))
        self._session = onnxruntime.InferenceSession(model, settings, providers=_providers(options))
        self._input = network["input"] or self._session.get_inputs()[0].name
        self._output = network["output"] or self._session.get_outputs()[0].name
        self._type = np.float16 if network["datatype"] == "FP16" else np.float32
        self._network, self._options = network, options

    def __call__(
        self, voxels: Sequence[NDArray[np.generic]], affines: Sequence[NDArray[np.float64]], _parameters: Json
    ) -> list[Mapping[str, Json]]:
        """An answer for each volume.

        Raises:
            MemoryError: there is not enough for one window at once.
            BadResult: the network's answer is none.
        """
        sources = [Source(*pair) for pair in zip(voxels, affines, strict=True)]
        most = self._network["batch"]
        while True:
            try:
                return self._run(sources, most)
            except TooMuchAtOnce:
                if most == 1:
                    raise
                most = 1

    def _run(self, sources: Sequence[Source], most: int) -> list[Mapping[str, Json]]:
        batches = batches_of(sources, self._network, most)
        try:
            batch = next(batches)
            while True:
                batch = batches.send(self._predict(batch))
        except StopIteration as ended:
            answers: list[Mapping[str, Json]] = ended.value
            return answers
        except NotFinite:
            raise BadResult("the network's output is not finite") from None
        except WrongShape:
            raise BadResult("the network's output has another shape than its window") from None

    def _predict(self, batch: NDArray[np.float32]) -> NDArray[np.generic]:
        try:
            given = {self._input: batch.astype(self._type, copy=False)}
            (said,) = self._session.run([self._output], given)
        except Exception as error:  # onnxruntime's own errors derive from nothing nearer
            if isinstance(error, MemoryError) or any(word in str(error) for word in OUT_OF_MEMORY):
                raise TooMuchAtOnce from None
            raise
        return said  # type: ignore[no-any-return]


def _providers(options: Json) -> list[Any]:
    """CUDA on the child's one device when it has one and onnxruntime was built for it; else the CPU."""
    import onnxruntime

    cpu = "CPUExecutionProvider"
    if options["device"] == "cpu" or "CUDAExecutionProvider" not in onnxruntime.get_available_providers():
        return [cpu]
    limit = {"device_id": 0, "gpu_mem_limit": options["gpu_memory_mb"] << 20}
    return [("CUDAExecutionProvider", limit), cpu]


load = Onnx
