"""What is served at /ui/viewer, and under which headers."""

import gzip
import json
import re

import httpx
import pytest

from tests.unit.viewer.kit import FILES, SCRIPT, Site

CHANGED = {SCRIPT, "app.bundle.css"}  # for a place that is not the root of a site


async def get(site: Site, path: str, **headers: str) -> httpx.Response:
    return await site.http.get(path, headers={"Accept-Encoding": "identity", **headers})


async def test_not_installed_says_how(site: Site) -> None:
    for path in ("/ui/viewer", "/ui/viewer/", f"/ui/viewer/{SCRIPT}"):
        answer = await get(site, path)
        assert answer.status_code == 404
        assert answer.headers["content-type"].startswith("text/html")
        assert "isthmus viewer install" in answer.text


async def test_installing_and_removing_needs_no_restart(site: Site) -> None:
    assert (await get(site, "/ui/viewer/")).status_code == 404
    site.install()
    assert (await get(site, "/ui/viewer/")).status_code == 200
    site.install(site.make_package("1.0.1", {**FILES, "dist/new.svg": b"<svg/>"}))
    assert (await get(site, "/ui/viewer/new.svg")).text == "<svg/>"


@pytest.mark.parametrize("path", ["", "/", "/index.html", "/viewer", "/viewer/isthmus?StudyInstanceUIDs=1.2"])
async def test_every_address_of_the_application_gets_its_page(site: Site, path: str) -> None:
    site.install()
    answer = await get(site, f"/ui/viewer{path}")
    assert answer.status_code == 200
    assert answer.headers["content-type"] == "text/html; charset=utf-8"
    assert answer.headers["cache-control"] == "no-cache"
    urls = re.findall(r'(?:src|href)="([^"]*)"', answer.text)
    root = "/imaging/ui/viewer/"
    own = [f"{root}{name}" for name in ("app.bundle.css", "app-config.js", SCRIPT)]
    assert urls == [f"{root}assets/favicon.ico", *own]
    assert "<script>" not in answer.text  # the policy allows no inline script


@pytest.mark.parametrize(
    ("name", "media_type", "cached"),
    [
        (SCRIPT, "text/javascript; charset=utf-8", "public, max-age=31536000, immutable"),
        ("app.bundle.css", "text/css; charset=utf-8", "no-cache"),
        ("codec.wasm", "application/wasm", "no-cache"),
        ("assets/favicon.ico", "image/x-icon", "no-cache"),
    ],
)
async def test_files(site: Site, name: str, media_type: str, cached: str) -> None:
    site.install()
    answer = await get(site, f"/ui/viewer/{name}")
    assert answer.status_code == 200
    assert answer.headers["content-type"] == media_type
    assert answer.headers["cache-control"] == cached
    assert answer.headers["x-content-type-options"] == "nosniff"
    assert int(answer.headers["content-length"]) == len(answer.content)
    if name not in CHANGED:
        assert answer.content == FILES[f"dist/{name}"]


async def test_files_find_their_place(site: Site) -> None:
    site.install()
    script = (await get(site, f"/ui/viewer/{SCRIPT}")).text
    assert script.startswith("__webpack_require__.p = self.PUBLIC_URL || ")
    assert "url(a.woff2)" in (await get(site, "/ui/viewer/app.bundle.css")).text


async def test_headers_that_isolate_the_page(site: Site) -> None:
    site.install()
    for path in ("", "app-config.js", SCRIPT, "codec.wasm"):
        headers = (await get(site, f"/ui/viewer/{path}")).headers
        assert headers["cross-origin-opener-policy"] == "same-origin"
        assert headers["cross-origin-embedder-policy"] == "require-corp"
        assert headers["cross-origin-resource-policy"] == "same-origin"
        policy = dict(part.split(" ", 1) for part in headers["content-security-policy"].split("; "))
        assert policy["default-src"] == "'none'"
        assert policy["script-src"] == "'self' 'unsafe-eval'"
        assert policy["frame-ancestors"] == policy["form-action"] == "'none'"
        assert "http" not in headers["content-security-policy"]  # nothing beside ourselves


