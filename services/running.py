"""Which services run here and from which lock, so that `transfer reload` finds them.

Each worker leaves a file with its process id beside the model store while it runs.
"""

from __future__ import annotations

import os
import signal
from pathlib import Path

from services.settings import Settings

FOLDER = "transfer-running"
RELOAD = getattr(signal, "SIGHUP", None)  # Windows has none


def mark_running(settings: Settings) -> Path:
    """Leave this process's file; the caller removes it at the end."""
    folder = _folder(settings)
    folder.mkdir(parents=True, exist_ok=True)
    mark = folder / str(os.getpid())
    mark.write_text(f"{settings.lock.absolute()}\n", encoding="utf-8")
    return mark


def tell_to_reload(settings: Settings) -> list[int]:
    """Signal every service that serves this lock; their process ids."""
    told = []
    for mark in sorted(_folder(settings).glob("*")):
        if not mark.name.isdigit() or RELOAD is None:
            continue
        pid = int(mark.name)
        try:
            lock = Path(mark.read_text(encoding="utf-8").strip())
            if lock != settings.lock.absolute() or not _is_python(pid):
                continue
            os.kill(pid, RELOAD)
            told.append(pid)
        except ProcessLookupError:
            mark.unlink(missing_ok=True)  # it was killed
        except OSError:
            continue
    return told


def _is_python(pid: int) -> bool:
    """Whether the process is still one of ours, as far as /proc tells; ids are used again."""
    if not Path("/proc").is_dir():
        return True
    try:
        command = Path(f"/proc/{pid}/cmdline").read_bytes()
    except OSError as error:
        raise ProcessLookupError(pid) from error
    return b"bentoml" in command or b"python" in command


def _folder(settings: Settings) -> Path:
    return settings.plans.absolute().parent / FOLDER
