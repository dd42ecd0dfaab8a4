"""Images and manifests name what exists: folders, commands, settings, ports. Neither was built or run here."""

from __future__ import annotations

import json
import re
import subprocess
from pathlib import Path
from typing import Any

import pytest
import yaml

from lakehouse.settings import Settings
from serving.settings import ServingSettings

REPO = Path(__file__).resolve().parents[2]
IMAGES = sorted((REPO / "deploy" / "images").glob("*.Dockerfile"))
MANIFESTS = sorted((REPO / "deploy" / "kubernetes").glob("*.yaml"))
OURS = {f"CREATORLAKE_{name.upper()}" for name in Settings.model_fields}
OURS |= {f"CREATORLAKE_SERVE_{name.upper()}" for name in ServingSettings.model_fields}


def documents(path: Path) -> list[dict[str, Any]]:
    return list(yaml.safe_load_all(path.read_text(encoding="utf-8")))


def containers(document: dict[str, Any]) -> list[dict[str, Any]]:
    spec = document.get("spec", {})
    spec = spec.get("jobTemplate", {}).get("spec", spec)
    return list(spec.get("template", {}).get("spec", {}).get("containers", []))


@pytest.mark.parametrize("image", IMAGES, ids=lambda path: path.name)
def test_an_image_copies_what_exists(image):
    copied = re.findall(r"^COPY (?!--from)(.+) \S+$", image.read_text(encoding="utf-8"), re.MULTILINE)
    assert copied
    for name in " ".join(copied).split():
        assert (REPO / name).exists(), name


def test_the_build_context_holds_what_the_images_copy():
    allowed = {
        line[1:] for line in (REPO / ".dockerignore").read_text(encoding="utf-8").splitlines() if line.startswith("!")
    }
    copied = {
        name.split("/")[0]
        for image in IMAGES
        for line in re.findall(r"^COPY (?!--from)(.+) \S+$", image.read_text(encoding="utf-8"), re.MULTILINE)
        for name in line.split()
    }
    assert copied <= allowed


def test_the_entry_point_is_a_script():
    entry = REPO / "deploy" / "images" / "entrypoint.sh"
    assert entry.stat().st_mode & 0o111
    subprocess.run(["bash", "-n", str(entry)], check=True)


@pytest.mark.parametrize("manifest", MANIFESTS, ids=lambda path: path.name)
def test_a_manifest_sets_what_we_read(manifest):
    found = [container for document in documents(manifest) for container in containers(document)]
    assert found
    for container in found:
        names = {entry["name"] for entry in container["env"]}
        assert {name for name in names if name.startswith("CREATORLAKE_")} <= OURS
        assert container["securityContext"]["allowPrivilegeEscalation"] is False
        assert {mount["name"] for mount in container["volumeMounts"]}


def test_the_executors_find_the_driver():
    (pipeline,) = (path for path in MANIFESTS if path.name == "pipeline.yaml")
    by_kind = {document["kind"]: document for document in documents(pipeline)}
    (driver,) = containers(by_kind["CronJob"])
    extra = next(entry["value"] for entry in driver["env"] if entry["name"] == "CREATORLAKE_SPARK_EXTRA")
    spark = json.loads(extra)
    service = by_kind["Service"]
    assert spark["spark.driver.host"] == service["metadata"]["name"]
    ports = {str(port["port"]) for port in service["spec"]["ports"]}
    assert ports == {spark["spark.driver.port"], spark["spark.driver.blockManager.port"]}
    labels = by_kind["CronJob"]["spec"]["jobTemplate"]["spec"]["template"]["metadata"]["labels"]
    assert service["spec"]["selector"].items() <= labels.items()
    assert spark["spark.kubernetes.container.image"] == driver["image"]
    assert by_kind["CronJob"]["spec"]["concurrencyPolicy"] == "Forbid"
