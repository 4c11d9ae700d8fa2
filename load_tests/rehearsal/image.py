"""Build the image for real and play the rendered overlay in it, without a registry or a cluster.

    python -m load_tests.rehearsal.image        # minutes; needs root, podman, mmdebstrap, kubectl

A stand-in for python:3.11-slim is made of Debian's packages; then, as documented: `bentoml build`,
`bentoml containerize`, `k8s/images/slim.Containerfile`, `podman kube play` of overlays/cpu-int8.
Out: docs/results/image.json with sizes, and with what the pod answered to whom. Where it cannot be
done, as without podman, it is skipped: the reason is printed, and the exit code is 0.

What podman cannot do is left out of the overlay, and nothing else: several replicas, ports of the
metrics, and it does not decode the base64 of a Secret, so that is the key.
"""

from __future__ import annotations

import base64
import json
import os
import secrets
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
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
STAND_IN, BENTO, SLIM = (f"localhost/transfer-{name}" for name in ("base", "bento", "slim"))
BUILT_FROM = ("services", "README.md", "LICENSE", "NOTICE", "variants.lock.json", "bentofile.yaml")
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


def main() -> int:
    prepare_bentoml()
    if why := missing():
        print(f"image: skipped, {why}", file=sys.stderr)
        return 0
    try:
        with tempfile.TemporaryDirectory(prefix="transfer-image-") as name:
            work = Path(name)
            (work / "containers.conf").write_text(CONTAINERS)
            found = {"sizes_mb": build(work), "played": play(work)}
    except TransferError as error:
        print(f"image: {error}", file=sys.stderr)
        return 1
    found["with_torch"] = with_torch.compared(found["sizes_mb"]["slim"])
    record = {
        "command": "python -m load_tests.rehearsal.image",
        "measured": datetime.now(UTC).isoformat(timespec="seconds"),
        "environment": environment(),
        **found,
    }
    RESULTS.write_text(json.dumps(record, indent=1) + "\n", encoding="utf-8")
    with_torch.write()
    print(json.dumps(found, indent=1))
    return 0


def build(work: Path) -> dict[str, float]:
    """The images, and their sizes in MB."""
    stand_in(work, f"{STAND_IN}:build", "python3,python3-venv,python3-pip,ca-certificates")
    stand_in(work, f"{STAND_IN}:run", "python3,ca-certificates")
    source = work / "source"
    source.mkdir()
    for name in BUILT_FROM:
        path = ROOT / name
        if path.is_dir():
            shutil.copytree(path, source / name, ignore=shutil.ignore_patterns("__pycache__"))
        else:
            shutil.copy(path, source)
    bentofile = yaml.safe_load((source / "bentofile.yaml").read_text(encoding="utf-8"))
    bentofile["docker"] = {"base_image": f"{STAND_IN}:build"}
    (source / "bentofile.yaml").write_text(yaml.safe_dump(bentofile), encoding="utf-8")
    env = {"BENTOML_HOME": bentoml_home()}
    bentoml = (sys.executable, "-m", "bentoml")
    tag = run(work, *bentoml, "build", "--output", "tag", cwd=source, env=env)
    name = tag.strip().splitlines()[-1].removeprefix("__tag__:")
    run(work, *bentoml, "containerize", name, "--backend", "podman", "-t", f"{BENTO}:1", env=env)
    run(work, *bentoml, "delete", "-y", name, env=env)
    slim = ROOT / "k8s" / "images" / "slim.Containerfile"
    arguments = [f"--build-arg=BENTO={BENTO}:1", f"--build-arg=BASE={STAND_IN}:run"]
    run(work, "podman", "build", "-q", "-f", str(slim), *arguments, "-t", f"{SLIM}:1", str(source))
    images = {"base": f"{STAND_IN}:run", "containerized": f"{BENTO}:1", "slim": f"{SLIM}:1"}
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


def overlay(port: int, key: str) -> list[Object]:
    """What podman plays of overlays/cpu-int8, with the image, a port and a key of this machine."""
    rendered = render(ROOT / "k8s" / "overlays" / "cpu-int8")
    data = {"keys": base64.b64encode(f"image:{key}\n".encode()).decode()}
    metadata = {"name": "transfer-api-keys"}
    played: list[Object] = [
        {"apiVersion": "v1", "kind": "Secret", "metadata": metadata, "data": data}
    ]
    for each in rendered:
        if each["kind"] == "ConfigMap" and "TRANSFER_VARIANTS" in each["data"]:
            each["data"]["TRANSFER_METRICS"] = "open"
            played.append(each)
        elif each["kind"] == "Deployment":
            each["spec"]["replicas"] = 1
            (container,) = each["spec"]["template"]["spec"]["containers"]
            container["image"] = f"{SLIM}:1"
            container["args"][container["args"].index("--port") + 1] = str(port)
            container["ports"] = [{"name": "http", "containerPort": port}]
            played.append(each)
    if len(played) != 3:
        raise ManifestError("overlays/cpu-int8 has no settings or no Deployment.", "See k8s/.")
    return played


def play(work: Path) -> dict[str, Any]:
    """What the pod answers from inside, when it is ready and has measured its plans."""
    port, key = free_port(), secrets.token_hex(16)
    objects = overlay(port, key)
    shown = objects[0]["data"]["keys"]  # podman mounts it as it is
    with playing(work, objects) as container:
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
def playing(work: Path, objects: list[Object]) -> Iterator[str]:
    """The container of the server, for as long as the block runs."""
    file = work / "pod.yaml"
    file.write_text(yaml.safe_dump_all(objects), encoding="utf-8")
    run(work, "podman", "kube", "play", str(file))
    try:
        found = run(work, "podman", "ps", "-q", "--filter", f"ancestor={SLIM}:1").split()
        if len(found) != 1:
            raise ImageError(
                f"{len(found)} containers run of {SLIM}:1; expected one.", "See podman."
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
