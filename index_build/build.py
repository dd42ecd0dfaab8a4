"""Builds a snapshot folder from an export: sample, train, encode, calibrate, validate, manifest last.

The order of the stages is the whole content of this file; each stage lives in its own module. The folder is built
beside its final name and renamed when complete, so a killed build leaves nothing that looks like a snapshot. The same build started
again goes on with what was finished (`progress.py`).
"""

from __future__ import annotations

import hashlib
import shutil
from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

import faiss
import numpy as np

from index_build.apart import Pieces, ShardName
from index_build.calibrate import calibrate, fitting_cells
from index_build.encode import EncodedShard, Share, encode, shard_files
from index_build.export import DomainVectors, Export, open_export, parquet_rows
from index_build.manifest import (
    DOMAINS,
    FORMAT_VERSION,
    MANIFEST_NAME,
    Domain,
    FileEntry,
    Manifest,
    ShardEntry,
    SideTable,
    SourceTable,
    seal,
)
from index_build.probe import ShardIndex
from index_build.progress import Progress
from index_build.queries import QUERIES_VERSION, Cell
from index_build.refine import FloatArray, RefineRows
from index_build.sample import draw_sample
from index_build.spec import IndexSpec
from index_build.train import Trained, one_thread, require_one_faiss, train
from index_build.validate import Evidence, OpenShard, report_cells, validate
from lakehouse.errors import CreatorlakeError, NotFoundError, PermanentError
from lakehouse.storage.objects import sha256_file
from lakehouse.storage.scratch import LOCK, held

MARK = "build.txt"
"""File of a work folder that says which build it belongs to."""

QUERY_SAMPLE_ROWS = 20_000
"""Rows that calibration queries are combined from: enough that no query repeats."""


def build_snapshot(export_dir: Path, out_dir: Path, spec: IndexSpec, *, log: Callable[[str], None] = print) -> Manifest:
    """Build the snapshot of an export folder in `out_dir`, which must be absent or empty.

    A snapshot whose recall misses the target is written too, for a look at its report; publishing refuses it.

    Raises:
        NotFoundError: the export has no documents.
        SchemaError: the export breaks a rule (see `export.py`).
        PermanentError: `out_dir` holds something.
    """
    return build_from(open_export(export_dir), out_dir, spec, log=log)


def build_from(
    export: Export,
    out_dir: Path,
    spec: IndexSpec,
    *,
    pieces: Pieces | None = None,
    log: Callable[[str], None] = print,
) -> Manifest:
    """As `build_snapshot`, for an opened export; what is among `pieces` is taken from there."""
    require_one_faiss()
    if out_dir.exists() and any(out_dir.iterdir()):
        raise PermanentError(f"{out_dir} is not empty; a snapshot is built into a new folder.")
    draft, work = (out_dir.with_name(f"{out_dir.name}.{suffix}") for suffix in ("draft", "work"))
    with held(work):
        _claim(draft, work, f"{fingerprint(spec)} {export.identity()}", log=log)
        try:
            manifest = build_files(export, draft, work, spec=spec, pieces=pieces, log=log)
        except CreatorlakeError as error:
            if not error.can_retry:  # what is wrong with the input will be wrong again
                _discard(draft, work)
                shutil.rmtree(work)
            raise
        (draft / MANIFEST_NAME).write_bytes(manifest.to_json())
        draft.replace(out_dir)
        _discard(draft, work)
        shutil.rmtree(work)
    return manifest


def fingerprint(spec: IndexSpec) -> str:
    """What a snapshot depends on besides its export: spec, format, how it is measured, and library version."""
    text = f"{FORMAT_VERSION} {QUERIES_VERSION} {faiss.__version__} {spec.model_dump_json()}"
    return hashlib.sha256(text.encode()).hexdigest()[:16]


def _claim(draft: Path, work: Path, what: str, *, log: Callable[[str], None]) -> None:
    """Make the folders of a build, or keep those of the same build that was killed."""
    mark = work / MARK
    if draft.is_dir() and mark.is_file() and mark.read_text(encoding="utf-8") == what:
        log("index: going on with a build that was ended")
        return
    _discard(draft, work)
    draft.mkdir(parents=True)
    mark.write_text(what, encoding="utf-8")


def _discard(draft: Path, work: Path) -> None:
    """Remove what a build has made: first what says that it is one, last and not here the lock."""
    (work / MARK).unlink(missing_ok=True)
    shutil.rmtree(draft, ignore_errors=True)
    for path in work.iterdir():
        if path.is_dir():
            shutil.rmtree(path)
        elif path.name != LOCK:
            path.unlink()


