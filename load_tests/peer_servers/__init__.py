"""The same ONNX file behind other servers, written the ordinary way: what ours is compared with."""
