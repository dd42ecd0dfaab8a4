"""Command line of the index: `index build` and `index verify`. Parsing and printing only."""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import Any

from index_build.build import build_from
from index_build.export import open_files
from index_build.manifest import Manifest
from index_build.spec import IndexSpec
from index_build.verify import verify_folder

EXIT_OK = 0
EXIT_BELOW_TARGET = 3
"""The snapshot was written, but its recall forbids publishing it."""


def add_commands(subparsers: Any) -> None:
    """Add `build` and `verify`; each parsed namespace carries `run`, which returns the exit code.

    `subparsers` is what `ArgumentParser.add_subparsers()` returned; its class has no public name.
    """
    build = subparsers.add_parser("build", help="build a snapshot of documents and their vectors")
    build.add_argument("docs", type=Path, help="Parquet file or folder with creator_id and any other columns")
    build.add_argument("vectors", type=Path, help=".npy, float32 (n, d), rows in the order of the documents")
    build.add_argument("--out", type=Path, required=True, help="new folder for the snapshot")
    build.add_argument(
        "--flat-max-rows", type=int, default=IndexSpec().flat_max_rows, help="flat up to this many rows a shard"
    )
    build.add_argument("--shard-max-rows", type=int, default=IndexSpec().shard_max_rows, help="largest shard in rows")
    build.add_argument("--recall-target", type=float, default=IndexSpec().recall_target, help="least recall@10, 0-1")
    build.set_defaults(run=run_build)
    verify = subparsers.add_parser("verify", help="check a snapshot folder against its manifest")
    verify.add_argument("folder", type=Path, help="snapshot folder")
    verify.set_defaults(run=run_verify)


def run_build(arguments: argparse.Namespace) -> int:
    """Build a snapshot and print what came out.

    Raises:
        CreatorlakeError: with one sentence for the user.
    """
    spec = IndexSpec(
        flat_max_rows=arguments.flat_max_rows,
        shard_max_rows=arguments.shard_max_rows,
        recall_target=arguments.recall_target,
    )
    manifest = build_from(open_files(arguments.docs, arguments.vectors), arguments.out, spec)
    print(describe(manifest))
    return EXIT_OK if manifest.recall.minimum >= manifest.recall.target else EXIT_BELOW_TARGET


def run_verify(arguments: argparse.Namespace) -> int:
    """Check a snapshot folder and print what it holds.

    Raises:
        CreatorlakeError: naming the first thing that is wrong.
    """
    print(describe(verify_folder(arguments.folder)))
    return EXIT_OK


def describe(manifest: Manifest) -> str:
    """A snapshot in a few lines."""
    shape, recall = manifest.shape, manifest.recall
    size = sum(entry.size_bytes for entry in manifest.files())
    kind = (
        "flat"
        if shape.kind == "flat"
        else f"IVF{shape.lists_count},PQ{shape.subquantizers_count}x4fs, refine {shape.refine}"
    )
    verdict = "publishable" if recall.minimum >= recall.target else "below its target, not publishable"
    lines = [
        f"snapshot  {manifest.snapshot_id} ({verdict})",
        f"rows      {manifest.rows_count:,} x {shape.dimensions} in {len(manifest.shards)} shard(s), {size:,} bytes",
        f"index     {kind}",
        f"recall@{recall.k} {recall.unfiltered:.3f} unfiltered, {recall.minimum:.3f} at worst over {len(recall.points)} cells "
        f"(target {recall.target:.2f})",
    ]
    return "\n".join(lines)
