"""deploy/kubernetes.yaml against Kubernetes' own schemas, and against what the image has; no cluster has seen it."""

from __future__ import annotations

import copy
import re
from pathlib import Path
from typing import Any

import kubernetes_validate
import pytest
import yaml

DEPLOY = Path(__file__).parents[3] / "triton_repo" / "deploy"
OLDEST_VERSION = "1.34"  # the first whose pods may sleep before they stop without a feature gate
LAUNCH = (DEPLOY / "launch.sh").read_text(encoding="utf-8")


def documents() -> dict[str, dict[str, Any]]:
    text = (DEPLOY / "kubernetes.yaml").read_text(encoding="utf-8")
    return {document["kind"]: document for document in yaml.safe_load_all(text)}


@pytest.fixture
def pod() -> dict[str, Any]:
    found: dict[str, Any] = documents()["Deployment"]["spec"]["template"]["spec"]
    return found


@pytest.fixture
def container(pod: dict[str, Any]) -> dict[str, Any]:
    (one,) = pod["containers"]
    assert isinstance(one, dict)
    return one


@pytest.mark.parametrize("version", [OLDEST_VERSION, kubernetes_validate.latest_version()])
@pytest.mark.parametrize("kind", ["Deployment", "Service", "NetworkPolicy"])
def test_kubernetes_knows_every_field(kind: str, version: str) -> None:
    kubernetes_validate.validate(documents()[kind], version, strict=True)


def test_a_field_that_is_not_there_would_be_found() -> None:
    broken = copy.deepcopy(documents()["Deployment"])
    broken["spec"]["template"]["spec"]["containers"][0]["securityContext"]["readOnlyRoot"] = True
    with pytest.raises(kubernetes_validate.ValidationError):
        kubernetes_validate.validate(broken, OLDEST_VERSION, strict=True)


def test_the_pod_meets_the_restricted_standard(pod: dict[str, Any], container: dict[str, Any]) -> None:
    """The points of Kubernetes' Pod Security Standard `restricted`, and a read-only root."""
    assert pod["securityContext"]["runAsNonRoot"] is True
    assert pod["securityContext"]["runAsUser"] == 1000
    assert pod["securityContext"]["seccompProfile"] == {"type": "RuntimeDefault"}
    assert container["securityContext"] == {
        "readOnlyRootFilesystem": True,
        "allowPrivilegeEscalation": False,
        "capabilities": {"drop": ["ALL"]},
    }
    assert pod["automountServiceAccountToken"] is False
    assert not {"hostNetwork", "hostPID", "hostIPC"} & set(pod)
    assert all({"name", *(volume.keys() & {"emptyDir", "secret"})} == set(volume) for volume in pod["volumes"])
    assert all("sizeLimit" in volume["emptyDir"] for volume in pod["volumes"] if "emptyDir" in volume)
    assert "memory" in container["resources"]["limits"]


def test_every_probe_sends_a_picture_and_gives_it_time(container: dict[str, Any]) -> None:
    default = float(re.search(r'"--timeout-s", type=float, default=([\d.]+)', (DEPLOY / "health.py").read_text())[1])
    for name in ("startupProbe", "readinessProbe", "livenessProbe"):
        assert container[name]["exec"]["command"] == ["python3", "/repository/health.py"]
        assert container[name]["timeoutSeconds"] > default


def test_it_stops_in_order(pod: dict[str, Any], container: dict[str, Any]) -> None:
    (drain,) = re.findall(r"--exit-timeout-secs=(\d+)", LAUNCH)
    leaving = container["lifecycle"]["preStop"]["sleep"]["seconds"]
    assert pod["terminationGracePeriodSeconds"] > leaving + int(drain)


def test_the_names_fit_each_other(pod: dict[str, Any], container: dict[str, Any]) -> None:
    found = documents()
    labels = found["Deployment"]["spec"]["template"]["metadata"]["labels"]
    assert found["Deployment"]["spec"]["selector"]["matchLabels"] == labels
    assert found["Service"]["spec"]["selector"] == labels
    assert found["NetworkPolicy"]["spec"]["podSelector"]["matchLabels"] == labels
    assert {mount["name"] for mount in container["volumeMounts"]} == {volume["name"] for volume in pod["volumes"]}
    (port,) = container["ports"]
    (served,) = found["Service"]["spec"]["ports"]
    assert served["targetPort"] == port["name"]
    flags = dict(flag.split("=") for flag in container["args"][2:])
    assert {Path(path).parent for flag, path in flags.items() if "cert" in flag or "key" in flag} == {Path("/tls")}


def test_nothing_leaves_and_grpc_alone_comes_in() -> None:
    policy = documents()["NetworkPolicy"]["spec"]
    assert set(policy["policyTypes"]) == {"Ingress", "Egress"}
    assert policy["egress"] == []
    (rule,) = policy["ingress"]
    assert rule["ports"] == [{"protocol": "TCP", "port": 8001}]
    assert rule["from"]
