"""Export: checkpoints in, verified and published ONNX variants out."""
