"""`near` of Location: within a distance of a position (FHIR R4 location.html#positional).

Distances are those of a plane around the position asked for, which is right to a percent as far as a few
hundred kilometres, but at the poles. Indexed as a quantity: `low` is the latitude, `high` the longitude.
"""

import math
from collections.abc import Mapping
from typing import Any

from sqlalchemy import ColumnElement, and_, case, func

from fhir.search.definitions import number_of
from fhir.search.number import as_float
from fhir.search.path import Json
from fhir.search.value import Columns, InvalidSearch, Term, Values, split_escaped

LOCATION, NEAR = "Location", "near"
DEFAULT_KM = 10.0  # where no distance is asked for
MAX_KM = 1_000.0  # beyond it a plane is too wrong
KM_OF_DEGREE = 111.195  # of latitude

_KM_OF: Mapping[str, float] = {"": 1.0, "km": 1.0, "m": 0.001, "[mi_i]": 1.609344, "mi": 1.609344}


def near_row(resource: Json) -> dict[str, Any] | None:
    """The row of a Location's position; None: it has none."""
    position = resource.get("position") or {}
    if "latitude" not in position or "longitude" not in position:
        return None
    place = {"low": as_float(position["latitude"]), "high": as_float(position["longitude"])}
    return {"param": near_number(), "n": 0, **place, "system": "", "code": "", "unit": ""}


def near_number() -> int:
    """The number of the parameter, as its rows carry it."""
    return number_of(LOCATION, NEAR)


def read_near(text: str) -> Term:
    """`latitude|longitude[|distance[|unit]]`: a band of latitudes, the position, the reach in degrees."""
    parts = split_escaped(text, "|")
    if not 2 <= len(parts) <= 4:
        raise InvalidSearch("The value of 'near' is not latitude|longitude|distance|unit.")
    latitude, longitude = _degrees(parts[0], 90), _degrees(parts[1], 180)
    unit = _KM_OF.get(parts[3] if len(parts) == 4 else "")
    if unit is None:
        raise InvalidSearch("The unit of 'near' is km, m or [mi_i].")
    km = _number(parts[2]) * unit if len(parts) > 2 and parts[2] else DEFAULT_KM
    if not 0 <= km <= MAX_KM:
        raise InvalidSearch(f"The distance of 'near' is at most {MAX_KM:g} km.")
    reach = km / KM_OF_DEGREE
    narrowing = math.cos(math.radians(latitude))
    return Term(NEAR, (latitude - reach, latitude + reach, latitude, longitude, narrowing, reach * reach))


def match_near(c: Columns, values: Values) -> ColumnElement[bool]:
    """Rows of positions within reach, also across the 180th meridian."""
    lowest, highest, latitude, longitude, narrowing, reach_squared = values
    north: Any = c.low - latitude
    around: Any = func.abs(c.high - longitude)
    east = case((around > 180.0, 360.0 - around), else_=around) * narrowing
    return and_(c.low >= lowest, c.low <= highest, north * north + east * east <= reach_squared)


def _degrees(text: str, most: int) -> float:
    number = _number(text)
    if abs(number) > most:
        raise InvalidSearch("The position of 'near' is nowhere on earth.")
    return number


def _number(text: str) -> float:
    try:
        number = float(text)
    except ValueError:
        number = math.nan
    if not math.isfinite(number) or len(text) > 30:
        raise InvalidSearch("'near' has something else where a number should be.")
    return number
