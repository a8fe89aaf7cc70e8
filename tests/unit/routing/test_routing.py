import random

import pytest
from pydicom.uid import (
    ComprehensiveSRStorage,
    CTImageStorage,
    EncapsulatedPDFStorage,
    MRImageStorage,
    MultiFrameTrueColorSecondaryCaptureImageStorage,
    SecondaryCaptureImageStorage,
    SegmentationStorage,
)

from ai_engine.attributes import AttributeRule, Attributes, problems_of
from ai_engine.kernels import sharpness_of
from ai_engine.routing import (
    Demand,
    InstanceSummary,
    NotWanted,
    SeriesSummary,
    is_derived,
    route,
    selection_of,
)
from ai_engine.wants import Wants
from server.kernel.uids import hash_of_uids

AXIAL = (1.0, 0.0, 0.0, 0.0, 1.0, 0.0)
CORONAL = (1.0, 0.0, 0.0, 0.0, 0.0, -1.0)
CT = Wants(modalities=("CT",), sop_classes=("CTImageStorage",), minimum_slices=10)


def series(
    uid: str,
    slices: int,
    *,
    modality: str = "CT",
    sop_class: str = CTImageStorage,
    image_type: tuple[str, ...] = ("ORIGINAL", "PRIMARY", "AXIAL"),
    orientation: tuple[float, ...] = AXIAL,
    thickness_mm: float | None = 1.0,
    is_ours: bool = False,
    body_part: str | None = None,
    attributes: Attributes | None = None,
) -> SeriesSummary:
    instances = tuple(
        InstanceSummary(
            f"{uid}.{number}",
            str(sop_class),
            image_type,
            orientation,
            thickness_mm,
            is_ours=is_ours,
            attributes=attributes or {},
        )
        for number in range(slices)
    )
    return SeriesSummary(uid, modality, instances, body_part)


def chosen(*study: SeriesSummary, wants: Wants = CT) -> str:
    answer = route(wants, study)
    assert isinstance(answer, Demand), answer
    (only,) = answer.input
    return only.series_instance_uid


def refused(*study: SeriesSummary, wants: Wants = CT) -> str:
    answer = route(wants, study)
    assert isinstance(answer, NotWanted), answer
    return answer.reason


def test_wanted_series_is_demanded_whole() -> None:
    answer = route(CT, [series("1.1", 20)])
    assert isinstance(answer, Demand)
    (only,) = answer.input
    assert only.sop_class_uid == CTImageStorage
    assert only.sop_instance_uids == tuple(f"1.1.{n}" for n in range(20))
    assert answer.input_hash == hash_of_uids(only.sop_instance_uids)


def test_hash_changes_with_a_late_instance_only() -> None:
    early, late = route(CT, [series("1.1", 20)]), route(CT, [series("1.1", 21)])
    assert isinstance(early, Demand)
    assert isinstance(late, Demand)
    assert early.input_hash != late.input_hash
    with_report = route(
        CT, [series("1.1", 20), series("1.2", 1, modality="SR", sop_class=ComprehensiveSRStorage)]
    )
    assert with_report == early


def test_series_with_one_slice_is_routed() -> None:
    assert chosen(series("1.1", 1)) == "1.1"


def test_study_of_another_modality_is_not_wanted() -> None:
    reason = refused(series("1.1", 20, modality="MR", sop_class=MRImageStorage))
    assert reason == "No series of images has modality CT, SOP class CTImageStorage."


def test_empty_study_is_not_wanted() -> None:
    assert refused() == "No series of images has modality CT, SOP class CTImageStorage."
    assert refused(wants=Wants(modalities=(), sop_classes=())) == "The study has no images."


def test_localizers_are_left_out() -> None:
    scout = series("1.1", 2, image_type=("ORIGINAL", "PRIMARY", "LOCALIZER"))
    assert chosen(scout, series("1.2", 20)) == "1.2"
    assert refused(scout) == "Every image is of an excluded Image Type: LOCALIZER."


def test_localizer_within_the_series_is_left_out() -> None:
    scout = series("1.1", 1, image_type=("ORIGINAL", "PRIMARY", "LOCALIZER")).instances[0]
    axial = series("1.1", 20)
    mixed = SeriesSummary("1.1", "CT", (scout, *axial.instances[1:]))
    answer = route(CT, [mixed])
    assert isinstance(answer, Demand)
    assert scout.sop_instance_uid not in answer.input[0].sop_instance_uids


