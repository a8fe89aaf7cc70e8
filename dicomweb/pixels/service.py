"""What requests for pixels share within one process."""

from dataclasses import dataclass, field

from dicomweb.pixels.pool import PixelPool
from dicomweb.pixels.results import ResultCache


@dataclass(frozen=True, slots=True)
class Pixels:
    """The children that decode, and what they made."""

    pool: PixelPool = field(default_factory=PixelPool)
    results: ResultCache = field(default_factory=ResultCache)
