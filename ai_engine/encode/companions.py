"""What a manifest asks for beside SEG and SR: key objects, pictures and a report to read."""

from collections.abc import Iterator
from dataclasses import dataclass

from pydicom import Dataset

from ai_engine.encode.analysed import Analysed
from ai_engine.encode.source import InstanceReference, Making
from ai_engine.manifest import ResultObjects

STATUS = "Preliminary: made by software, verified by nobody."


@dataclass(frozen=True, slots=True, eq=False)
class Companions:
    """The companions of one result; their builders are loaded only where they are asked for."""

    analysed: Analysed
    making: Making
    asked: ResultObjects

    def images(self) -> Iterator[Dataset]:
        """The key objects and the pictures; none when there is nothing to show."""
        touched = self.analysed.key_slices()
        if self.asked.key_images and touched:
            from ai_engine.encode.key_objects import build_key_objects

            yield build_key_objects(self.analysed, touched, self.making)
        if self.asked.secondary_capture and self.analysed.source.voxels is not None:
            from ai_engine.encode.captures import build_capture

            for number, at in enumerate(touched, 1):
                yield build_capture(self.analysed, at, number, self.making)

    def document(self, sr: InstanceReference) -> Dataset:
        """The report, which there is also when nothing was found."""
        from ai_engine.encode.documents import Pdf, build_document
        from ai_engine.encode.pictures import picture
        from ai_engine.encode.report_pdf import MAX_PICTURES, write_report

        findings, source = self.analysed.findings, self.analysed.source
        pictured = [] if source.voxels is None else self.analysed.key_slices()[:MAX_PICTURES]
        content = write_report(self.analysed, STATUS, [picture(self.analysed, at) for at in pictured])
        # The text does not say of whom it is; a picture may, unless its image says that it does not.
        pdf = Pdf(content, identifies=any(source.burned_in(at) is not False for at in pictured))
        return build_document(pdf, findings.model, source.first, sr, self.making)