def build_shard(
    export: Export,
    name: ShardName,
    folder: Path,
    *,
    spec: IndexSpec,
    pieces: Pieces,
    log: Callable[[str], None] = print,
) -> EncodedShard:
    """Build one shard of an export, or of one of its domains, for other runs that build the rest; `folder` is for its files.

    Raises:
        NotFoundError: the export has no such domain, or not so many shards.
        CreatorlakeError: as `build_snapshot` raises.
    """
    require_one_faiss()
    part, own = _part(export, name.domain), pieces.of_domain(name.domain)
    if name.number >= spec.shards_count(part.rows_count):
        raise NotFoundError(f"The export has no shard {name}.")
    progress = Progress(folder / "work", folder / "draft", own)
    for path in (progress.work, progress.draft):
        path.mkdir(parents=True, exist_ok=True)
    trained, sample = progress.trained() or _train(part, progress, spec=spec, log=log)
    cells = _Cells.of(trained, sample, spec)
    share = Share(name.number, spec.shards_count(part.rows_count))
    return _encoded(part, trained, share, progress, cells, spec=spec, log=log)


def _part(export: Export, domain: str) -> Export:
    if not domain:
        return export
    vectors = next((known for known in export.domains if known.name == domain), None)
    if vectors is None:
        raise NotFoundError(f"The export has no domain {domain}.")
    return export.domain(vectors)


def build_files(
    export: Export,
    draft: Path,
    work: Path,
    *,
    spec: IndexSpec,
    log: Callable[[str], None],
    pieces: Pieces | None = None,
) -> Manifest:
    """Write all files of a snapshot but its manifest into `draft`; `work` is for temporary files. Both exist.

    They are empty, or hold what a killed call with the same arguments left.
    """
    progress = Progress(work, draft, pieces)
    part = progress.manifest()
    if part is None:
        part = _build_part(export, progress, spec=spec, log=log)
        progress.put_manifest(part)
    domains = build_domains(export, draft, work, spec=spec, log=log, pieces=pieces)
    return seal(part.model_copy(update={"domains": domains}))


def _build_part(export: Export, progress: Progress, *, spec: IndexSpec, log: Callable[[str], None]) -> Manifest:
    """Everything but the domains."""
    rows, draft = export.rows_count, progress.draft
    trained, sample = progress.trained() or _train(export, progress, spec=spec, log=log)
    shared = _write_shared(trained, draft)
    cells = _Cells.of(trained, sample, spec)
    encoded = [
        _encoded(export, trained, Share(shard, spec.shards_count(rows)), progress, cells, spec=spec, log=log)
        for shard in range(spec.shards_count(rows))
    ]
    log("index: calibrating and measuring recall")
    evidence = _evidence(encoded, trained, cells, spec=spec)
    manifest = _manifest(export, trained, encoded, evidence, folder=draft, shared=shared, spec=spec)
    log(f"index: snapshot {manifest.snapshot_id}, recall@{spec.recall_k} {manifest.recall.minimum:.3f} at worst")
    return manifest


def _train(
    export: Export, progress: Progress, *, spec: IndexSpec, log: Callable[[str], None]
) -> tuple[Trained, FloatArray]:
    """What all shards share, and the rows that queries are made of."""
    rows = export.rows_count
    log(f"index: sampling {rows:,} rows of {export.dimensions} dimensions")
    wanted = max(QUERY_SAMPLE_ROWS, spec.train_rows(rows) if spec.kind(rows) == "ivf" else 0)
    sample = draw_sample(export.batches(), min(rows, wanted), seed=spec.seed)
    log(f"index: training a {spec.kind(rows)} index on {len(sample):,} rows")
    trained = train(sample, rows=rows, spec=spec)
    return progress.put_trained(trained, sample[:QUERY_SAMPLE_ROWS].copy())


def _encoded(
    export: Export,
    trained: Trained,
    share: Share,
    progress: Progress,
    cells: _Cells,
    *,
    spec: IndexSpec,
    log: Callable[[str], None],
) -> EncodedShard:
    """A shard, written unless it was."""
    shard = progress.shard(share.shard)
    if shard is None:
        log(f"index: encoding shard {share.shard + 1} of {share.of}")
        files, asked = shard_files(progress.draft, share.shard), cells.of_shard(share.shard)
        shard = encode(export, trained, spec, files, work_dir=progress.work, share=share, cells=asked)
        progress.put_shard(shard)
    progress.share(shard)
    return shard


def build_domains(
    export: Export,
    draft: Path,
    work: Path,
    *,
    spec: IndexSpec,
    log: Callable[[str], None],
    renewed: Callable[[DomainVectors, Path, Path], Manifest | None] | None = None,
    pieces: Pieces | None = None,
) -> tuple[Domain, ...]:
    """Write the domains of an export into a snapshot's `draft`: as `renewed` does, built anew where it gives None."""
    done: list[Domain] = []
    for vectors in export.domains:
        log(f"index: domain {vectors.name}")
        folders = draft / DOMAINS / vectors.name, work / DOMAINS / vectors.name
        for folder in folders:
            folder.mkdir(parents=True, exist_ok=True)
        manifest = renewed(vectors, *folders) if renewed else None
        if manifest is None:
            if renewed:  # it may have begun
                make_empty(*folders)
            own = None if pieces is None else pieces.of_domain(vectors.name)
            manifest = build_files(export.domain(vectors), *folders, spec=spec, log=log, pieces=own)
        done.append(Domain(name=vectors.name, manifest=manifest))
    return tuple(done)


