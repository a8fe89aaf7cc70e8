"""A model's bundle folder, loaded and checked: the MONAI layout with our manifest beside it.

    configs/metadata.json   configs/inference.json   [models/]   [scripts/]   isthmus.json

Rule: nothing of the bundle is executed here; its files are read as data.
"""

import hashlib
import re
from collections import Counter
from collections.abc import Collection, Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import msgspec

from ai_engine.attributes import problems_of
from ai_engine.findings import Code, ModelIdentity
from ai_engine.manifest import Manifest
from ai_engine.runnable import against_running
from ai_engine.wants import uid_of
from server.kernel.faults import Fault, FaultKind

Json = Any

MANIFEST_FILE = "isthmus.json"
METADATA_FILE = "configs/metadata.json"
INFERENCE_FILE = "configs/inference.json"
YAML_FILES = ("configs/inference.yaml", "configs/inference.yml")  # MONAI reads them too, with PyYAML
LARGEST_CONFIG_BYTES = 4 << 20  # configs are text; weights live in models/
PLACEHOLDER = re.compile(r"\{([a-z][a-z0-9_]*)(\.slice)?\}")
DETECTION_WORDS = frozenset({"number", "slice", "probability"})  # of a detection, beside its measurements
SHIPPED_BUNDLES = Path(__file__).parent / "bundles"


class BundleInvalid(Fault):
    """The folder is no bundle that can be run; the text names the file and the element."""

    kind = FaultKind.UNPROCESSABLE


class BundleFile(msgspec.Struct, frozen=True):
    """A file of a bundle."""

    path: str  # relative, with "/"
    sha256: str  # hexadecimal
    size: int


@dataclass(frozen=True, slots=True)
class Bundle:
    """A checked bundle. `digest` is the SHA-256 of its files' paths and contents, in hex."""

    path: Path
    manifest: Manifest
    metadata: Json
    digest: str

    @property
    def identity(self) -> ModelIdentity:
        """Who the results are by."""
        return self.manifest.identity


def load_bundle(path: Path) -> Bundle:
    """The bundle in this folder.

    Raises:
        BundleInvalid: a file is missing or says something that cannot be.
    """
    path = path.resolve()
    if not path.is_dir():
        raise BundleInvalid("the bundle is not a folder")
    manifest = decode_manifest(_read(path, MANIFEST_FILE))
    metadata = _json(path, METADATA_FILE)
    _inference(path, manifest)
    faults = [*disagreements(manifest), *_against_files(path, manifest, metadata)]
    if faults:
        raise BundleInvalid(f"{MANIFEST_FILE}: {'; '.join(faults)}")
    return Bundle(path, manifest, metadata, digest_of(path))


def shipped_bundles() -> tuple[Path, ...]:
    """The folders of the bundles that come with the package."""
    return tuple(sorted(file.parent for file in SHIPPED_BUNDLES.glob(f"*/{MANIFEST_FILE}")))


def decode_manifest(data: bytes) -> Manifest:
    """The manifest in these bytes, each field checked; the fault names the element's path."""
    try:
        return msgspec.json.decode(data, type=Manifest)
    except (msgspec.DecodeError, msgspec.ValidationError) as error:
        raise BundleInvalid(f"{MANIFEST_FILE}: {error}") from error


def digest_of(path: Path) -> str:
    """SHA-256 over every file's relative path and content, in the order of paths; byte code is no part."""
    return digest_of_files(files_of(path))


def digest_of_all(path: Path) -> str:
    """As `digest_of`, with what looks like byte code: of a folder that nothing is run from."""
    return digest_of_files(_hashed(path, file) for file in _files(path, byte_code=True))


def digest_of_files(files: Iterable[BundleFile]) -> str:
    """The digest of a bundle that has these files."""
    digest = hashlib.sha256()
    for file in sorted(files, key=lambda file: file.path):
        digest.update(f"{file.path}\x00{file.sha256}\n".encode())
    return digest.hexdigest()


def files_of(path: Path) -> tuple[BundleFile, ...]:
    """Every file of a folder that counts, hashed.

    Raises:
        BundleInvalid: one of them is a symbolic link.
    """
    return tuple(_hashed(path, file) for file in _files(path))


def _hashed(path: Path, file: Path) -> BundleFile:
    with file.open("rb") as stream:
        content = hashlib.file_digest(stream, "sha256").hexdigest()
        return BundleFile(path=file.relative_to(path).as_posix(), sha256=content, size=stream.tell())


def disagreements(manifest: Manifest) -> Iterator[str]:
    """What the manifest says that does not fit together."""
    outputs = {output.name for output in manifest.outputs}
    yield from _disagreements_of_detections(manifest)
    findings = {finding.tracking_id for finding in manifest.findings}
    segments = {segment.number: segment.tracking_id for segment in manifest.segments}
    yield from _repeated("outputs: name", (output.name for output in manifest.outputs))
    yield from _repeated("outputs: title", (output.title for output in manifest.outputs))
    yield from _repeated("findings: tracking_id", (finding.tracking_id for finding in manifest.findings))
    yield from _repeated("segments: number", (segment.number for segment in manifest.segments))
    yield from _repeated("segments: tracking_id", (segment.tracking_id for segment in manifest.segments))
    for output in manifest.outputs:
        if output.finding is not None and output.finding not in findings:
            yield f"outputs: {output.name} belongs to the unknown finding {output.finding}"
    for finding in manifest.findings:
        if finding.segment is not None and segments.get(finding.segment) != finding.tracking_id:
            yield f"findings: {finding.tracking_id} must have the tracking_id of its segment"
    yield from _unknown_words(manifest, outputs)
    yield from _codes_too_long(manifest)
    for keyword in manifest.wants.sop_classes:
        if uid_of(keyword) is None:
            yield f"wants: {keyword} is not the keyword of a SOP Class"
    yield from (f"wants: {problem}" for problem in problems_of(manifest.wants.attributes))


