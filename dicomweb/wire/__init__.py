"""DICOM and DICOMweb on the wire: bytes and values in, values out; no sockets, files or databases (PS3.5, PS3.10, PS3.18)."""
