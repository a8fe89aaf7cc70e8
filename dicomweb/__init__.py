"""The imaging archive: DICOMweb (PS3.18)."""
