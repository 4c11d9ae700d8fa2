"""How the variants that are served by default are best called on this machine, measured ahead.

The service measures the others by itself, in a quiet moment.
"""

from __future__ import annotations

import sys
from collections.abc import Mapping, Sequence

from services.lock import packaged
from services.manifest import read_manifest
from services.plan import PlanFile
from services.providers import limit_gpu_memory, offered_providers
from services.registry import variant_path
from services.runtime import Runtime, choose_provider, plan_key_of
from services.settings import Settings


def measure_missing(
    tags: Mapping[str, str], settings: Settings, patterns: Sequence[str] = ()
) -> list[str]:
    """Measure the variants of `tags` that have no plan yet; their "model/variant".

    patterns: which ones (`services.registry.packaged`); the default variants without any
    """
    plans, cores, offered = PlanFile(settings.plans), settings.threads, offered_providers()
    limit_gpu_memory(settings.gpu_memory_mb)
    measured = []
    for name in packaged(tags, patterns, settings.provider == "cuda"):
        folder = variant_path(tags[name])
        manifest = read_manifest(folder)
        key = plan_key_of(manifest, choose_provider(manifest, settings.provider, offered), cores)
        if plans.find(key) is None:
            plan = Runtime.load(folder, settings.provider, cores).measure_plan(cores)
            plans.keep(key, plan)
            print(f"{name} is called like this here: {plan}", file=sys.stderr)
            measured.append(name)
    return measured
