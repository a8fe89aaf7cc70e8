"""The look of our pages as apps may take it on (SMART App Launch 2.2, Styling: smart_style_url).

The one place of these values: the style sheet has them from here. When they change, so does the URL.
"""

import hashlib
from collections.abc import Mapping
from typing import Final

import orjson

SMART_STYLE: Final[Mapping[str, str]] = {
    "color_background": "#f3f5f7",
    "color_error": "#9c1c1c",
    "color_highlight": "#0b5cad",
    "color_text": "#1b2733",
    "dim_border_radius": "0.4rem",
    "dim_font_size": "1rem",
    "dim_spacing_size": "1.25rem",
    "font_family_body": "system-ui, sans-serif",
    "font_family_heading": "system-ui, sans-serif",
}
VERSION = hashlib.sha256(orjson.dumps(dict(SMART_STYLE))).hexdigest()[:12]
PATH = f"/auth/smart-style/{VERSION}"
AGE = "public, max-age=31536000, immutable"
