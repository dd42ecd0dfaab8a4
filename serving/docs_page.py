"""`/docs`: the OpenAPI description as one plain page, made here, so that no script of another host is needed."""

from __future__ import annotations

from collections.abc import Mapping
from html import escape
from typing import Any

STYLE_PATH = "/docs/style.css"

STYLE = """
body { font: 16px/1.5 system-ui, sans-serif; max-width: 60rem; margin: 2rem auto; padding: 0 1rem; color: #1c2733; }
code { font: 0.9em ui-monospace, monospace; background: #eef2f6; padding: 0.1em 0.3em; border-radius: 3px; }
h2 { margin-top: 2.5rem; border-bottom: 1px solid #d5dde5; padding-bottom: 0.3rem; }
table { border-collapse: collapse; width: 100%; }
th, td { text-align: left; vertical-align: top; padding: 0.3rem 0.8rem 0.3rem 0; border-bottom: 1px solid #e6ecf1; }
.method { font-weight: 600; text-transform: uppercase; color: #0b6e4f; }
"""


def docs_page(openapi: Mapping[str, Any]) -> str:
    """HTML of an OpenAPI document: routes first, then every schema."""
    routes = [
        _route(path, method, operation)
        for path, methods in openapi["paths"].items()
        for method, operation in methods.items()
    ]
    schemas = [_schema(name, schema) for name, schema in openapi.get("components", {}).get("schemas", {}).items()]
    title = escape(openapi["info"]["title"])
    return (
        f'<!doctype html><html lang="en"><head><meta charset="utf-8"><title>{title}</title>'
        f'<link rel="stylesheet" href="{STYLE_PATH}"></head><body><h1>{title}</h1>'
        f'<p>{escape(openapi["info"].get("description", ""))} <a href="/openapi.json">openapi.json</a></p>'
        f"<h2>Routes</h2><table>{''.join(routes)}</table><h2>Schemas</h2>{''.join(schemas)}</body></html>"
    )


def _route(path: str, method: str, operation: Mapping[str, Any]) -> str:
    summary = escape(operation.get("description") or operation.get("summary") or "")
    return (
        f'<tr><td><span class="method">{escape(method)}</span> <code>{escape(path)}</code></td><td>{summary}</td></tr>'
    )


def _schema(name: str, schema: Mapping[str, Any]) -> str:
    rows = [
        f"<tr><td><code>{escape(field)}</code></td><td>{escape(_type(value))}</td>"
        f"<td>{escape(value.get('description', ''))}</td></tr>"
        for field, value in schema.get("properties", {}).items()
    ]
    text = escape(schema.get("description", ""))
    return f'<h3 id="{escape(name)}">{escape(name)}</h3><p>{text}</p><table>{"".join(rows)}</table>'


def _type(value: Mapping[str, Any]) -> str:
    """Type of a field in words."""
    if "$ref" in value:
        return str(value["$ref"]).rsplit("/", 1)[-1]
    if "anyOf" in value:
        return " or ".join(_type(option) for option in value["anyOf"])
    if value.get("type") == "array":
        return f"list of {_type(value.get('items', {}))}"
    if "enum" in value or "const" in value:
        return ", ".join(str(item) for item in value.get("enum", [value.get("const")]))
    return str(value.get("type", "any"))
