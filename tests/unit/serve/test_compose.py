"""deploy/compose.yaml and its variant, as far as a reader of YAML goes: no container is started here."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import pytest
import yaml

DEPLOY = Path(__file__).parents[3] / "triton_repo" / "deploy"
CONTAINERFILE = (DEPLOY / "Containerfile").read_text(encoding="utf-8")
LAUNCH = (DEPLOY / "launch.sh").read_text(encoding="utf-8")
OLDEST = (26, 7)  # the oldest release without an unauthenticated denial of service (bulletin of September 2026)


class Reader(yaml.SafeLoader):
    """YAML with compose's own tag, by which a list takes the place of the one before."""


Reader.add_constructor("!override", lambda loader, node: loader.construct_sequence(node, deep=True))


def read(name: str) -> dict[str, Any]:
    document = yaml.load((DEPLOY / name).read_text(encoding="utf-8"), Reader)
    assert isinstance(document, dict)
    return document


@pytest.fixture
def triton() -> dict[str, Any]:
    (service,) = read("compose.yaml")["services"].values()
    assert isinstance(service, dict)
    return service


def test_it_has_no_rights_and_nothing_to_write_to(triton: dict[str, Any]) -> None:
    assert triton["user"] == "1000:1000"
    assert triton["read_only"] is True
    assert triton["cap_drop"] == ["ALL"]
    assert triton["security_opt"] == ["no-new-privileges:true"]
    (tmpfs,) = triton["tmpfs"]
    assert tmpfs.startswith("/tmp:size=")
    assert {"noexec", "nosuid", "nodev"} <= set(tmpfs.partition(":")[2].split(","))
    assert not {"privileged", "cap_add", "volumes", "network_mode", "pid", "ipc", "devices"} & set(triton)


def test_it_is_bounded(triton: dict[str, Any]) -> None:
    assert {"pids_limit", "mem_limit", "shm_size"} <= set(triton)
    assert triton["logging"]["options"].keys() == {"max-size", "max-file"}
    stop = int(re.fullmatch(r"(\d+)s", triton["stop_grace_period"])[1])
    (drain,) = re.findall(r"--exit-timeout-secs=(\d+)", LAUNCH)
    assert stop > int(drain)


def test_grpc_alone_is_published_and_on_loopback(triton: dict[str, Any]) -> None:
    assert triton["ports"] == ["127.0.0.1:8001:8001"]
    assert re.findall(r"^EXPOSE (.*)$", CONTAINERFILE, re.MULTILINE) == ["8001"]
    assert {"--http-address=127.0.0.1", "--metrics-address=127.0.0.1"} <= set(LAUNCH.split())


def test_health_is_a_picture_through_the_ensemble(triton: dict[str, Any]) -> None:
    kind, program, script = triton["healthcheck"]["test"]
    assert (kind, program) == ("CMD", "python3")
    assert f"COPY launch.sh {Path(script).name} /repository/" in CONTAINERFILE
    default = float(re.search(r'"--timeout-s", type=float, default=([\d.]+)', (DEPLOY / "health.py").read_text())[1])
    assert int(triton["healthcheck"]["timeout"].rstrip("s")) > default


def test_mutual_tls_takes_its_files_from_secrets_and_opens_grpc_alone() -> None:
    document = read("compose.mtls.yaml")
    (service,) = document["services"].values()
    assert service["ports"] == ["8001:8001"]
    shell, script, *flags = service["command"]
    assert (shell, script) == ("sh", "/repository/launch.sh")
    assert flags[0] == "--grpc-use-ssl-mutual=true"
    named = {flag.partition("=")[2] for flag in flags[1:]}
    assert named == {f"/run/secrets/{name}" for name in document["secrets"]}
    assert set(service["secrets"]) == set(document["secrets"])


@pytest.mark.parametrize("file", sorted(DEPLOY.rglob("Containerfile")), ids=lambda path: path.parent.name)
def test_every_image_is_of_a_release_without_the_hole_and_runs_as_nobody_special(file: Path) -> None:
    text = file.read_text(encoding="utf-8")
    year, month = re.search(r"^ARG (?:TRITON_)?RELEASE=(\d\d)\.(\d\d)$", text, re.MULTILINE).groups()
    assert (int(year), int(month)) >= OLDEST
    assert re.findall(r"^USER (\S+)$", text, re.MULTILINE)[-1] == "1000:1000"
    assert text.index("USER 1000:1000") > max(
        match.start() for match in re.finditer(r"^(RUN|COPY)", text, re.MULTILINE)
    )
    assert not re.findall(r"^(ADD|ENTRYPOINT|VOLUME)", text, re.MULTILINE)
