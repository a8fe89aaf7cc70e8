"""Absolute URLs of DICOMweb resources, from the configured public base (never from the Host header)."""

from urllib.parse import urlsplit

ROOT = "/dicom-web"  # where the roof mounts the DICOMweb routes


def study_url(public_base: str, study: str) -> str:
    """The URL of a study resource."""
    return f"{public_base}{ROOT}/studies/{study}"


def series_url(public_base: str, study: str, series: str) -> str:
    """The URL of a series resource."""
    return f"{study_url(public_base, study)}/series/{series}"


def instance_url(public_base: str, study: str, series: str, instance: str) -> str:
    """The URL of an instance resource."""
    return f"{series_url(public_base, study, series)}/instances/{instance}"


def origin_of(url: str) -> str:
    """The origin of a page at this URL, as a browser's Origin field names it (RFC 6454 §6.1)."""
    parts = urlsplit(url)
    return f"{parts.scheme}://{parts.netloc}"
