"""Images and manifests name what exists: folders, commands, settings, ports. Neither was built or run here."""

from __future__ import annotations

import json
import re
import subprocess
from pathlib import Path
from typing import Any

import hcl2
import pytest
import yaml

from assets.emr import ENTRY_POINT
from lakehouse.contracts import layout
from lakehouse.settings import Settings
from lakehouse.storage import probe
from lakehouse.storage.bucket import LIFECYCLE
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


@pytest.fixture(scope="module")
def terraform() -> dict[str, Any]:
    """Blocks of the Terraform file by kind, type and name; attributes of data and resources."""
    with (REPO / "deploy" / "terraform" / "main.tf").open(encoding="utf-8") as file:
        return plain(hcl2.load(file))


def plain(value: Any) -> Any:
    """The parsed file without the quotes that the parser keeps around strings and labels."""
    if isinstance(value, dict):
        return {name.strip('"'): plain(item) for name, item in value.items() if name != "__is_block__"}
    if isinstance(value, list):
        return [plain(item) for item in value]
    return value.strip('"') if isinstance(value, str) else value


def blocks(terraform: dict[str, Any], kind: str) -> dict[str, Any]:
    """Address (`type.name`) to attributes."""
    return {
        f"{type_}.{name}": body
        for block in terraform[kind]
        for type_, named in block.items()
        for name, body in named.items()
    }


def statements(terraform: dict[str, Any], name: str) -> dict[str, dict[str, Any]]:
    """Statements of a policy by their ids."""
    return {entry["sid"]: entry for entry in blocks(terraform, "data")[f"aws_iam_policy_document.{name}"]["statement"]}


def test_the_bucket_is_closed_encrypted_and_takes_its_rules_from_our_file(terraform):
    found = blocks(terraform, "resource")
    closed = found["aws_s3_bucket_public_access_block.lake"]
    assert {value for name, value in closed.items() if name != "bucket"} == {True}
    assert str(LIFECYCLE.relative_to(REPO)) in str(terraform["locals"])
    assert "local.rules" in str(found["aws_s3_bucket_lifecycle_configuration.lake"])
    assert statements(terraform, "tls_only")["NothingWithoutTls"]["effect"] == "Deny"
    assert "aws:kms" in str(found["aws_s3_bucket_server_side_encryption_configuration.lake"])


def test_roles_may_do_what_the_code_does_and_no_more(terraform):
    jobs = statements(terraform, "jobs")
    written = {layout.DELTA, layout.EXPORTS, layout.PROGRESS, layout.ALERTS, layout.HEALTH, probe.PREFIX}
    folders = re.findall(r"[a-z_]+", str(jobs["WriteTables"]["resources"]).partition(" in ")[2].partition("]")[0])
    assert set(folders) == written
    assert all("Put" not in action and "Delete" not in action for action in jobs["Read"]["actions"])
    serving = statements(terraform, "serving")
    assert set(serving) == {"See", "Read", "Decrypt"}
    assert serving["Read"]["actions"] == ["s3:GetObject"]
    assert layout.SNAPSHOTS in str(serving["Read"]["resources"])
    started = statements(terraform, "orchestrator")
    actions = {*started["FollowJobs"]["actions"], *started["FollowAJob"]["actions"]}
    asked = {"GetApplication", "StartJobRun", "ListJobRuns", "GetJobRun", "CancelJobRun", "GetDashboardForJobRun"}
    assert actions == {f"emr-serverless:{name}" for name in asked}
    for name in ("jobs", "orchestrator", "serving"):
        for statement in statements(terraform, name).values():
            assert "*" not in statement["actions"]
            assert statement["resources"] != ["*"]


def test_the_outputs_are_settings(terraform):
    (output,) = terraform["output"]
    assert set(output["settings"]["value"]) <= OURS


def test_a_job_starts_what_the_image_holds():
    assert (REPO / ENTRY_POINT.removeprefix("local:///opt/creatorlake/")).is_file()
