"""Which attributes of metadata a client wants: the query parameter `includefield` (PS3.18 8.3.4.3). Pure.

The standard has it for searches. On metadata, which viewers find too long, it leaves out what is not named;
the attributes that say what the instance is are always there.
"""

import re
from collections.abc import Iterable
from dataclasses import dataclass

import msgspec

from dicomweb.attributes import keys_of
from dicomweb.wire.dictionary import KEYS, tag_of
from server.kernel.faults import Fault

MAX_FIELDS = 1000  # of one request
ALL = "all"
ALWAYS = keys_of("""
SpecificCharacterSet SOPClassUID SOPInstanceUID StudyInstanceUID SeriesInstanceUID
""")
_TAG = re.compile(r"[0-9A-Fa-f]{8}")
_INSTANCES = msgspec.json.Decoder(list[dict[str, msgspec.Raw]])  # attributes are skipped over, not built


class TooManyFields(Fault):
    """The includefield parameters name more attributes than any metadata has use for."""


@dataclass(frozen=True, slots=True)
class Included:
    """The attributes to answer, and the texts of Warning header fields about others."""

    keys: frozenset[str] | None = None  # DICOM JSON keys; None: all
    warnings: tuple[str, ...] = ()

    @property
    def name(self) -> str:
        """What tells the representations of different attributes apart."""
        return "all" if self.keys is None else ",".join(sorted(self.keys))


def parse_include_fields(values: Iterable[str]) -> Included:
    """The attributes of `includefield` parameters: keywords, tags, lists of them, `all`; without any, all.

    A member of a sequence brings the whole sequence, as in searches.

    Raises:
        TooManyFields: more than `MAX_FIELDS`.
    """
    names = [name for value in values for name in value.split(",") if name]
    if not names or ALL in names:
        return Included()
    if len(names) > MAX_FIELDS:
        raise TooManyFields(f"includefield names more than {MAX_FIELDS} attributes.")
    keys = [_key(name.partition(".")[0]) for name in names]
    unknown = len([key for key in keys if key is None])
    warnings = (
        (f"{unknown} of the includefield attributes are not known and were ignored.",) if unknown else ()
    )
    return Included(ALWAYS.union(key for key in keys if key is not None), warnings)


def only_included(instances: bytes, included: Included) -> bytes:
    """A JSON array of instances with the included attributes only, their text as it was."""
    keys = included.keys
    if keys is None:
        return instances
    kept = (_object(each, keys) for each in _INSTANCES.decode(instances))
    return b"[" + b",".join(kept) + b"]"


def _object(instance: dict[str, msgspec.Raw], keys: frozenset[str]) -> bytes:
    members = (b'"%b":%b' % (key.encode(), bytes(raw)) for key, raw in instance.items() if key in keys)
    return b"{" + b",".join(members) + b"}"


def _key(name: str) -> str | None:
    if _TAG.fullmatch(name):
        return name.upper()
    tag = tag_of(name)
    return None if tag is None else KEYS[tag]
