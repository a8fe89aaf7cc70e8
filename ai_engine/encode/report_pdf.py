"""The findings as a PDF to read: what the SR says, with pictures. Bytes only, no DICOM.

Rule: it says nothing that the SR does not, and not of whom: whose it is, the instance around it says. Each
page bears what the result may be used for. The same findings make the same bytes.
"""

from collections.abc import Iterator, Sequence
from functools import cache
from io import BytesIO
from xml.sax.saxutils import escape

from PIL import Image as PilImage
from reportlab.lib import colors
from reportlab.lib.pagesizes import A4
from reportlab.lib.styles import ParagraphStyle
from reportlab.lib.units import mm
from reportlab.pdfbase import pdfmetrics
from reportlab.pdfbase.ttfonts import TTFont
from reportlab.pdfgen.canvas import Canvas
from reportlab.platypus import Flowable, Image, Paragraph, SimpleDocTemplate, Spacer, Table

from ai_engine.encode.analysed import Analysed
from ai_engine.encode.wording import document_title, measurement_words
from ai_engine.findings import Finding

MAX_PICTURES = 4  # two pages in all, when the findings are few
PICTURE_WIDTH = 82 * mm
PICTURE_HEIGHT = 110 * mm  # at most: two rows of pictures fit a page
MARGIN = 18 * mm
FONT, BOLD = "Vera", "VeraBd"  # Bitstream Vera, which comes with reportlab
GRID = [
    ("FONT", (0, 0), (-1, -1), FONT, 8),
    ("GRID", (0, 0), (-1, -1), 0.3, colors.grey),
    ("VALIGN", (0, 0), (-1, -1), "TOP"),
]
HEAD = ("Finding", "Where", "Measured", "Probability")
WIDTHS = [42 * mm, 46 * mm, 60 * mm, 26 * mm]
PICTURES = [87 * mm, 87 * mm]


def write_report(analysed: Analysed, status: str, pictures: Sequence[PilImage.Image]) -> bytes:
    """The PDF; `status` says how far the result is to be trusted yet."""
    _fonts()
    model = analysed.findings.model
    buffer = BytesIO()
    page = SimpleDocTemplate(
        buffer,
        pagesize=A4,
        leftMargin=MARGIN,
        rightMargin=MARGIN,
        topMargin=MARGIN,
        bottomMargin=MARGIN,
        title=document_title(model),
        author=model.manufacturer,
        invariant=1,
        lang="en-US",
    )
    use = model.intended_use

    def banner(canvas: Canvas, document: SimpleDocTemplate) -> None:
        _draw_banner(canvas, use, document.page)

    page.build(list(_story(analysed, status, pictures)), onFirstPage=banner, onLaterPages=banner)
    return buffer.getvalue()


def _story(analysed: Analysed, status: str, pictures: Sequence[PilImage.Image]) -> Iterator[Flowable]:
    findings = analysed.findings
    model = findings.model
    yield _line(f"{model.title} {model.version}", BOLD, 15)
    yield _line(f"{model.manufacturer}. {status}")
    yield from _section("Conclusion", [findings.conclusion])
    if findings.findings:
        yield _line("Findings", BOLD, 11)
        rows = [
            [_line(text, BOLD, 8) for text in HEAD],
            *(_row(each, analysed) for each in findings.findings),
        ]
        yield Spacer(1, 1.5 * mm)
        yield Table(rows, colWidths=WIDTHS, repeatRows=1, splitInRow=1, style=GRID)
    absent = [f"{each.concept.meaning}: {each.value.meaning}" for each in findings.evaluations]
    yield from _section("Looked for", absent)
    yield from _section("Quality", [f"{each.concept.meaning}: {each.text}" for each in findings.quality])
    yield from _section("Not measured", [f"{each.name}: {each.reason}" for each in findings.not_measured])
    yield from _section("Intended use", [model.intended_use])
    if pictures:
        yield Spacer(1, 4 * mm)
        yield Table(_in_pairs([_placed(each) for each in pictures[:MAX_PICTURES]]), colWidths=PICTURES)


def _section(title: str, texts: Sequence[str]) -> Iterator[Flowable]:
    if texts:
        yield _line(title, BOLD, 11)
        yield from map(_line, texts)


def _row(finding: Finding, analysed: Analysed) -> list[Flowable]:
    what = f"{finding.tracking_id}: {finding.finding.meaning}"
    side = [finding.laterality.meaning] if finding.laterality else []
    site = [finding.site.meaning] if finding.site else []
    at = None if finding.location is None else analysed.within(finding.location.slice_index)
    image = [] if at is None else [f"image {analysed.slice_names[at]}"]
    measured = "; ".join(map(measurement_words, finding.measurements))
    likely = "" if finding.probability is None else f"{finding.probability:.3g}"
    spread = "" if finding.uncertainty is None else f" \u00b1 {finding.uncertainty:.3g}"
    cells = (what, ", ".join([*site, *side, *image]), measured, likely + spread)
    return [_line(text, FONT, 8) for text in cells]


def _line(text: str, font: str = FONT, size: int = 9) -> Paragraph:
    style = ParagraphStyle(font, fontName=font, fontSize=size, leading=size * 1.3, spaceBefore=size * 0.4)
    return Paragraph(escape(text), style)


def _placed(picture: PilImage.Image) -> Image:
    buffer = BytesIO()
    picture.save(buffer, "PNG")
    scale = min(PICTURE_WIDTH / picture.width, PICTURE_HEIGHT / picture.height)
    return Image(buffer, picture.width * scale, picture.height * scale)


def _in_pairs(pictures: Sequence[Image]) -> list[list[Image | str]]:
    cells: list[Image | str] = [*pictures, *([""] if len(pictures) % 2 else [])]
    return [cells[at : at + 2] for at in range(0, len(cells), 2)]


def _draw_banner(canvas: Canvas, use: str, page: int) -> None:
    canvas.saveState()
    canvas.setFont(BOLD, 8)
    canvas.setFillColor(colors.firebrick)
    canvas.drawString(MARGIN, A4[1] - 11 * mm, use[:100])
    canvas.drawString(MARGIN, 9 * mm, use[:100])
    canvas.drawRightString(A4[0] - MARGIN, 9 * mm, str(page))
    canvas.restoreState()


@cache
def _fonts() -> None:
    for name in (FONT, BOLD):
        pdfmetrics.registerFont(TTFont(name, f"{name}.ttf"))
