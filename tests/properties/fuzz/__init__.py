"""What strangers send to the DICOM door, made up: each module holds properties of one kind of input.

`tests/properties/test_fuzz.py` runs them: a few examples each time, many in `make test-all`. What a run once
found stands beside its property as an example and is tried first for ever.
"""
