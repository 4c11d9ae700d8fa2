"""Build the image for real and play the rendered overlay in it, without a registry or a cluster.

    python -m load_tests.rehearsal.image        # minutes; needs root, podman, mmdebstrap, kubectl
    python -m load_tests.rehearsal.image --gpu  # bentofile.gpu.yaml in place of bentofile.yaml

A stand-in for python:3.11-slim is made of Debian's packages; then, as documented: `bentoml build`,
`bentoml containerize`, `k8s/images/slim.Containerfile`, `podman kube play` of overlays/cpu-int8.
Out: docs/results/image.json with sizes, and with what the pod answered to whom. Where it cannot be
done, as without podman, it is skipped: the reason is printed, and the exit code is 0.

What podman cannot do is left out of the overlay, and nothing else: several replicas, ports of the
metrics, and it does not decode the base64 of a Secret, so that is the key. The image for a GPU
plays the same overlay with fp32 `intent` on the CPU, and is asked what it says without a device.
"""

from __future__ import annotations

import argparse
import base64
import json
import os
import secrets
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import yaml

from load_tests.environment import environment
from load_tests.rehearsal import with_torch
from load_tests.rehearsal.manifests import ManifestError, Object, render
from load_tests.server import ROOT, free_port
from services.errors import TransferError
from services.settings import LOCK_NAME, bentoml_home, prepare_bentoml

RESULTS = ROOT / "docs" / "results" / "image.json"
TOOLS = ("podman", "mmdebstrap", "kubectl", "runc", "catatonit")
HELPERS = "/usr/libexec/podman:/usr/lib/podman"  # where podman's packages may keep catatonit
STAND_IN = "localhost/transfer-base"
BUILT_FROM = ("services", "README.md", "LICENSE", "NOTICE", "variants.lock.json")
READY_S = 180.0
# Rules that hold where there are no systemd, no cgroup v2 and no right to raise limits.
CONTAINERS = """\
[containers]
default_ulimits = ["nofile=4096:4096", "nproc=4096:4096"]
[engine]
cgroup_manager = "cgroupfs"
runtime = "runc"
"""
# Debian's slim images leave the same out.
LEFT_OUT = [f"--dpkgopt=path-exclude=/usr/share/{name}/*" for name in ("doc", "man", "locale")]
FUNCTIONS = """\
import json, os, sys, urllib.error, urllib.request
def ask(path, body=None, key=""):
    data = None if body is None else json.dumps(body).encode()
    head = {"Content-Type": "application/json", "Authorization": f"Bearer {key}"}
    try:
        request = urllib.request.Request(f"http://127.0.0.1:{PORT}{path}", data, head)
        with urllib.request.urlopen(request, timeout=30) as answer:
            return answer.status, json.load(answer)
    except urllib.error.HTTPError as error:
        return error.code, None
    except OSError:
        return 0, None
"""
# Only this is asked until it is planned: other requests would put the measuring off.
PLANNED = """\
rows = (ask("/models", None, KEY)[1] or {"models": []})["models"]
print(bool(rows) and all(row["plan"]["windows_per_s"] for row in rows if row["loaded"]))
"""
ASK = """\
def write(path):
    try:
        open(path, "w").close()
        return "written"
    except OSError as error:
        return error.strerror
body = {"text": "please move 200 dollars from checking to savings"}
status, answer = ask("/classify", body, KEY)
print(json.dumps({
    "ready": ask("/readyz")[0], "classify": status, "without_key": ask("/classify", body)[0],
    "label": answer and answer["results"][0]["label"], "uid": os.getuid(),
    "write_to_root": write("/x"), "write_to_tmp": write("/tmp/x"),
}))
"""
# What the server says where it is told to use a device that is not there.
WITHOUT_DEVICE = """\
import subprocess
command = ["/home/bentoml/bento/env/docker/entrypoint.sh", "serve", "--port", str(PORT + 1)]
env = {**os.environ, "TRANSFER_PROVIDER": "cuda"}
done = subprocess.run(command, env=env, capture_output=True, text=True, timeout=120)
print(json.dumps({"exit_code": done.returncode, "says": done.stderr.strip().splitlines()[-1]}))
"""


