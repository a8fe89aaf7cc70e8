"""DICOM JSON of ours and of pydicom, made comparable."""


def _stripped(value):
    """Spaces at the end of a value among several are padding; an empty value is null (PS3.18 F.2.5)."""
    if isinstance(value, str):
        return value.strip() or None
    if isinstance(value, dict):  # pydicom writes empty component groups
        return {name: group for name, group in value.items() if group} or None
    return value


def comparable(dicom_json, other):
    """Without group lengths, padding, character set, and the private VRs that pydicom's dictionary knows."""
    plain = {}
    for key, element in dicom_json.items():
        if key.endswith("0000") or key in ("FFFCFFFC", "00080005"):
            continue
        theirs = other.get(key, element)
        if "BulkDataURI" in element or "BulkDataURI" in theirs:
            plain[key] = (str(element["vr"]), "bulk")
        elif int(key[3], 16) % 2 and "UN" in (element["vr"], theirs["vr"]):
            plain[key] = "private"
        elif element["vr"] == "SQ":
            items, others = element.get("Value", []), theirs.get("Value", [])
            assert len(items) == len(others)
            plain[key] = [comparable(a, b) for a, b in zip(items, others, strict=True)]
        else:
            values = [_stripped(value) for value in element.get("Value", [])]
            plain[key] = (str(element["vr"]), [] if values == [None] else values, element.get("InlineBinary"))
    return plain
