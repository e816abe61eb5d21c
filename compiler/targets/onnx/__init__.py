"""Target "onnx": the loss, and its gradient, as an ONNX model that any runtime can load."""
