"""How images are decoded: by what, and how many side by side."""

from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass

from ai_engine.preprocess.frames import SourceImage
from ai_engine.preprocess.pixels import FrameDecoder, Stored, check_greyscale, stored_values

MEASURED = frozenset({"MONOCHROME2"})  # what a slice may be, whose values are measurements
SHOWN = frozenset({"MONOCHROME1", "MONOCHROME2"})


@dataclass(frozen=True, slots=True)
class Decoding:
    """How compressed Pixel Data is decoded, and how many images side by side."""

    threads: int = 2
    decode: FrameDecoder | None = None  # None: by pydicom

    def stored(self, image: SourceImage, interpretations: frozenset[str] = MEASURED) -> Stored:
        """The stored values of an image, which must be of one of these Photometric Interpretations."""
        encoded = image.encoded()
        check_greyscale(encoded, interpretations)
        return stored_values(encoded, self.decode)

    def each(self, fill: Callable[[int], None], count: int) -> None:
        """Call `fill` with 0 to `count` - 1, side by side; what one raises is raised."""
        with ThreadPoolExecutor(max_workers=self.threads) as pool:
            for _ in pool.map(fill, range(count)):
                pass


BY_PYDICOM = Decoding()
