"""Models as versioned bundles: volumes in, findings and DICOM objects out."""
