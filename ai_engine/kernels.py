"""How sharp a CT image is, by the name of its reconstruction kernel (Convolution Kernel, 0018,1210): a hint.

Names are the makers' own and no standard's: what is not known here has no sharpness, and nothing is refused
for it. Siemens counts sharpness in the two digits of the name (30 to 40 for soft tissue, from 50 for lung and
bone); GE names the tissue; Canon's series FC01 to FC29 are for body and head, from FC30 for bone and lung;
Philips goes by letters.
"""

import re
from typing import Literal

Sharpness = Literal["soft", "sharp"]

_BY_NUMBER = re.compile(r"[BHIJQDTU][A-Z]{0,2}(\d\d)[A-Z]?")  # B30F, I70F, BR40D, HR64H
_BY_SERIES = re.compile(r"FC(\d\d)")
_SHARP_FROM_NUMBER, _SHARP_FROM_SERIES = 50, 30
_NAMED: dict[str, Sharpness] = {
    **dict.fromkeys(("SOFT", "STANDARD", "STND", "CHST"), "soft"),
    **dict.fromkeys(("LUNG", "BONE", "BONEPLUS", "EDGE", "ULTRA"), "sharp"),
    **dict.fromkeys(("A", "B", "C"), "soft"),
    **dict.fromkeys(("D", "E", "L", "YA", "YB", "YC", "YD"), "sharp"),
}


def sharpness_of(kernel: str) -> Sharpness | None:
    """Whether a kernel of this name smooths or sharpens; None: not known."""
    name = kernel.strip().upper()
    if numbered := _BY_NUMBER.fullmatch(name):
        return "sharp" if int(numbered[1]) >= _SHARP_FROM_NUMBER else "soft"
    if of_series := _BY_SERIES.fullmatch(name):
        return "sharp" if int(of_series[1]) >= _SHARP_FROM_SERIES else "soft"
    return _NAMED.get(name)