def test_body_part_that_is_stated_must_fit() -> None:
    wants = Wants(modalities=("CT",), sop_classes=(), body_parts=("CHEST",))
    assert chosen(series("1.1", 20, body_part="Chest"), wants=wants) == "1.1"
    assert chosen(series("1.1", 20), wants=wants) == "1.1"
    assert "body part CHEST" in refused(series("1.1", 20, body_part="HEAD"), wants=wants)


@pytest.mark.parametrize(
    ("modality", "sop_class"),
    [
        ("SR", ComprehensiveSRStorage),
        ("SEG", SegmentationStorage),
        ("DOC", EncapsulatedPDFStorage),
        ("CT", SecondaryCaptureImageStorage),
        ("OT", MultiFrameTrueColorSecondaryCaptureImageStorage),
    ],
)
def test_derived_objects_are_routed_only_when_named(modality: str, sop_class: str) -> None:
    anything = Wants(modalities=(), sop_classes=())
    named = Wants(modalities=(), sop_classes=(sop_class.keyword,))
    study = series("1.1", 20, modality=modality, sop_class=sop_class)
    assert is_derived(modality, sop_class)
    refused(study, wants=anything)
    assert chosen(study, wants=named) == "1.1"


def test_what_this_engine_made_is_never_routed() -> None:
    named = Wants(modalities=("SEG",), sop_classes=("SegmentationStorage",))
    refused(series("1.1", 1, modality="SEG", sop_class=SegmentationStorage, is_ours=True), wants=named)


@pytest.mark.parametrize(
    ("better", "worse"),
    [
        pytest.param(series("1.1", 10), series("1.2", 1), id="enough slices"),
        pytest.param(
            series("1.1", 20),
            series("1.2", 300, image_type=("DERIVED", "SECONDARY", "MPR")),
            id="acquired, not computed",
        ),
        pytest.param(series("1.1", 20), series("1.2", 300, orientation=CORONAL), id="axial"),
        pytest.param(series("1.1", 20), series("1.2", 300, orientation=()), id="orientation stated"),
        pytest.param(series("1.2", 300), series("1.1", 20, thickness_mm=0.5), id="most slices"),
        pytest.param(series("1.2", 20), series("1.1", 20, thickness_mm=5.0), id="thinnest"),
        pytest.param(series("1.2", 20), series("1.1", 20, thickness_mm=None), id="thickness stated"),
        pytest.param(series("1.1", 20), series("1.2", 20), id="first by UID"),
    ],
)
def test_better_series_is_chosen_in_whatever_order(better: SeriesSummary, worse: SeriesSummary) -> None:
    assert chosen(better, worse) == chosen(worse, better) == better.series_instance_uid


def test_frames_count_as_slices() -> None:
    frames = InstanceSummary("1.1.0", CTImageStorage, ("ORIGINAL",), AXIAL, 1.0, frames=300)
    assert chosen(SeriesSummary("1.1", "CT", (frames,)), series("1.2", 20)) == "1.1"


def test_order_of_arrival_does_not_change_the_hash() -> None:
    one = series("1.1", 20)
    shuffled = list(one.instances)
    random.Random(7).shuffle(shuffled)
    first, again = route(CT, [one]), route(CT, [SeriesSummary("1.1", "CT", tuple(shuffled))])
    assert isinstance(first, Demand)
    assert isinstance(again, Demand)
    assert first.input_hash == again.input_hash


def test_two_classes_of_one_series_stay_apart() -> None:
    other = series("1.1", 1, sop_class=MRImageStorage).instances[0]
    mixed = SeriesSummary("1.1", "CT", (*series("1.1", 3).instances[1:], other))
    answer = route(Wants(modalities=(), sop_classes=()), [mixed])
    assert isinstance(answer, Demand)
    assert [(s.sop_class_uid, len(s.sop_instance_uids)) for s in answer.input] == [
        (CTImageStorage, 2),
        (MRImageStorage, 1),
    ]