def _disagreements_of_detections(manifest: Manifest) -> Iterator[str]:
    yield from _repeated("detections: name", (each.name for each in manifest.detections))
    yield from _repeated("scores: name", (each.name for each in manifest.scores))
    yield from _repeated("quality: name", (each.name for each in manifest.quality))
    fixed = {segment.tracking_id for segment in manifest.segments}
    fixed |= {finding.tracking_id for finding in manifest.findings}
    ids = [*fixed, *(score.name.replace("_", "-") for score in manifest.scores)]
    yield from _repeated("tracking id", ids)
    for each in manifest.detections:
        numbered = re.compile(rf"{each.name.replace('_', '-')}-[0-9]+")
        for taken in filter(numbered.fullmatch, ids):
            yield f"detections: {each.name} may get the tracking id {taken} of something else"
        named = [measurement.name for measurement in each.measurements]
        yield from _repeated(f"detections: {each.name}: measurement", named)
        texts: Sequence[tuple[str, Collection[str]]]
        texts = ((each.none, ()), (each.found, {"count"}), (each.each, DETECTION_WORDS.union(named)))
        for text, known in texts:
            yield from _unknown_placeholders(f"detections: {each.name}", text, known)
    for score in manifest.scores:
        both = score.present_text + score.absent_text
        yield from _unknown_placeholders(f"scores: {score.name}", both, {"probability"})


def _unknown_placeholders(where: str, text: str, known: Collection[str]) -> Iterator[str]:
    for name, part in PLACEHOLDER.findall(text):
        if part or name not in known:
            yield f"{where}: {{{name}{part}}} is unknown"


def codes_of(manifest: Manifest) -> Iterator[Code]:
    """Every code that the manifest gives to a result."""
    yield manifest.family
    for segment in manifest.segments:
        yield from filter(None, (segment.category, segment.type, segment.type_modifier))
    for finding in manifest.findings:
        yield from filter(None, (finding.finding, finding.site, finding.laterality))
    for output in manifest.outputs:
        yield from filter(None, (output.concept, output.unit, output.derivation))
    for detection in manifest.detections:
        described = (detection.finding, detection.absent, detection.site, detection.category, detection.type)
        yield from filter(None, (*described, detection.type_modifier))
        for each in detection.measurements:
            yield from filter(None, (each.concept, each.unit, each.derivation))
    for score in manifest.scores:
        yield from filter(None, (score.finding, score.absent, score.site))
    yield from (flag.concept for flag in manifest.quality)


def _unknown_words(manifest: Manifest, outputs: set[str]) -> Iterator[str]:
    texts = " ".join(text for group in manifest.conclusion.sentences for text in group)
    for name, _ in PLACEHOLDER.findall(texts):
        if name not in outputs:
            yield f"conclusion: {{{name}}} is no output"


def _codes_too_long(manifest: Manifest) -> Iterator[str]:
    """Codes that do not fit SH and LO (PS3.3 8.1, 8.3; PS3.5 6.2)."""
    for code in codes_of(manifest):
        if not (0 < len(code.value) <= 16 and 0 < len(code.scheme) <= 16 and 0 < len(code.meaning) <= 64):
            yield f"code {code.value} or its scheme is not 1 to 16 characters, or its meaning not 1 to 64"


def _against_files(path: Path, manifest: Manifest, metadata: Json) -> Iterator[str]:
    """What the manifest says that the bundle's other files do not bear out."""
    if not isinstance(metadata, dict) or metadata.get("version") != manifest.version:
        yield f"version is not the version of {METADATA_FILE}"
    else:
        yield from against_running(path, manifest, metadata)


def _files(path: Path, *, byte_code: bool = False) -> list[Path]:
    """Every file that counts, by relative path; links are refused, for they lead out of what is hashed."""
    entries = sorted(path.rglob("*"), key=lambda entry: entry.relative_to(path).as_posix())
    if linked := [entry for entry in entries if entry.is_symlink()]:
        raise BundleInvalid(f"{linked[0].relative_to(path).as_posix()} is a symbolic link")
    return [each for each in entries if each.is_file() and (byte_code or "__pycache__" not in each.parts)]


def _read(path: Path, name: str) -> bytes:
    file = path / name
    if not file.is_file():
        raise BundleInvalid(f"{name} is missing")
    if file.stat().st_size > LARGEST_CONFIG_BYTES:
        raise BundleInvalid(f"{name} is larger than {LARGEST_CONFIG_BYTES} bytes")
    return file.read_bytes()


def _inference(path: Path, manifest: Manifest) -> None:
    """The inference configuration is there and can be read; YAML is read by MONAI in the child alone.

    An alias of YAML may stand for more than memory holds; here nothing is read that can be so.
    """
    yamls = [name for name in YAML_FILES if (path / name).is_file()]
    if (path / INFERENCE_FILE).exists() or not yamls:
        _json(path, INFERENCE_FILE)
    elif manifest.runtime.kind != "torch":
        raise BundleInvalid(f"{yamls[0]}: YAML is for models of the kind torch; write {INFERENCE_FILE}")
    else:
        _read(path, yamls[0])


def _json(path: Path, name: str) -> Json:
    try:
        return msgspec.json.decode(_read(path, name))
    except msgspec.DecodeError as error:
        raise BundleInvalid(f"{name}: {error}") from error


def _repeated(what: str, values: Iterable[object]) -> Iterator[str]:
    for value, count in Counter(values).items():
        if count > 1:
            yield f"{what} {value} occurs {count} times"
