"""Where the command line works and writes."""

from pathlib import Path

from services.settings import ROOT

WORK = ROOT / ".cache"
ADAPTERS = ROOT / "adapters"
CHECKPOINTS = Path("checkpoints")
REPORTS = Path("reports")
ENV_FILE = Path("serving.env")
