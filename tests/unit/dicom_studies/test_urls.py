"""URLs of resources, and the origin of their pages."""

import pytest

from dicomweb.urls import origin_of


@pytest.mark.parametrize(
    ("base", "origin"),
    [
        ("https://pacs.example", "https://pacs.example"),
        ("https://pacs.example/imaging/isthmus", "https://pacs.example"),
        ("http://127.0.0.1:8080", "http://127.0.0.1:8080"),
        ("http://[::1]:8080/x", "http://[::1]:8080"),
    ],
)
def test_origin_leaves_the_path_of_the_public_base_out(base: str, origin: str) -> None:
    assert origin_of(base) == origin
