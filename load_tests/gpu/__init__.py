"""What a CUDA device makes of every variant: throughput, memory, and whether fp16 says the same.

In: built variants and a machine with a GPU. Out: `docs/results/gpu.json` and its table in
`docs/results.md`. Run by `python -m load_tests.gpu`; docs/gpu.md has the steps.
"""
