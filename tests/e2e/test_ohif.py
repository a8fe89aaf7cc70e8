"""OHIF itself, installed by our command, in a real browser: what it asks for, and by pixels what it draws."""

import io
import re
import time
from collections.abc import Callable, Iterator
from itertools import pairwise
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import numpy as np
import pytest
from highdicom.seg import Segmentation, segread
from numpy.typing import NDArray
from PIL import Image
from playwright.sync_api import Browser
from pydicom import Dataset, FileDataset, dcmread
from pydicom.dataset import FileMetaDataset
from pydicom.uid import EncapsulatedPDFStorage, ExplicitVRLittleEndian, generate_uid
from typer.testing import CliRunner

from server.cli import cli
from tests.services.ohif import chromium, ohif_tarball

pytestmark = [pytest.mark.slow, pytest.mark.timeout(900)]

PREFIX = "/imaging"
DRAWN_S = 240.0  # two cores draw without a graphics card
CANVAS = "canvas.cornerstone-canvas"
VIEWPORT = ".cornerstone-viewport-element"  # with what is drawn over the canvas
WINDOW = (40.0, 400.0)  # center and width that the phantom states
Pixels = NDArray[np.float64]
Mask = NDArray[np.bool_]


@pytest.fixture(scope="module")
def viewer(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder with OHIF, as the command installs it."""
    data = tmp_path_factory.mktemp("installed")
    done = CliRunner().invoke(cli, ["viewer", "install", "--from", str(ohif_tarball()), "--data", str(data)])
    assert done.exit_code == 0, done.output
    return data / "viewer"


@pytest.fixture(scope="module")
def server(viewer: Path, tmp_path_factory: pytest.TempPathFactory, server_kit: Any) -> Iterator[Any]:
    """A server with its worker, below a path, which lies under another name than the browser's."""
    environment = {"ISTHMUS_VIEWER": str(viewer), "ISTHMUS_PUBLIC_BASE": f"http://localhost{PREFIX}"}
    running = server_kit(tmp_path_factory.mktemp("server"), environment)
    running.start()
    yield running
    running.close()


@pytest.fixture(scope="module")
def chest(server: Any, new_chest: Any, kit: Any) -> list[FileDataset]:
    """A CT study in the server, with the segmentation that the shipped model made of it."""
    instances: list[FileDataset] = new_chest("OHIF-1")
    http = server.client()
    assert kit.store(http, instances).status_code == 200
    server.wait_until(lambda: kit.states(http, instances[0].StudyInstanceUID) == ["COMPLETED"], DRAWN_S)
    return instances


@pytest.fixture(scope="module")
def segmentation(server: Any, chest: list[FileDataset], kit: Any) -> Segmentation:
    http, study = server.client(), chest[0].StudyInstanceUID
    (instance,) = http.get(f"/dicom-web/studies/{study}/instances", params={"Modality": "SEG"}).json()
    place = f"series/{instance['0020000E']['Value'][0]}/instances/{instance['00080018']['Value'][0]}"
    file = http.get(f"/dicom-web/studies/{study}/{place}", headers={"Accept": "application/dicom"})
    return segread(io.BytesIO(file.content))


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    with chromium() as running:
        yield running


class Watched:
    """A page, with everything it asked for and complained about."""

    def __init__(self, browser: Browser, server: Any) -> None:
        self.base = f"{server.base}{PREFIX}"
        self.page = browser.new_context(viewport={"width": 1280, "height": 800}).new_page()
        self.asked: list[str] = []
        self.answers: list[tuple[int, str]] = []
        self.complaints: list[str] = []
        page = self.page
        page.on("request", lambda request: self.asked.append(request.url))
        page.on("response", lambda answer: self.answers.append((answer.status, answer.url)))
        page.on("pageerror", lambda error: self.complaints.append(str(error)))
        page.on("console", lambda line: self.complaints.append(line.text) if line.type == "error" else None)

    def open(self, path: str) -> None:
        self.page.goto(f"{self.base}/ui/viewer/{path}")

    def await_picture(self, is_drawn: Callable[[Pixels], bool], element: str = CANVAS) -> Pixels:
        """What an element shows, rows × columns × RGB, once it is drawn."""
        until = time.monotonic() + DRAWN_S
        where = self.page.locator(element).first
        while not is_drawn(picture := as_pixels(where.screenshot())):
            assert time.monotonic() < until, "it was not drawn in time"
            self.page.wait_for_timeout(500)
        return picture

    def shown(self) -> tuple[int, int]:
        """Instance Number of the image that is shown, and its place in the stack."""
        text = self.page.get_by_text(re.compile(r"\d+ \(\d+/\d+\)")).first.inner_text()
        number, place, _ = map(int, re.findall(r"\d+", text))
        return number, place

    def scroll_to(self, place: int) -> None:
        self.page.locator(CANVAS).first.hover()
        for _ in range(500):
            if self.shown()[1] >= place:
                return
            self.page.mouse.wheel(0, 100)
            self.page.wait_for_timeout(100)
        raise AssertionError("it does not scroll")

    def check(self) -> None:
        """It asked nobody else, was refused nothing, and complained about nothing."""
        places = {urlsplit(url).netloc for url in self.asked if url.startswith("http")}
        assert places == {urlsplit(self.base).netloc}
        assert [answer for answer in self.answers if answer[0] >= 400] == []
        assert self.complaints == []


def red_page() -> Dataset:
    """A PDF of one red page as an instance (PS3.3 A.45.1)."""
    page = io.BytesIO()
    Image.new("RGB", (400, 400), (255, 0, 0)).save(page, "PDF")
    document = Dataset()
    document.file_meta = FileMetaDataset()
    document.file_meta.TransferSyntaxUID = ExplicitVRLittleEndian
    document.SOPClassUID = EncapsulatedPDFStorage
    for level in ("Study", "Series", "SOP"):
        setattr(document, f"{level}InstanceUID", generate_uid())
    document.PatientID, document.PatientName, document.Modality = "OHIF-2", "Demo^Document", "DOC"
    document.MIMETypeOfEncapsulatedDocument = "application/pdf"
    document.EncapsulatedDocumentLength = len(page.getvalue())
    document.EncapsulatedDocument = page.getvalue() + bytes(len(page.getvalue()) % 2)
    return document


def is_red(picture: Pixels) -> bool:
    red, green, blue = np.moveaxis(picture, 2, 0)
    return float(((red > 200) & (green < 60) & (blue < 60)).mean()) > 0.05


def as_pixels(png: bytes) -> Pixels:
    return np.asarray(Image.open(io.BytesIO(png)).convert("RGB"), dtype=np.float64)


def gray_of(instance: FileDataset) -> Pixels:
    """The image in its window, 0 to 255."""
    hu = instance.pixel_array * float(instance.RescaleSlope) + float(instance.RescaleIntercept)
    center, width = WINDOW
    return np.asarray(np.clip((hu - (center - width / 2)) / width, 0, 1) * 255)


def fitted(image: Pixels, shape: tuple[int, ...]) -> Pixels:
    """A square image as large as it fits into the middle of a canvas; NaN beside it."""
    side = min(shape[:2])
    scaled = Image.fromarray(image.astype(np.float32)).resize((side, side), Image.Resampling.BILINEAR)
    canvas = np.full(shape[:2], np.nan)
    top, left = (shape[0] - side) // 2, (shape[1] - side) // 2
    canvas[top : top + side, left : left + side] = np.asarray(scaled)
    return canvas


def is_free(expected: Pixels) -> Mask:
    """Where the image lies, and none of OHIF's texts and messages."""
    rows = np.arange(expected.shape[0]) / expected.shape[0]
    return np.asarray(~np.isnan(expected) & ((rows > 0.22) & (rows < 0.88))[:, None])


def is_coloured(picture: Pixels) -> Mask:
    return np.asarray(picture.max(axis=2) - picture.min(axis=2) > 25)


def difference(picture: Pixels, instance: FileDataset) -> float:
    """Of the gray levels, on average, where nothing is coloured."""
    expected = fitted(gray_of(instance), picture.shape)
    where = is_free(expected) & ~is_coloured(picture)
    return float(np.abs(expected[where] - picture.mean(axis=2)[where]).mean())


def agreement(picture: Pixels, labels: Mask) -> float:
    """How far what is coloured is what is labelled: the intersection's share of the union."""
    expected = fitted(labels.astype(np.float64), picture.shape)
    where = is_free(expected)
    labelled, coloured = (expected > 0.5)[where], is_coloured(picture)[where]
    return float((labelled & coloured).sum() / max(1, (labelled | coloured).sum()))


def test_the_study_list(browser: Browser, server: Any, chest: list[FileDataset]) -> None:
    watched = Watched(browser, server)
    watched.open(f"#token={server.token('system/ImagingStudy.rs')}")
    row = watched.page.get_by_text("Demo, Phantom")
    row.wait_for(timeout=DRAWN_S * 1000)
    assert watched.page.get_by_text("CT\\SEG\\SR").is_visible()
    assert watched.page.get_by_text(f"{len(chest) + 2}", exact=True).is_visible()  # with SEG and SR
    assert "token" not in watched.page.url
    watched.check()


def test_images_and_the_segmentation_over_them(
    browser: Browser, server: Any, chest: list[FileDataset], segmentation: Segmentation
) -> None:
    by_number = {int(instance.InstanceNumber): instance for instance in chest}
    watched = Watched(browser, server)
    token = server.token("system/ImagingStudy.rs")
    watched.open(f"viewer?StudyInstanceUIDs={chest[0].StudyInstanceUID}#token={token}")
    watched.page.get_by_text("Skip all").click(timeout=DRAWN_S * 1000)
    watched.page.get_by_text("Confirm and hide").click()
    first = by_number[watched.shown()[0]]
    picture = watched.await_picture(lambda seen: difference(seen, first) < 8)
    assert len(np.unique(picture[is_free(fitted(gray_of(first), picture.shape))])) > 100  # levels of gray
    assert not is_coloured(picture)[is_free(fitted(gray_of(first), picture.shape))].any()

    watched.page.get_by_text("CT quantification").first.dblclick()
    watched.page.get_by_role("button", name="Yes").click(timeout=DRAWN_S * 1000)
    watched.scroll_to(len(chest) // 2)
    shown = by_number[watched.shown()[0]]
    labels = segmentation.get_pixels_by_source_instance(
        [shown.SOPInstanceUID], assert_missing_frames_are_empty=True
    )[0].any(axis=-1)
    assert labels.mean() > 0.05  # both lungs
    picture = watched.await_picture(
        lambda seen: agreement(seen, labels) > 0.85 and difference(seen, shown) < 8
    )
    assert difference(picture, first) > 16  # another image, so that the judgement means something
    watched.check()
    assert any("/thumbnail" in url for _, url in watched.answers)


@pytest.fixture(scope="module")
def report(server: Any, chest: list[FileDataset]) -> Dataset:
    """The SR that the shipped model made of the study."""
    http, study = server.client(), chest[0].StudyInstanceUID
    (instance,) = http.get(f"/dicom-web/studies/{study}/instances", params={"Modality": "SR"}).json()
    place = f"series/{instance['0020000E']['Value'][0]}/instances/{instance['00080018']['Value'][0]}"
    file = http.get(f"/dicom-web/studies/{study}/{place}", headers={"Accept": "application/dicom"})
    return dcmread(io.BytesIO(file.content))


def first_region(report: Dataset) -> Dataset:
    """The first SCOORD of a document: where OHIF goes first."""
    regions = (item for item in report.iterall() if item.keyword == "ContentSequence")
    return next(each for items in regions for each in items.value if each.ValueType == "SCOORD")


def is_green(picture: Pixels) -> Mask:
    """What OHIF draws of a report."""
    red, green, blue = np.moveaxis(picture, 2, 0)
    return np.asarray((green > 150) & (red < 110) & (blue < 110))


def share_drawn(picture: Pixels, points: NDArray[np.float64], columns: int) -> float:
    """How many of these points (column, row) have something green within a few pixels."""
    green, (height, width) = is_green(picture), picture.shape[:2]
    side = min(height, width)
    placed = points * (side / columns) + [(width - side) / 2, (height - side) / 2]
    near = 4
    hits = [
        green[max(0, y - near) : y + near + 1, max(0, x - near) : x + near + 1].any()
        for x, y in placed.astype(int)
    ]
    return float(np.mean(hits))


def test_findings_over_the_images(
    browser: Browser, server: Any, chest: list[FileDataset], report: Dataset
) -> None:
    region = first_region(report)
    uid = region.ContentSequence[0].ReferencedSOPSequence[0].ReferencedSOPInstanceUID
    at = next(instance for instance in chest if instance.SOPInstanceUID == uid)
    corners = np.array(region.GraphicData, float).reshape(-1, 2)
    steps = np.linspace(0, 1, 20)[:, None]
    outline = np.vstack([a + (b - a) * steps for a, b in pairwise(corners)])
    watched = Watched(browser, server)
    token = server.token("system/ImagingStudy.rs")
    watched.open(f"viewer?StudyInstanceUIDs={chest[0].StudyInstanceUID}#token={token}")
    watched.page.get_by_text("Skip all").click(timeout=DRAWN_S * 1000)
    watched.page.get_by_text("Confirm and hide").click()
    watched.page.get_by_text(re.compile(r"CT quantification .* SR")).first.dblclick(timeout=DRAWN_S * 1000)
    watched.page.get_by_text(re.compile(r"Volume: \d+\.\d\d ")).first.wait_for(
        state="attached", timeout=DRAWN_S * 1000
    )
    watched.await_picture(lambda seen: share_drawn(seen, outline, at.Columns) > 0.9, VIEWPORT)
    assert watched.shown()[0] == int(at.InstanceNumber)
    watched.check()


def test_an_encapsulated_pdf(browser: Browser, server: Any, kit: Any) -> None:
    document = red_page()
    assert kit.store(server.client(), [document]).status_code == 200
    watched = Watched(browser, server)
    token = server.token("system/ImagingStudy.rs")
    watched.open(f"viewer?StudyInstanceUIDs={document.StudyInstanceUID}#token={token}")
    watched.page.get_by_text("Skip all").click(timeout=DRAWN_S * 1000)
    watched.page.get_by_text("Confirm and hide").click()
    watched.await_picture(is_red, "object")
    watched.check()


@pytest.mark.parametrize("token", ["", "#token=expired"])
def test_without_a_good_token_it_asks_for_one(
    browser: Browser, server: Any, chest: list[FileDataset], token: str
) -> None:
    watched = Watched(browser, server)
    watched.open(token)
    field = watched.page.get_by_label("Access token")
    field.wait_for(timeout=DRAWN_S * 1000)
    data = [status for status, url in watched.answers if "/dicom-web" in url]
    assert set(data) == ({401} if token else set())
    field.fill(server.token("system/ImagingStudy.rs"))
    watched.page.get_by_role("button", name="Open").click()
    watched.page.get_by_text("Demo, Phantom").wait_for(timeout=DRAWN_S * 1000)
    assert not field.is_visible()
