"""Search transaction (QIDO-RS), PS3.18 10.6: query parameters → value → SQL → DICOM JSON."""
