"""The service against its own ceiling in process and against peers on the same ONNX file.

    python -m load_tests.peers --quick

Every comparison is taken side by side in one run, its phases interleaved, on cores that are shared
with the load generator. How to run it: `docs/peers.md`.
"""
