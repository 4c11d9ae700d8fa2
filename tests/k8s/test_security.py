"""Pods that can do no more than they must; those that prepare them too."""

from __future__ import annotations

from tests.k8s.conftest import Overlay, Workload, rendered


def test_every_pod_meets_pod_security_restricted(overlay: Overlay) -> None:
    for workload in overlay.workloads:
        security = workload.pod["securityContext"]
        assert security["runAsNonRoot"] is True
        assert security["runAsUser"] > 0
        assert security["seccompProfile"] == {"type": "RuntimeDefault"}
        assert not {"hostNetwork", "hostPID", "hostIPC"} & workload.pod.keys()
        for volume in workload.pod["volumes"]:
            assert volume.keys() - {"name"} <= {"emptyDir", "secret", "persistentVolumeClaim"}


def test_every_container_is_hardened_those_that_prepare_the_pod_too(overlay: Overlay) -> None:
    for workload in overlay.workloads:
        for container in workload.containers:
            assert container["securityContext"] == {
                "allowPrivilegeEscalation": False,
                "readOnlyRootFilesystem": True,
                "capabilities": {"drop": ["ALL"]},
            }


def test_every_container_says_what_memory_it_needs_and_gets_no_more(overlay: Overlay) -> None:
    for workload in overlay.workloads:
        for container in workload.containers:
            resources = container["resources"]
            assert resources["requests"]["memory"] == resources["limits"]["memory"]
            assert "cpu" in resources["requests"]
            assert "cpu" not in resources["limits"], "throttling would show as p99"


def test_what_is_written_to_is_bounded(overlay: Overlay) -> None:
    for workload in overlay.workloads:
        scratch = [each["emptyDir"] for each in workload.pod["volumes"] if "emptyDir" in each]
        assert scratch
        assert all(each["sizeLimit"] for each in scratch)


def test_no_token_reaches_a_pod(overlay: Overlay) -> None:
    for account in overlay.all("ServiceAccount"):
        assert account["automountServiceAccountToken"] is False
    for workload in overlay.workloads:
        assert workload.pod["automountServiceAccountToken"] is False


def test_service_links_do_not_mix_with_the_settings(overlay: Overlay) -> None:
    # A Service named transfer would inject TRANSFER_PORT, TRANSFER_SERVICE_HOST and more.
    for workload in overlay.workloads:
        assert workload.pod["enableServiceLinks"] is False


def test_what_bentoml_and_python_write_to_is_mounted(serving: Overlay) -> None:
    for server in serving.servers:
        mounts = {mount["mountPath"]: mount for mount in server.container["volumeMounts"]}
        for path in ("/tmp", server.variables["BENTOML_HOME"]):
            assert not mounts[path].get("readOnly")


def test_delivered_models_are_read_only_for_the_server() -> None:
    for server in rendered("canary").servers:
        mounts = [each for each in server.container["volumeMounts"] if each["name"] == "models"]
        assert len(mounts) == 2
        assert all(each["readOnly"] for each in mounts)


def test_nothing_leaves_a_server_and_only_named_callers_enter(production: Overlay) -> None:
    for server in production.servers:
        policies = policies_of(production, server)
        assert policies
        for policy in policies:
            assert set(policy["policyTypes"]) == {"Ingress", "Egress"}
            assert not policy.get("egress")
            assert all(rule["from"] for rule in policy["ingress"])


def test_the_jobs_reach_what_they_need_and_no_more() -> None:
    for name in ("loadtest", "train"):
        overlay = rendered(name)
        for job in overlay.workloads:
            for policy in policies_of(overlay, job):
                assert all(rule["to"] for rule in policy["egress"])
    (policy,) = policies_of(rendered("loadtest"), rendered("loadtest").workloads[0])
    reached = [each["podSelector"]["matchLabels"] for each in policy["egress"][0]["to"]]
    assert any(server.has(selector) for selector in reached for server in rendered("dev").servers)


def policies_of(overlay: Overlay, workload: Workload) -> list[dict[str, object]]:
    specs = [each["spec"] for each in overlay.all("NetworkPolicy")]
    return [each for each in specs if workload.has(each["podSelector"]["matchLabels"])]


def test_nobody_asks_without_a_key_which_comes_from_a_secret_that_is_not_ours(
    production: Overlay,
) -> None:
    for server in production.servers:
        (volume,) = [each for each in server.pod["volumes"] if "secret" in each]
        (mount,) = [
            each for each in server.container["volumeMounts"] if each["name"] == volume["name"]
        ]
        file = server.settings["TRANSFER_API_KEYS_FILE"]
        assert file.startswith(f"{mount['mountPath']}/")
        assert "subPath" not in mount, "a file mounted alone never changes in a running pod"
        assert volume["secret"]["secretName"] == "transfer-api-keys", "one for all overlays"
        assert volume["secret"]["optional"] is False, "without keys the service would be open"


def test_no_secret_lies_in_the_manifests(overlay: Overlay) -> None:
    assert not overlay.all("Secret")
