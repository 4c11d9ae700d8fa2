"""Peers that this machine cannot run: they are left out, and the record says so.

absent("FastAPI + ONNX Runtime", "fastapi", "uvicorn")    # "" or why
"""

from __future__ import annotations

from importlib.util import find_spec

INSTALL = '`pip install -c constraints.txt -e ".[peers]"`'


def absent(peer: str, *packages: str) -> str:
    """Why a peer is left out; empty where all that it needs is installed."""
    missing = [package for package in packages if find_spec(package) is None]
    if not missing:
        return ""
    return f"{peer} is left out: {', '.join(missing)} is not installed; {INSTALL}"
