"""Load, memory and speed of every variant: what each step of shrinking cost and gained.

`transfer bench --quick` runs it all; `locust -f load_tests/locustfile.py` drives a running server.
"""
