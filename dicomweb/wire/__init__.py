"""DICOM and DICOMweb on the wire (PS3.5, PS3.10, PS3.18 §8): bytes and values in, values out.

Rule: no sockets, files, databases, clocks or framework objects.
"""