def test_why_other_series_were_passed_over() -> None:
    wants = Wants(
        modalities=("CT",),
        sop_classes=("CTImageStorage",),
        minimum_slices=10,
        maximum_slice_thickness_mm=3.0,
        kernel="soft",
        contrast="without",
    )
    study = {
        "chosen": series("1.1", 20, attributes={"ConvolutionKernel": ("Br40d", "3")}),
        "has fewer slices than the model needs": series("1.2", 5),
        "is of an excluded Image Type such as a localizer": series("1.3", 2, image_type=("LOCALIZER",)),
        "is of another modality, SOP class or body part": series("1.4", 20, modality="MR"),
        "is derived from images": series("1.5", 1, modality="SR", sop_class=ComprehensiveSRStorage),
        "is made by this server": series("1.6", 1, is_ours=True),
        "has slices thicker than the model takes": series("1.7", 300, thickness_mm=5.0),
        "is computed, not acquired": series("1.8", 300, image_type=("DERIVED", "SECONDARY", "MPR")),
        "is not axial": series("1.9", 300, orientation=CORONAL),
        "is of a kernel that suits the model less": series(
            "2.1", 300, attributes={"ConvolutionKernel": ("Bl57d",)}
        ),
        "is with contrast medium by ContrastBolusAgent": series(
            "2.2", 300, attributes={"ContrastBolusAgent": ("Iohexol",)}
        ),
        "has fewer slices than another": series("2.3", 19, attributes={"ConvolutionKernel": ("B30f",)}),
        "has thicker slices than another": series(
            "2.4", 20, thickness_mm=2.0, attributes={"ConvolutionKernel": ("FC08",)}
        ),
        "equals another whose UID comes first": series(
            "2.5", 20, attributes={"ConvolutionKernel": ("STANDARD",)}
        ),
    }
    answer = route(wants, list(study.values()))
    assert isinstance(answer, Demand)
    assert answer.input[0].series_instance_uid == "1.1"
    told = {each.reason: each.series_instance_uid for each in answer.passed_over}
    assert told == {reason: each.series_instance_uid for reason, each in study.items() if reason != "chosen"}


@pytest.mark.parametrize(
    ("rule", "fitting", "unfitting"),
    [
        (AttributeRule(keyword="EchoTime", at_least=60, at_most=120), (80.0,), (30.0,)),
        (AttributeRule(keyword="DiffusionBValue", at_most=50), (0,), (1000,)),
        (AttributeRule(keyword="ScanningSequence", one_of=("SE",)), ("SE", "IR"), ("GR",)),
        (AttributeRule(keyword="ScanOptions", none_of=("fs",)), ("PFF",), ("FS",)),
        (AttributeRule(keyword="ViewPosition", stated=True), ("PA",), ("",)),
        (AttributeRule(keyword="ContrastBolusAgent", stated=False), (), ("Gadobutrol",)),
        (AttributeRule(keyword="EchoTime", at_least=60), (60,), ("long",)),
    ],
)
def test_attributes_are_asked_for(
    rule: AttributeRule, fitting: tuple[str | float, ...], unfitting: tuple[str | float, ...]
) -> None:
    wants = Wants(modalities=(), sop_classes=(), attributes=(rule,))
    fits = series("1.1", 3, modality="MR", sop_class=MRImageStorage, attributes={rule.keyword: fitting})
    does_not = series("1.2", 9, modality="MR", sop_class=MRImageStorage, attributes={rule.keyword: unfitting})
    assert chosen(fits, does_not, wants=wants) == "1.1"
    assert refused(does_not, wants=wants) == (
        f"No series is as the model asks: the nearest one is not as asked in {rule.keyword}."
    )
    if not rule.stated:
        assert chosen(series("1.3", 3, modality="MR", sop_class=MRImageStorage), wants=wants) == "1.3"


def test_projections_come_from_all_series() -> None:
    wants = Wants(modalities=("MG",), sop_classes=(), input="projections")
    views = [series(uid, 1, modality="MG", orientation=()) for uid in ("1.3", "1.1")]
    answer = route(wants, [*views, series("1.2", 20)])
    assert isinstance(answer, Demand)
    assert [each.series_instance_uid for each in answer.input] == ["1.1", "1.3"]
    assert [each.series_instance_uid for each in answer.passed_over] == ["1.2"]


def test_a_model_cannot_ask_for_any_attribute() -> None:
    rules = (AttributeRule(keyword="PatientName"), AttributeRule(keyword="ScanOptions", at_most=1))
    assert problems_of(rules) == [
        "PatientName is no attribute that a model may ask for",
        "ScanOptions is no number",
    ]


@pytest.mark.parametrize(
    ("kernel", "sharpness"),
    [
        *((name, "soft") for name in ("B30f", "I31f", "Br40d", "Qr36", "FC08", "STANDARD", "soft", "B")),
        *((name, "sharp") for name in ("B70f", "I70f", "Bl57d", "Hr64h", "FC51", "LUNG", "BONEPLUS", "YA")),
        *((name, None) for name in ("", "DETAIL", "FOO30", "KERNEL")),
    ],
)
def test_the_sharpness_of_a_kernel_by_its_name(kernel: str, sharpness: str | None) -> None:
    assert sharpness_of(kernel) == sharpness


def test_selection_is_read_from_its_json() -> None:
    text = '{"modalities": ["CT"], "sop_classes": ["CTImageStorage"], "minimum_slices": 10}'
    assert selection_of(text) == CT