@dataclass(frozen=True)
class Flavour:
    """One of the images.

    building: settings that choose the models of the Bento; playing: those of the pod that differ
    from the overlay's
    """

    name: str
    bentofile: str
    building: Mapping[str, str] = field(default_factory=dict)
    playing: Mapping[str, str] = field(default_factory=dict)

    @property
    def bento(self) -> str:
        return f"localhost/transfer-bento-{self.name}:1"

    @property
    def slim(self) -> str:
        return f"localhost/transfer-slim-{self.name}:1"


CPU = Flavour("cpu", "bentofile.yaml")
# fp16 variants are verified on a device; fp32 ones have the same files but for their precision.
GPU = Flavour(
    "gpu",
    "bentofile.gpu.yaml",
    {"TRANSFER_PROVIDER": "cuda", "TRANSFER_VARIANTS": "full,distilled"},
    {"TRANSFER_VARIANTS": "intent/full"},
)


class ImageError(TransferError):
    """A step of building or playing failed."""

    code = "image"


def missing() -> str:
    """Why it cannot be done here; empty where it can."""
    if os.geteuid():
        return "it needs root: a user's podman has no network here"
    path = f"{os.environ.get('PATH', os.defpath)}:{HELPERS}"
    absent = [name for name in TOOLS if not shutil.which(name, path=path)]
    if absent:
        return f"{', '.join(absent)} is not installed"
    published = (ROOT / LOCK_NAME).is_file()
    return "" if published else f"no model is published: {LOCK_NAME} is missing; `transfer build`"


def main(arguments: Sequence[str] | None = None) -> int:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--gpu", action="store_true", help="the image for a GPU")
    flavour = GPU if parser.parse_args(arguments).gpu else CPU
    prepare_bentoml()
    if why := missing():
        print(f"image: skipped, {why}", file=sys.stderr)
        return 0
    try:
        with tempfile.TemporaryDirectory(prefix="transfer-image-") as name:
            work = Path(name)
            (work / "containers.conf").write_text(CONTAINERS)
            found = {"sizes_mb": build(work, flavour), "played": play(work, flavour)}
    except TransferError as error:
        print(f"image: {error}", file=sys.stderr)
        return 1
    keep(flavour, found)
    print(json.dumps(found, indent=1))
    return 0


def keep(flavour: Flavour, found: dict[str, Any]) -> None:
    """Write what was found; the other flavour keeps what was found of it."""
    record = {
        "command": f"python -m load_tests.rehearsal.image{' --gpu' * (flavour is GPU)}",
        "measured": datetime.now(UTC).isoformat(timespec="seconds"),
        "environment": environment(),
        **found,
    }
    before = json.loads(RESULTS.read_text(encoding="utf-8")) if RESULTS.is_file() else {}
    if flavour is CPU:
        record["with_torch"] = with_torch.compared(found["sizes_mb"]["slim"])
        record |= {"gpu": before["gpu"]} if "gpu" in before else {}
    else:
        record = {**before, "gpu": record}
    RESULTS.write_text(json.dumps(record, indent=1) + "\n", encoding="utf-8")
    with_torch.write()


