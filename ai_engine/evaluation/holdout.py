"""A holdout set: a folder with `holdout.json`, which names cases and what is true of them.

    {"holdout_version": 1, "title": "…", "cases": [
        {"id": "case-1", "dicom": "case-1", "labels": "case-1.npy", "truth": {"positive": true}},
        {"id": "seed-7", "phantom": {"generator": "chest", "spec": {"seed": 7}}, "truth": {…}}]}

A case is a folder of DICOM files, or a generated phantom with the SHA-256 of its voxels: a generator that
changed is noticed. `labels` is an array (.npy, uint8) with axes (slice, row, column) in the volume's order.
"""

import hashlib
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import Annotated, Any, Literal

import msgspec
import numpy as np
from msgspec import Meta
from numpy.typing import NDArray
from pydicom import Dataset, dcmread
from pydicom.errors import InvalidDicomError

from ai_engine.evaluation.outcome import Truth
from ai_engine.phantom.chest import Phantom, PhantomSpec, make_phantom
from ai_engine.phantom.datasets import PhantomStudy, datasets_of
from ai_engine.preprocess.encoded import UNREADABLE
from ai_engine.preprocess.refusal import RefusalReason, SeriesRefused
from server.kernel.faults import Fault, FaultKind

HOLDOUT_FILE = "holdout.json"
MAX_HOLDOUT_BYTES = 64 << 20  # of holdout.json
MAX_CASES = 20_000

CaseId = Annotated[str, Meta(pattern=r"^[A-Za-z0-9][A-Za-z0-9._-]*$", max_length=64)]


class HoldoutInvalid(Fault):
    """The folder is no holdout set, or a case is not what it says."""

    kind = FaultKind.UNPROCESSABLE


class PhantomCase(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """A case that is generated."""

    generator: str
    spec: dict[str, Any]
    voxels_sha256: str | None = None


class Case(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """One case: either `dicom` or `phantom`."""

    id: CaseId
    truth: Truth
    dicom: str | None = None  # a folder of the set
    phantom: PhantomCase | None = None
    labels: str | None = None  # a file of the set; of a phantom its own are there


class Holdout(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """The whole of `holdout.json`."""

    holdout_version: Literal[1]
    title: Annotated[str, Meta(min_length=1, max_length=256)]
    cases: Annotated[tuple[Case, ...], Meta(min_length=1, max_length=MAX_CASES)]


@dataclass(frozen=True, slots=True, eq=False)
class LoadedCase:
    """A case at hand: its images, the true label map, and what is true of it."""

    datasets: Sequence[Dataset]
    labels: NDArray[np.uint8] | None
    truth: Truth


def read_holdout(folder: Path) -> Holdout:
    """The set in a folder.

    Raises:
        HoldoutInvalid: a file is missing or says something that cannot be.
    """
    file = folder / HOLDOUT_FILE
    if not file.is_file() or file.stat().st_size > MAX_HOLDOUT_BYTES:
        raise HoldoutInvalid(f"{HOLDOUT_FILE} is missing or larger than {MAX_HOLDOUT_BYTES >> 20} MiB")
    try:
        holdout = msgspec.json.decode(file.read_bytes(), type=Holdout)
    except (msgspec.DecodeError, msgspec.ValidationError) as error:
        raise HoldoutInvalid(f"{HOLDOUT_FILE}: {error}") from error
    if len({case.id for case in holdout.cases}) != len(holdout.cases):
        raise HoldoutInvalid(f"{HOLDOUT_FILE}: two cases have one id")
    for case in holdout.cases:
        _check(folder, case)
    return holdout


def _check(folder: Path, case: Case) -> None:
    if (case.dicom is None) == (case.phantom is None):
        raise HoldoutInvalid(f"{case.id}: a case is either dicom or phantom")
    if case.phantom is not None and case.phantom.generator not in GENERATORS:
        raise HoldoutInvalid(f"{case.id}: the generators are {', '.join(sorted(GENERATORS))}")
    for name in filter(None, (case.dicom, case.labels)):
        if PurePosixPath(name).is_absolute() or ".." in PurePosixPath(name).parts:
            raise HoldoutInvalid(f"{case.id}: {name} leads out of the set")
        if not (folder / name).exists():
            raise HoldoutInvalid(f"{case.id}: {name} is missing")


def load_case(folder: Path, case: Case) -> LoadedCase:
    """The images and labels of a case.

    Raises:
        HoldoutInvalid: the generator makes other voxels than when the set was made, or the labels are none.
        SeriesRefused: a file of the images is no DICOM file.
    """
    if case.phantom is not None:
        return GENERATORS[case.phantom.generator](case)
    files = sorted(path for path in (folder / str(case.dicom)).rglob("*") if path.is_file())
    datasets = list(map(_image, files))
    labels = None if case.labels is None else _labels(folder / case.labels, case)
    return LoadedCase(datasets, labels, case.truth)


def _image(path: Path) -> Dataset:
    try:
        return dcmread(path)
    except (*UNREADABLE, InvalidDicomError) as error:
        raise SeriesRefused(RefusalReason.NO_IMAGES, "a file of the series is no DICOM file") from error


def _labels(path: Path, case: Case) -> NDArray[np.uint8]:
    try:
        labels: NDArray[np.uint8] = np.load(path, allow_pickle=False)
    except ValueError as error:
        raise HoldoutInvalid(f"{case.id}: the labels are no array") from error
    if labels.dtype != np.uint8 or labels.ndim != 3:
        raise HoldoutInvalid(f"{case.id}: the labels are not uint8 with three axes")
    return labels


def _chest(case: Case) -> LoadedCase:
    assert case.phantom is not None
    try:
        spec = PhantomSpec(**case.phantom.spec)
    except TypeError as error:
        raise HoldoutInvalid(f"{case.id}: the generator knows no such specification") from error
    study = PhantomStudy(seed=spec.seed, salt=f"holdout-{case.id}")
    phantom: Phantom = make_phantom(spec, study.uid("frame-of-reference"))
    require_voxels(case, phantom.voxels)
    return LoadedCase(list(datasets_of(phantom, study)), phantom.truth_labels, case.truth)


def require_voxels(case: Case, voxels: NDArray[np.int16]) -> None:
    """Refuse a generated case that is not what it was when the set was made.

    Raises:
        HoldoutInvalid: the voxels are others.
    """
    wanted = case.phantom.voxels_sha256 if case.phantom else None
    if wanted is not None and hashlib.sha256(np.ascontiguousarray(voxels).data).hexdigest() != wanted:
        raise HoldoutInvalid(f"{case.id}: the generator makes other voxels than when the set was made")


GENERATORS: Mapping[str, Callable[[Case], LoadedCase]] = {"chest": _chest}
