"""`isthmus terminology import`, `list` and `remove`: what they print, and with which exit code they end."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner

from server.cli import cli
from server.kernel.faults import Fault
from terminology.loading import code_system
from terminology.releases import removal, writer
from tests.unit.fhir_profiles.test_packages import MANIFEST, package
from tests.unit.terminology.releases.made_up_loinc import write_zip

Run = Callable[..., tuple[int, list[str]]]

BIG: dict[str, Any] = {
    "resourceType": "CodeSystem",
    "id": "birds",
    "url": "http://example.org/birds",
    "version": "1",
    "status": "active",
    "content": "complete",
    "concept": [
        {
            "code": "bird",
            "display": "Bird",
            "concept": [{"code": f"b{n}", "display": f"Bird {n}"} for n in range(9)],
        },
        {"code": "egg", "property": [{"code": "status", "valueCode": "retired"}]},
    ],
}
SMALL = {**BIG, "id": "two", "url": "http://example.org/two", "concept": [{"code": "a"}, {"code": "b"}]}
VALUE_SET = {"resourceType": "ValueSet", "id": "all", "url": "http://example.org/all", "status": "active"}
PATIENT = {"resourceType": "Patient", "id": "p"}


@pytest.fixture
def run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Run:
    monkeypatch.setattr(code_system, "MAX_LISTED_CONCEPTS", 5)
    monkeypatch.setattr(writer, "SEEN_WITHIN_S", 0)
    monkeypatch.setattr(removal, "SEEN_WITHIN_S", 0)

    def run(*words: Any) -> tuple[int, list[str]]:
        said = ["terminology", *map(str, words), "--data", str(tmp_path / "data")]
        done = CliRunner().invoke(cli, said)
        if isinstance(done.exception, Fault):  # main() makes one line of it
            raise done.exception
        return done.exit_code, done.stdout.splitlines()

    return run


def test_a_large_code_system_becomes_a_release_the_rest_is_stored(tmp_path: Path, run: Run) -> None:
    files = {f"package/{each['id']}.json": each for each in (BIG, SMALL, VALUE_SET, PATIENT)}
    path = package(tmp_path / "p.tgz", {"package/package.json": MANIFEST, **files})
    assert run("import", path) == (
        0,
        [
            "http://example.org/birds|1: 11 concepts, 1 of them inactive.",
            "3 definitions written, 0 unchanged.",
            "1 resources are no terminology and were left out.",
        ],
    )
    code, lines = run("list")
    assert code == 0
    assert [line.rpartition(" ")[0] for line in lines] == ["http://example.org/birds|1 listed 11 concepts"]
    assert run("import", path)[1][1] == "0 definitions written, 3 unchanged."
    assert len(run("list")[1]) == 1
    assert run("remove", "http://example.org/birds|1") == (
        0,
        ["http://example.org/birds|1 is removed: 11 concepts."],
    )
    assert run("list") == (0, [])
    with pytest.raises(Fault, match="none of that URL"):
        run("remove", "http://example.org/birds")


@pytest.mark.parametrize("kind", ["collection", "transaction"])
def test_bundles_ndjson_and_single_resources(tmp_path: Path, run: Run, kind: str) -> None:
    bundle = {
        "resourceType": "Bundle",
        "type": kind,
        "entry": [{"resource": BIG, "request": {"method": "PUT", "url": "CodeSystem/birds"}}],
    }
    paths = [tmp_path / "b.json", tmp_path / "n.ndjson", tmp_path / "v.json"]
    paths[0].write_text(json.dumps(bundle))
    paths[1].write_text("\n".join(map(json.dumps, ({**BIG, "version": "2"}, SMALL))))
    paths[2].write_text(json.dumps(VALUE_SET))
    code, lines = run("import", *paths)
    assert (code, lines[-1]) == (0, "4 definitions written, 0 unchanged.")
    assert len(run("list")[1]) == 2
    with pytest.raises(Fault, match="is not one release"):
        run("remove", BIG["url"])


def test_loinc_is_recognised(tmp_path: Path, run: Run) -> None:
    code, lines = run("import", write_zip(tmp_path / "moon.zip"))
    assert (code, lines[0]) == (0, "http://loinc.org|9.71: 10 concepts, 1 of them inactive.")


def test_what_is_not_valid_is_left_out_and_said(tmp_path: Path, run: Run) -> None:
    path = tmp_path / "n.ndjson"
    path.write_text("\n".join(map(json.dumps, ({**SMALL, "status": "nonsense"}, VALUE_SET))))
    code, lines = run("import", path)
    assert code == 1
    assert lines[0].startswith("not valid, left out: n.ndjson:1: ")
    assert lines[1] == "1 definitions written, 0 unchanged."


LETTERS = [{"code": letter} for letter in "abcdefg"]


@pytest.mark.parametrize(
    "wrong",
    [
        pytest.param({"status": None}, id="no status"),
        pytest.param({"url": None}, id="no url"),
        pytest.param({"concept": 5}, id="concepts that are none"),
        pytest.param({"concept": [*LETTERS, {"display": "X"}]}, id="no code"),
        pytest.param({"concept": [*LETTERS, {"code": "x", "display": 5}]}, id="a display that is none"),
        pytest.param({"concept": [*LETTERS, {"code": "x", "property": "y"}]}, id="properties that are none"),
    ],
)
def test_a_large_code_system_that_is_not_valid_is_no_release(
    tmp_path: Path, run: Run, wrong: dict[str, Any]
) -> None:
    resource = {name: value for name, value in {**BIG, **wrong}.items() if value is not None}
    path = tmp_path / "n.ndjson"
    path.write_text("\n".join(map(json.dumps, (resource, VALUE_SET))))
    code, lines = run("import", path)
    assert (code, lines[1:]) == (1, ["1 definitions written, 0 unchanged."])
    assert lines[0].startswith("not valid, left out: n.ndjson:1: ")
    assert run("list") == (0, [])


def test_a_release_that_has_become_small_is_replaced(tmp_path: Path, run: Run) -> None:
    path = tmp_path / "birds.json"
    for concepts in (BIG["concept"], [{"code": "bird"}]):
        path.write_text(json.dumps({**BIG, "concept": concepts}))
        assert run("import", path)[0] == 0
    ((line,),) = (run("list")[1],)
    assert line.startswith("http://example.org/birds|1 listed 1 concepts ")


CIRCLE = {
    **BIG,
    "concept": [{"code": f"c{n}", "property": [{"code": "parent", "valueCode": "c0"}]} for n in range(9)],
}


@pytest.mark.parametrize(
    ("name", "body", "says"),
    [
        pytest.param("x.json", b"{", "no JSON of resources", id="no JSON"),
        pytest.param("x.json", b"[]", "no JSON of resources", id="a list"),
        pytest.param("x.ndjson", b'{"resourceType": "ValueSet"', "no JSON of resources", id="cut off"),
        pytest.param("x.tgz", b"nonsense", "no package", id="no package"),
        pytest.param("x.zip", b"PK\x03\x04", "no zip archive", id="a damaged archive"),
        pytest.param("x.json", json.dumps(CIRCLE).encode(), "below themselves: c0", id="a circle"),
        pytest.param(
            "x.json",
            json.dumps({**BIG, "concept": [{"code": "x"}] * 9}).encode(),
            "'x' is there twice",
            id="a code twice",
        ),
    ],
)
def test_what_cannot_be_read_is_a_fault_and_leaves_nothing(
    tmp_path: Path, run: Run, name: str, body: bytes, says: str
) -> None:
    path = tmp_path / name
    path.write_bytes(body)
    with pytest.raises(Fault, match=says):
        run("import", path)
    assert run("list") == (0, [])


def test_what_is_not_known_is_not_guessed(tmp_path: Path, run: Run) -> None:
    (tmp_path / "folder").mkdir()
    with pytest.raises(Fault, match="Say --as what it is"):
        run("import", tmp_path / "folder")
    assert run("import", tmp_path / "folder", "--as", "icd")[0] == 2
    assert run("import", tmp_path / "nothing")[0] == 2
