"""Findings as DICOM objects of the study they were made from: Segmentation and SR TID 1500."""
