"""The rendered manifests acted out on one machine: pods, a real Envoy, rolling updates, a canary.

python -m load_tests.rehearsal --help
"""
