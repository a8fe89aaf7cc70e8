import pytest

from dicomweb.search.conditions import MAX_LISTED_UIDS, AnyUid, InvalidQuery, parse_condition

LONGEST = "1." + "2" * 62  # 64 characters, PS3.5 §9.1


@pytest.mark.parametrize("separator", [",", "\\"])
def test_as_many_uids_as_are_allowed_however_long(separator: str) -> None:
    condition = parse_condition("UI", "SOPInstanceUID", separator.join([LONGEST] * MAX_LISTED_UIDS))
    assert condition == AnyUid((LONGEST,) * MAX_LISTED_UIDS)


def test_one_uid_more_is_refused() -> None:
    with pytest.raises(InvalidQuery, match=str(MAX_LISTED_UIDS)):
        parse_condition("UI", "SOPInstanceUID", ",".join(["1.2"] * (MAX_LISTED_UIDS + 1)))