def build(work: Path, flavour: Flavour) -> dict[str, float]:
    """The images, and their sizes in MB."""
    stand_in(work, f"{STAND_IN}:build", "python3,python3-venv,python3-pip,ca-certificates")
    stand_in(work, f"{STAND_IN}:run", "python3,ca-certificates")
    source = work / "source"
    source.mkdir()
    for name in (*BUILT_FROM, flavour.bentofile):
        path = ROOT / name
        if path.is_dir():
            shutil.copytree(path, source / name, ignore=shutil.ignore_patterns("__pycache__"))
        else:
            shutil.copy(path, source)
    path = source / flavour.bentofile
    bentofile = yaml.safe_load(path.read_text(encoding="utf-8"))
    bentofile["docker"] = {"base_image": f"{STAND_IN}:build"}
    path.write_text(yaml.safe_dump(bentofile), encoding="utf-8")
    env = {"BENTOML_HOME": bentoml_home(), **flavour.building}
    bentoml = (sys.executable, "-m", "bentoml")
    tag = run(work, *bentoml, "build", "-f", path.name, "--output", "tag", cwd=source, env=env)
    name = tag.strip().splitlines()[-1].removeprefix("__tag__:")
    run(work, *bentoml, "containerize", name, "--backend", "podman", "-t", flavour.bento, env=env)
    run(work, *bentoml, "delete", "-y", name, env=env)
    slim = ROOT / "k8s" / "images" / "slim.Containerfile"
    arguments = [f"--build-arg=BENTO={flavour.bento}", f"--build-arg=BASE={STAND_IN}:run"]
    run(work, "podman", "build", "-q", "-f", str(slim), *arguments, "-t", flavour.slim, str(source))
    images = {"base": f"{STAND_IN}:run", "containerized": flavour.bento, "slim": flavour.slim}
    return {name: size_mb(work, image) for name, image in images.items()}


def stand_in(work: Path, image: str, packages: str) -> None:
    """A Debian with its Python, that trusts what this machine trusts."""
    tar, context = work / "base.tar", work / "base"
    run(
        work,
        "mmdebstrap",
        "-q",
        "--variant=minbase",
        *LEFT_OUT,
        f"--include={packages}",
        "bookworm",
        str(tar),
    )
    run(work, "podman", "import", "-q", str(tar), f"{image}-bare")
    tar.unlink()
    context.mkdir(exist_ok=True)
    shutil.copy("/etc/ssl/certs/ca-certificates.crt", context)
    (context / "Containerfile").write_text(
        f"FROM {image}-bare\n"
        "COPY ca-certificates.crt /etc/ssl/certs/ca-certificates.crt\n"
        "ENV SSL_CERT_FILE=/etc/ssl/certs/ca-certificates.crt\n"
        "RUN rm -f /usr/lib/python3*/EXTERNALLY-MANAGED && ln -sf python3 /usr/bin/python\n"
    )
    run(work, "podman", "build", "-q", "-t", image, str(context))


def size_mb(work: Path, image: str) -> float:
    text = run(work, "podman", "image", "inspect", image, "--format", "{{.Size}}")
    return round(int(text) / 1e6, 1)


def overlay(port: int, key: str, flavour: Flavour = CPU) -> list[Object]:
    """What podman plays of overlays/cpu-int8, with the image, a port and a key of this machine."""
    rendered = render(ROOT / "k8s" / "overlays" / "cpu-int8")
    data = {"keys": base64.b64encode(f"image:{key}\n".encode()).decode()}
    metadata = {"name": "transfer-api-keys"}
    played: list[Object] = [
        {"apiVersion": "v1", "kind": "Secret", "metadata": metadata, "data": data}
    ]
    for each in rendered:
        if each["kind"] == "ConfigMap" and "TRANSFER_VARIANTS" in each["data"]:
            each["data"] |= {**flavour.playing, "TRANSFER_METRICS": "open"}
            played.append(each)
        elif each["kind"] == "Deployment":
            each["spec"]["replicas"] = 1
            (container,) = each["spec"]["template"]["spec"]["containers"]
            container["image"] = flavour.slim
            container["args"][container["args"].index("--port") + 1] = str(port)
            container["ports"] = [{"name": "http", "containerPort": port}]
            played.append(each)
    if len(played) != 3:
        raise ManifestError("overlays/cpu-int8 has no settings or no Deployment.", "See k8s/.")
    return played


