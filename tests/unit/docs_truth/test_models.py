"""docs/models.md names every field of the manifest, with its default, and every reason of a refusal."""

import re
from collections.abc import Iterator
from typing import Any, get_args

import msgspec
import pytest

from ai_engine.findings import Code
from ai_engine.manifest import Manifest
from ai_engine.preprocess.refusal import RefusalReason
from ai_engine.runners.port import RunnerFault
from server.workflows.models import shipped_bundles

ROW = re.compile(r"^\| `([a-z_.\[\]]+)` \| [^|]+ \| ([^|]+) \|", re.MULTILINE)


def structs_in(annotation: Any) -> Iterator[Any]:
    """The structs that a field's type is made of."""
    if isinstance(annotation, type) and issubclass(annotation, msgspec.Struct):
        yield annotation
    for argument in get_args(annotation):
        yield from structs_in(argument)


def fields(struct: Any, path: str = "") -> Iterator[tuple[str, Any]]:
    """(path, default) of every field; a `Code` has rows of its own."""
    for field in msgspec.structs.fields(struct):
        here = f"{path}{field.name}"
        yield here, "required" if field.required else field.default
        many = "[]" if "tuple" in str(field.type) else ""
        for inner in structs_in(field.type):
            yield from fields(inner, f"{here}{many}.")


def shown(default: Any) -> str:
    if default == "required":
        return "required"
    if default in (None, (), {}, msgspec.NODEFAULT):
        return "none"
    if isinstance(default, tuple):
        return ", ".join(f"`{each}`" for each in default)
    if isinstance(default, msgspec.Struct):
        return "as below"
    if isinstance(default, str):
        return f"`{default}`"
    return f"`{str(default).lower() if isinstance(default, bool) else format(default, 'g')}`"


@pytest.fixture
def page(reference: dict[str, str]) -> str:
    return reference["models.md"]


def test_every_field_of_the_manifest_stands_with_its_default(page: str) -> None:
    section = page.partition("## 2. Manifest")[2].partition("\n## ")[0]
    told = {path: default.strip() for path, default in ROW.findall(section)}
    wanted = {path: shown(default) for path, default in fields(Manifest)}
    codes = {f"code.{name}": "required" for name in Code.__dataclass_fields__}
    assert told == wanted | codes


def test_there_are_fields_to_look_for() -> None:
    paths = {path for path, _ in fields(Manifest)}
    assert {"runtime.memory_mb", "wants.quiet_time_s", "outputs[].concept", "segments[].rgb"} <= paths


def test_every_refusal_stands_in_the_page(page: str) -> None:
    assert [reason.value for reason in RefusalReason if f"`{reason.value}`" not in page] == []


def test_every_fault_of_a_runner_stands_in_the_page(page: str) -> None:
    codes = [RunnerFault.code, *(fault.code for fault in RunnerFault.__subclasses__())]
    assert len(codes) > 4
    assert [code for code in codes if f"`{code}`" not in page] == []


def test_every_output_of_the_shipped_models_stands_in_the_page_or_its_card(reference: dict[str, str]) -> None:
    for bundle in shipped_bundles():
        page = reference["models.md"] + reference.get(f"models/{bundle.manifest.name}.md", "")
        assert f"`{bundle.manifest.name}`" in page
        assert f"`{bundle.manifest.version}`" in page
        assert [o.name for o in bundle.manifest.outputs if f"`{o.name}`" not in page] == []
