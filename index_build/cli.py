"""Command line of the index: `index build` and `index verify`. Printing only; arguments are parsed by `jobs/cli.py`."""

from __future__ import annotations

from pathlib import Path

from index_build.build import build_from
from index_build.export import open_files
from index_build.manifest import Manifest
from index_build.spec import IndexSpec
from index_build.verify import verify_folder

EXIT_OK = 0
EXIT_BELOW_TARGET = 3
"""The snapshot was written, but its recall forbids publishing it."""


def build(docs: Path, vectors: Path, out: Path, *, spec: IndexSpec | None = None) -> int:
    """Build a snapshot of documents and their vectors and print what came out.

    Args:
        docs: Parquet file or folder with `creator_id` and any other columns.
        vectors: `.npy`, float32 (n, d), rows in the order of the documents.
        out: new folder for the snapshot.
        spec: build choices; the defaults when None.

    Returns:
        Exit code.

    Raises:
        CreatorlakeError: with one sentence for the user.
    """
    manifest = build_from(open_files(docs, vectors), out, spec or IndexSpec())
    print(describe(manifest))
    return EXIT_OK if manifest.is_publishable else EXIT_BELOW_TARGET


def verify(folder: Path) -> int:
    """Check a snapshot folder and print what it holds.

    Raises:
        CreatorlakeError: naming the first thing that is wrong.
    """
    print(describe(verify_folder(folder)))
    return EXIT_OK


def describe(manifest: Manifest) -> str:
    """A snapshot in a few lines, and in as many each of its domains."""
    verdict = "publishable" if manifest.is_publishable else "below its target, not publishable"
    lines = [f"snapshot  {manifest.snapshot_id} ({verdict})", *_described(manifest)]
    for domain in manifest.domains:
        lines += [f"domain    {domain.name}", *_described(domain.manifest)]
    return "\n".join(lines)


def _described(part: Manifest) -> list[str]:
    shape, recall = part.shape, part.recall
    size = sum(entry.size_bytes for entry in part.own_files())
    is_flat = shape.kind == "flat"
    kind = "flat" if is_flat else f"IVF{shape.lists_count},PQ{shape.subquantizers_count}x4fs, refine {shape.refine}"
    return [
        f"rows      {part.rows_count:,} x {shape.dimensions} in {len(part.shards)} shard(s), {size:,} bytes",
        f"index     {kind}",
        f"recall@{recall.k} {recall.unfiltered:.3f} unfiltered, {recall.minimum:.3f} at worst over {len(recall.points)} cells "
        f"(target {recall.target:.2f})",
    ]
