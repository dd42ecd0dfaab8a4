"""Renders `docs/settings.md` from the settings classes: `python -m serving.settings_docs`."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from pydantic.fields import FieldInfo
from pydantic_settings import BaseSettings

from lakehouse.settings import Settings
from serving.settings import WEB_FOLDER, ServingSettings

TARGET = Path("docs/settings.md")
HEAD = """# Settings

Generated from the code by `make docs`; do not edit. Every setting is an environment variable; an empty one counts as not
set. `make run` has short forms for the common ones (`INPUT`, `LAKE`, `PORT`), every command `--lake`.

A lake on S3 needs `CREATORLAKE_LAKE=s3://bucket/prefix`, a region, and the keys of the usual AWS chain (or the two
settings below); a store that is not AWS also its endpoint. `creatorlake doctor` says whether the bucket is fit.

When a second machine works on the same lake, give both the same `CREATORLAKE_EMAIL_PEPPER`: with another one, equal
addresses no longer match. The one that a machine made itself is in `{home}/email_pepper`.
"""


def render() -> str:
    """The whole page as Markdown."""
    return "\n".join([HEAD, _section("Pipeline and lake", Settings), _section("Service", ServingSettings)])


def _section(title: str, settings: type[BaseSettings]) -> str:
    prefix = settings.model_config["env_prefix"]
    shown = {name: field for name, field in settings.model_fields.items() if field.default is not WEB_FOLDER}
    shown = {name: field for name, field in shown.items() if field.annotation is not Settings}
    rows = [f"| `{prefix}{name.upper()}` | {_default(field)} | {field.description} |" for name, field in shown.items()]
    return "\n".join([f"## {title}\n", "| variable | default | meaning |", "|---|---|---|", *rows, ""])


def _default(field: FieldInfo) -> str:
    value: Any = field.get_default(call_default_factory=True)
    return "" if value is None or value in ("", {}) else f"`{value}`"


if __name__ == "__main__":
    TARGET.write_text(render(), encoding="utf-8")
