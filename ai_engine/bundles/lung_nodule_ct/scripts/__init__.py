"""Code of the lung nodule bundle; numpy, scipy and onnxruntime only."""
