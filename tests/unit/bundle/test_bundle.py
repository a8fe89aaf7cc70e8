"""A bundle folder is loaded and checked; what is wrong is named by file and element."""

import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from pydicom.sr import _concepts_dict

from ai_engine.bundle import BundleInvalid, codes_of, load_bundle, shipped_bundles
from ai_engine.encode.codes import LOCAL_CODES
from tests.made_bundles import DETECTION, SEGMENTING, manifest_of, write_bundle

DEFINITIONS = Path(__file__).parents[3] / "ai_engine" / "definitions" / "isthmus_codes.json"
Change = Callable[[dict[str, Any]], object]


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A copy of the shipped bundle that a test may spoil."""
    return Path(
        shutil.copytree(
            shipped_bundles()[0], tmp_path / "bundle", ignore=shutil.ignore_patterns("__pycache__")
        )
    )


def change(folder: Path, apply: Change, name: str = "isthmus.json") -> None:
    document = json.loads((folder / name).read_text())
    apply(document)
    (folder / name).write_text(json.dumps(document))


def reason(folder: Path) -> str:
    with pytest.raises(BundleInvalid) as caught:
        load_bundle(folder)
    return str(caught.value)


@pytest.mark.parametrize("path", shipped_bundles(), ids=lambda path: path.name)
def test_shipped_bundles_load(path: Path) -> None:
    bundle = load_bundle(path)
    assert bundle.identity.version == bundle.metadata["version"]
    assert bundle.identity.intended_use == "Research use only. Not for clinical use."
    assert len(bundle.digest) == 64


@pytest.mark.parametrize("path", shipped_bundles(), ids=lambda path: path.name)
def test_inference_config_has_the_parameters_of_the_manifest(path: Path) -> None:
    inference = json.loads((path / "configs" / "inference.json").read_text())
    assert inference["parameters"] == load_bundle(path).manifest.parameters


def dictionary_meanings(scheme: str, value: str) -> set[str]:
    """The meanings pydicom's dictionary of PS3.16 knows for a code."""
    keywords = _concepts_dict.concepts[scheme].values()
    return {entry[value][0] for entry in keywords if value in entry}


def own_codes() -> dict[str, str]:
    return {each["code"]: each["display"] for each in json.loads(DEFINITIONS.read_text())["codes"]}


@pytest.mark.parametrize("path", shipped_bundles(), ids=lambda path: path.name)
def test_every_code_is_in_a_dictionary(path: Path) -> None:
    own = own_codes()
    for code in codes_of(load_bundle(path).manifest):
        if code.scheme == "99ISTHMUS":
            assert own.get(code.value) == code.meaning
        else:
            assert code.meaning in dictionary_meanings(code.scheme, code.value), code


def test_our_codes_are_defined_and_fit_their_value_representation() -> None:
    definitions = json.loads(DEFINITIONS.read_text())["codes"]
    assert len({each["code"] for each in definitions}) == len(definitions)
    for each in definitions:
        assert len(each["code"]) <= 16
        assert len(each["display"]) <= 64
        assert each["definition"].endswith(".")
    own = own_codes()
    assert all(own.get(code.value) == code.meaning for code in LOCAL_CODES)


