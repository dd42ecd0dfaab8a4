"""Tables and the drawing of the search benchmark in `docs/search.md`, from what was measured."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import matplotlib as mpl
from matplotlib.figure import Figure as Drawing

from benchmarks.search_figures import SHARES, Store, System, faster, least_recall, worst

BEGIN, END = "<!-- figures: written by make bench-search PART=page -->", "<!-- end of figures -->"


def write_page(store: Store, ours: str, docs: Path) -> None:
    """Put the tables between the marks of the page and draw the picture."""
    path = docs / "search.md"
    before, _, rest = path.read_text(encoding="utf-8").partition(BEGIN)
    after = rest.partition(END)[2]
    body = "\n".join(_tables(store, ours))
    path.write_text(f"{before}{BEGIN}\n\n{body}\n{END}{after}", encoding="utf-8")
    if store.sizes(ours):
        draw(store, max(store.sizes(ours)), ours, docs / "images" / "search.svg")


def _tables(store: Store, ours: str) -> Iterator[str]:
    for rows in store.sizes(ours):
        systems = store.at(rows)
        done = {name: one for name, one in systems.items() if "failure" not in one}
        yield f"### {rows:,} rows\n"
        yield f"Worst cell of each share of matching rows: queries a second / p50 ms / recall@10.\n\n| engine | {' | '.join(SHARES)} |"
        yield "|---" * (1 + len(SHARES)) + "|"
        for name in _order(done, ours):
            cells = [worst(done[name], share) for share in SHARES]
            said = " | ".join(f"{one['qps']:,.0f} / {one['p50_ms']:.2f} / {one['recall']:.3f}" for one in cells)
            yield f"| {name} | {said} |"
        yield "\n| engine | least recall | cells below .95 | ours to it | build s | open s | memory MiB | disk MiB |"
        yield "|---" * 8 + "|"
        yield from (_system_row(name, done[name], done.get(ours)) for name in _order(done, ours))
        yield ""
        yield from (f"{name}: {one['failure']}.\n" for name, one in systems.items() if "failure" in one)


def _order(systems: dict[str, System], ours: str) -> list[str]:
    """Ours first, the others by name."""
    return sorted(systems, key=lambda name: (name != ours, name))


def _system_row(name: str, system: System, own: System | None) -> str:
    ratio, cells = faster(own, system) if own else (0.0, 0)
    said = f"{ratio:.2g} x in {cells}" if cells and own is not system else ""
    below = sum(cell["recall"] < 0.95 for cell in system["cells"])
    return (
        f"| {name} | {least_recall(system):.3f} | {below} | {said} | {system['build_seconds']:,.0f} | "
        f"{system['load_seconds']:.2f} | {system['pss_mib']:,.0f} | {system['disk_mib']:,.0f} |"
    )


def draw(store: Store, rows: int, ours: str, target: Path) -> None:
    """Queries a second and recall of the worst cell over the share of rows that match."""
    mpl.rcParams["svg.hashsalt"] = "creatorlake"  # the same figures give the same file
    drawing = Drawing(figsize=(10, 4.5), layout="constrained")
    speed, right = drawing.subplots(1, 2)
    systems = {name: one for name, one in store.at(rows).items() if "failure" not in one}
    for name in _order(systems, ours):
        found = [worst(systems[name], share) for share in SHARES]
        style = {"color": "black", "linewidth": 2.5} if name == ours else {"linewidth": 1}
        speed.semilogy(SHARES, [one["qps"] for one in found], "-o", markersize=3, label=name, **style)
        right.plot(SHARES, [one["recall"] for one in found], "-o", markersize=3, **style)
    speed.set(xlabel="rows that match", ylabel="queries a second", title=f"{rows:,} rows, 4 clients, worst cell")
    right.set(xlabel="rows that match", ylabel="recall@10", title="recall of the worst cell", ylim=(0, 1.03))
    right.axhline(0.95, color="grey", linewidth=0.5)
    for axes in (speed, right):
        axes.grid(which="both", alpha=0.3)
    speed.legend(fontsize=8)
    drawing.savefig(target, metadata={"Date": None})