async def test_compressed_where_the_client_takes_it(site: Site) -> None:
    site.install()
    plain = await get(site, f"/ui/viewer/{SCRIPT}")
    packed = await get(site, f"/ui/viewer/{SCRIPT}", **{"Accept-Encoding": "br, gzip;q=0.8"})
    refused = await get(site, f"/ui/viewer/{SCRIPT}", **{"Accept-Encoding": "gzip;q=0"})
    assert packed.headers["content-encoding"] == "gzip"
    assert int(packed.headers["content-length"]) < len(plain.content)
    assert packed.content == plain.content == refused.content
    assert "content-encoding" not in refused.headers
    assert packed.headers["vary"] == "Accept-Encoding"
    assert packed.headers["etag"] != plain.headers["etag"]


async def test_what_the_client_has_is_not_sent_again(site: Site) -> None:
    site.install()
    for path in ("", "app-config.js", SCRIPT, "codec.wasm"):
        first = await get(site, f"/ui/viewer/{path}")
        tag = first.headers["etag"]
        again = await get(site, f"/ui/viewer/{path}", **{"If-None-Match": f'"other", W/{tag}'})
        assert (again.status_code, again.content) == (304, b"")
        assert again.headers["etag"] == tag
        assert again.headers["cache-control"] == first.headers["cache-control"]
        changed = await get(site, f"/ui/viewer/{path}", **{"If-None-Match": '"other"'})
        assert changed.status_code == 200


async def test_head_tells_the_length(site: Site) -> None:
    site.install()
    for path in ("", SCRIPT, "codec.wasm"):
        for coding in ("identity", "gzip"):
            headers = {"Accept-Encoding": coding}
            full = await site.http.get(f"/ui/viewer/{path}", headers=headers)
            head = await site.http.head(f"/ui/viewer/{path}", headers=headers)
            assert (head.status_code, head.content) == (200, b"")
            assert head.headers.pop("x-request-id") != full.headers.pop("x-request-id")
            assert head.headers == full.headers


@pytest.mark.parametrize(
    "path",
    [
        "../viewer.json",
        "%2e%2e/viewer.json",
        "..%2fviewer.json",
        "..%5c..%5cviewer.json",
        "assets/../../viewer.json",
        "%2fetc%2fhosts.conf",
        "assets/%2e%2e/%2e%2e/viewer.json",
        f"{SCRIPT}.gz",
        f"{SCRIPT}.map",
        "init-service-worker.js",
        "sw.js",
        "package.json",
        "missing.js",
    ],
)
async def test_nothing_but_the_recorded_files_is_served(site: Site, path: str) -> None:
    site.install()
    url = httpx.URL("http://pacs.example.org").copy_with(raw_path=f"/ui/viewer/{path}".encode())
    assert (await site.http.get(url)).status_code == 404


async def test_the_configuration_names_this_server_alone(site: Site) -> None:
    site.install()
    answer = await get(site, "/ui/viewer/app-config.js")
    assert answer.headers["content-type"] == "text/javascript; charset=utf-8"
    first = answer.text.partition("\n")[0]
    assert json.loads(first.removeprefix("const place = ").removesuffix(";")) == {
        "root": "/imaging/ui/viewer/",
        "dicomweb": "/imaging/dicom-web",
        "public": "http://pacs.example.org/imaging/dicom-web",
        "login": True,
    }
    assert set(re.findall(r"https?://[\w.]+", answer.text)) == {"http://pacs.example.org"}


async def test_other_methods_are_refused(site: Site) -> None:
    site.install()
    answer = await site.http.post("/ui/viewer/")
    assert answer.status_code == 405
    assert answer.headers["allow"] == "GET, HEAD"


def test_gzip_files_are_what_they_stand_for(site: Site) -> None:
    site.install()
    (packed,) = site.folder.rglob(f"{SCRIPT}.gz")
    assert gzip.decompress(packed.read_bytes()) == packed.with_name(SCRIPT).read_bytes()