@pytest.mark.parametrize(
    ("apply", "words"),
    [
        pytest.param(lambda m: m.pop("name"), "missing required field `name`", id="missing field"),
        pytest.param(lambda m: m.update(nmae="x"), "unknown field `nmae`", id="misspelt field"),
        pytest.param(lambda m: m["runtime"].update(kind="docker"), "$.runtime.kind", id="unknown kind"),
        pytest.param(lambda m: m["runtime"].update(memory_mb="2"), "$.runtime.memory_mb", id="wrong type"),
        pytest.param(lambda m: m["runtime"].update(timeout_s=0), "$.runtime.timeout_s", id="no time"),
        pytest.param(lambda m: m["runtime"].update(entry="scripts.other:run"), "no module", id="no module"),
        pytest.param(lambda m: m["runtime"].update(entry="quantify"), "runtime.entry", id="no function"),
        pytest.param(lambda m: m["runtime"].update(entry="../x.y:run"), "runtime.entry", id="path"),
        pytest.param(lambda m: m.update(name="CT Quant"), "$.name", id="name"),
        pytest.param(lambda m: m.update(version="2.0.1"), "configs/metadata.json", id="version"),
        pytest.param(lambda m: m["wants"].update(sop_classes=["CTImages"]), "CTImages", id="SOP Class"),
        pytest.param(lambda m: m["outputs"].append(m["outputs"][0]), "occurs 2 times", id="name twice"),
        pytest.param(lambda m: m["outputs"][0].update(finding="none"), "unknown finding none", id="finding"),
        pytest.param(
            lambda m: m["findings"][0].update(segment=2), "tracking_id of its segment", id="segment"
        ),
        pytest.param(
            lambda m: m["conclusion"].update(sentences=[["{nonsense} ml"]]),
            "{nonsense} is no output",
            id="placeholder",
        ),
        pytest.param(
            lambda m: m["outputs"][0]["concept"].update(value="seventeen-letters"),
            "16 characters",
            id="long code",
        ),
        pytest.param(lambda m: m["segments"][0].update(number=0), "$.segments[0].number", id="background"),
    ],
)
def test_a_manifest_that_cannot_be_is_refused(apply: Change, words: str, folder: Path) -> None:
    change(folder, apply)
    assert words in reason(folder)


def test_missing_files_are_named(folder: Path) -> None:
    for name in ("configs/inference.json", "configs/metadata.json", "isthmus.json"):
        (folder / name).unlink()
        assert reason(folder) == f"{name} is missing"


def test_yaml_is_for_bundles_that_monai_reads(tmp_path: Path) -> None:
    for kind, entry in (("torch", {}), ("onnx", {})):
        folder = write_bundle(
            tmp_path / kind,
            manifest_of({"kind": kind, **entry}, **SEGMENTING),
            files={"configs/inference.yaml": "network_def: {}", "models/model.pt": ""},
        )
        (folder / "configs/inference.json").unlink()
    assert load_bundle(tmp_path / "torch").manifest.runtime.kind == "torch"
    assert "YAML is for models of the kind torch" in reason(tmp_path / "onnx")


def test_boxes_of_single_images_are_refused(tmp_path: Path) -> None:
    formats = {"inputs": {"image": {"spatial_shape": [512, 512]}}, "outputs": {"pred": {"type": "object"}}}
    manifest = manifest_of({"kind": "torch"}, detections=[DETECTION])
    files = {"models/model.pt": ""}
    metadata = {"network_data_format": formats}
    write_bundle(tmp_path / "flat", manifest, metadata=metadata, files=files)
    assert "boxes of single images" in reason(tmp_path / "flat")
    formats["inputs"]["image"]["spatial_shape"].append(64)
    load_bundle(write_bundle(tmp_path / "deep", manifest, metadata=metadata, files=files))


def test_broken_json_is_named(folder: Path) -> None:
    (folder / "configs" / "metadata.json").write_text("{")
    assert reason(folder).startswith("configs/metadata.json: ")


def test_a_folder_is_needed(tmp_path: Path) -> None:
    assert reason(tmp_path / "none") == "the bundle is not a folder"


def test_the_digest_changes_with_every_file(folder: Path) -> None:
    before = load_bundle(folder).digest
    (folder / "scripts" / "__pycache__").mkdir()
    (folder / "scripts" / "__pycache__" / "quantify.pyc").write_bytes(b"code")
    assert load_bundle(folder).digest == before
    script = folder / "scripts" / "quantify.py"
    script.write_text(script.read_text() + "\n")
    after = load_bundle(folder).digest
    assert after != before
    script.rename(script.with_name("renamed.py"))
    change(folder, lambda m: m["runtime"].update(entry="scripts.renamed:run"))
    assert load_bundle(folder).digest not in {before, after}


def test_links_are_refused(folder: Path) -> None:
    (folder / "models").symlink_to("/tmp")
    assert reason(folder) == "models is a symbolic link"