def play(work: Path, flavour: Flavour) -> dict[str, Any]:
    """What the pod answers from inside, when it is ready and has measured its plans."""
    port, key = free_port(), secrets.token_hex(16)
    objects = overlay(port, key, flavour)
    shown = objects[0]["data"]["keys"]  # podman mounts it as it is
    with playing(work, objects, flavour.slim) as container:
        limit = objects[-1]["spec"]["template"]["spec"]["containers"][0]["resources"]["limits"]
        script = f"PORT, KEY = {port}, {shown!r}\n"
        _wait_planned(work, container, script)
        found = json.loads(_inside(work, container, script + ASK))
        usage = (
            "cat /sys/fs/cgroup/memory/memory.max_usage_in_bytes || cat /sys/fs/cgroup/memory.peak"
        )
        peak = run(work, "podman", "exec", container, "sh", "-c", usage)
        shape = "{{.HostConfig.ReadonlyRootfs}} {{.RestartCount}} {{.EffectiveCaps}}"
        state = run(work, "podman", "inspect", container, "--format", shape).split(maxsplit=2)
        if flavour is GPU:
            found["without_device"] = json.loads(_inside(work, container, script + WITHOUT_DEVICE))
        return {
            **found,
            "read_only_root": state[0] == "true",
            "restarts": int(state[1]),
            "capabilities": state[2].strip(),
            "memory_limit": limit["memory"],
            "memory_peak_mb": round(int(peak) / 1e6, 1),
        }


def _wait_planned(work: Path, container: str, script: str) -> None:
    """Until it has measured how its graphs are best called, when it needs the most memory."""
    until = time.monotonic() + READY_S
    while _inside(work, container, script + PLANNED, strict=False).strip() != "True":
        if time.monotonic() > until:
            logs = run(work, "podman", "logs", "--tail", "20", container)
            raise ImageError(f"The pod had no plans after {READY_S:.0f} s:\n{logs}", "See above.")
        time.sleep(5)


def _inside(work: Path, container: str, script: str, strict: bool = True) -> str:
    """What a script prints inside of the container."""
    command = ("podman", "exec", "-i", container, "python", "-")
    return run(work, *command, stdin=FUNCTIONS + script, strict=strict)


@contextmanager
def playing(work: Path, objects: list[Object], image: str) -> Iterator[str]:
    """The container of the server, for as long as the block runs."""
    file = work / "pod.yaml"
    file.write_text(yaml.safe_dump_all(objects), encoding="utf-8")
    run(work, "podman", "kube", "play", str(file))
    try:
        found = run(work, "podman", "ps", "-q", "--filter", f"ancestor={image}").split()
        if len(found) != 1:
            raise ImageError(
                f"{len(found)} containers run of {image}; expected one.", "See podman."
            )
        yield found[0]
    finally:
        run(work, "podman", "kube", "down", str(file), strict=False)
        run(work, "podman", "secret", "rm", "transfer-api-keys", strict=False)


def run(
    work: Path,
    *command: str,
    cwd: Path = ROOT,
    env: Mapping[str, str] | None = None,
    stdin: str | None = None,
    strict: bool = True,
) -> str:
    """What a command prints; raises ImageError with its last words."""
    ours = {
        "CONTAINERS_CONF": str(work / "containers.conf"),
        "BUILDAH_ISOLATION": "chroot",
        "BENTOML_DO_NOT_TRACK": "True",
    }
    done = subprocess.run(
        command,
        cwd=cwd,
        env={**os.environ, **ours, **(env or {})},
        input=stdin,
        capture_output=True,
        text=True,
        check=False,
    )
    if done.returncode and strict:
        words = (done.stderr or done.stdout)[-2000:]
        raise ImageError(f"`{' '.join(command)[:200]}` ended with {done.returncode}:\n{words}", "")
    return done.stdout


if __name__ == "__main__":
    sys.exit(main())