def make_empty(*folders: Path) -> None:
    """Folders with nothing in them."""
    for folder in folders:
        shutil.rmtree(folder, ignore_errors=True)
        folder.mkdir(parents=True)


def _write_shared(trained: Trained, folder: Path) -> tuple[Path, ...]:
    """Write what all shards share: the coarse quantizer of an IVF snapshot, the scale of stored bytes."""
    written: list[Path] = []
    if trained.coarse is not None:
        written.extend(trained.coarse.save(folder))
    if trained.scale is not None:
        written.append(folder / "scale.npy")
        np.save(written[-1], trained.scale, allow_pickle=False)
    return tuple(written)


@dataclass(frozen=True, slots=True)
class _Cells:
    """Queries and filters that constants are fitted on, in the first shard alone, and those of the report, in all of them."""

    fitting: list[Cell]
    report: list[Cell]

    @classmethod
    def of(cls, trained: Trained, sample: FloatArray, spec: IndexSpec) -> _Cells:
        return cls(fitting_cells(sample, spec) if trained.coarse else [], report_cells(sample, spec))

    def of_shard(self, shard: int) -> list[Cell]:
        return self.report if shard else [*self.report, *self.fitting]


def _evidence(encoded: list[EncodedShard], trained: Trained, cells: _Cells, *, spec: IndexSpec) -> Evidence:
    """Constants fitted on the first shard, as all are of a size, and what they deliver over all shards."""
    count = len(cells.report)
    shards = [OpenShard(_open_shard(shard, trained), shard.truths[:count]) for shard in encoded]
    with one_thread():
        fitted = calibrate(shards[0].index, cells.fitting, encoded[0].truths[count:], spec=spec)
        return validate(shards, cells.report, fitted, spec=spec)


def _open_shard(shard: EncodedShard, trained: Trained) -> ShardIndex:
    shape = trained.shape
    refine = RefineRows.open(shard.refine, dimensions=shape.dimensions, scale=trained.scale)
    return ShardIndex(
        shape=shape,
        index=faiss.read_index(str(shard.index), faiss.IO_FLAG_MMAP_IFC),
        coarse=trained.coarse,
        refine=refine,
        lists=np.load(shard.lists, allow_pickle=False),
    )


def _manifest(
    export: Export,
    trained: Trained,
    encoded: list[EncodedShard],
    evidence: Evidence,
    *,
    folder: Path,
    shared: tuple[Path, ...],
    spec: IndexSpec,
) -> Manifest:
    info = export.info
    unsealed = Manifest(
        snapshot_id="0" * 16,
        created_at=datetime.now(UTC).isoformat(timespec="seconds"),
        input_at=export.written_at,
        export_id=info.export_id,
        as_of=info.as_of,
        rows_count=export.rows_count,
        creators_count=export.rows_count,
        model_id=info.model_id,
        shape=trained.shape,
        spec=spec,
        shared=tuple(file_entry(path, folder) for path in shared),
        shards=tuple(shard_entry(shard, folder) for shard in encoded),
        side_tables=copy_side(export, folder),
        source_tables=source_tables(export),
        recall=evidence.report,
        calibration=evidence.calibration,
    )
    return seal(unsealed)


def shard_entry(shard: EncodedShard, folder: Path) -> ShardEntry:
    """A written shard as a manifest names it."""
    return ShardEntry(
        shard=shard.shard,
        rows=shard.rows,
        docs=file_entry(shard.docs, folder, rows=shard.rows),
        index=file_entry(shard.index, folder, rows=shard.rows),
        refine=file_entry(shard.refine, folder, rows=shard.rows),
        lists=file_entry(shard.lists, folder),
    )


def copy_side(export: Export, folder: Path) -> tuple[SideTable, ...]:
    """Copy the side tables of an export into a snapshot folder."""
    return tuple(_copy_side_table(name, paths, folder) for name, paths in sorted(export.side.items()))


def _copy_side_table(name: str, paths: tuple[Path, ...], folder: Path) -> SideTable:
    target = folder / "side" / name
    target.mkdir(parents=True, exist_ok=True)
    entries: list[FileEntry] = []
    for number, path in enumerate(paths):
        copy = target / f"{number:05d}.parquet"
        shutil.copyfile(path, copy)
        entries.append(file_entry(copy, folder, rows=parquet_rows(copy)))
    return SideTable(name=name, rows=sum(entry.rows or 0 for entry in entries), files=tuple(entries))


def source_tables(export: Export) -> tuple[SourceTable, ...]:
    """Tables that an export was made of."""
    return tuple(SourceTable(name=name, version=version) for name, version in sorted(export.info.source_tables.items()))


def file_entry(path: Path, folder: Path, *, rows: int | None = None) -> FileEntry:
    """A file of a snapshot folder as a manifest names it."""
    return FileEntry(
        path=path.relative_to(folder).as_posix(), sha256=sha256_file(path), size_bytes=path.stat().st_size, rows=rows
    )
