"""Routes under `/_emulator/`: another process moves the clock, reads ledger and truth, switches faults and drifts."""

from __future__ import annotations

import datetime as dt
import json
import time
from collections.abc import Callable
from dataclasses import asdict, fields
from typing import Any

from lakehouse.contracts.taxonomy import PLATFORMS
from lakehouse.errors import SettingsError
from lakehouse.simulate.platforms.drift import Drift
from lakehouse.simulate.platforms.emulator import Emulator
from lakehouse.simulate.platforms.faults import Faults
from lakehouse.simulate.platforms.quotas import Quotas
from lakehouse.simulate.platforms.truth import accounts_of, fresh_ratio
from lakehouse.simulate.platforms.wire import Answer, Call

BASE = "/_emulator/"
MOST_LISTED = 10_000
"""Accounts that one answer lists at most."""
Document = dict[str, Any]


class Control:
    """Answers the emulator's own routes; costs nothing, stands in no ledger, has no faults."""

    def __init__(self, emulator: Emulator) -> None:
        """Control of an emulator."""
        self._emulator = emulator
        self._routes: dict[tuple[str, str], Callable[[Call], Document]] = {
            ("GET", "clock"): self._clock,
            ("POST", "clock"): self._set_clock,
            ("GET", "process"): lambda _: {"cpu_seconds": time.process_time()},
            ("GET", "ledger"): self._ledger,
            ("DELETE", "ledger"): self._clear_ledger,
            ("GET", "truth"): self._truth,
            ("GET", "truth/accounts"): self._accounts,
            ("POST", "truth/fresh"): self._fresh,
            ("GET", "faults"): lambda _: asdict(self._emulator.faults.faults),
            ("POST", "faults"): self._set_faults,
            ("GET", "drift"): lambda _: asdict(self._emulator.drift),
            ("POST", "drift"): self._set_drift,
            ("GET", "quotas"): lambda _: asdict(self._emulator.quotas),
            ("POST", "quotas"): self._set_quotas,
        }

    def answer(self, call: Call) -> Answer:
        """Answer a control call; 400 with a sentence where it makes no sense."""
        handler = self._routes.get((call.method, call.path.removeprefix(BASE).strip("/")))
        if handler is None:
            return _answer(404, {"error": "No such control route."})
        try:
            return _answer(200, handler(call))
        except (SettingsError, ValueError, KeyError, TypeError) as error:
            return _answer(400, {"error": f"{type(error).__name__}: {error}"})

    def _clock(self, _: Call) -> Document:
        clock = self._emulator.clock
        return {"now": clock.now().isoformat(), "seconds": clock.seconds(), "speed": clock.speed}

    def _set_clock(self, call: Call) -> Document:
        given, clock = _document(call, {"now", "advance_seconds", "speed"}), self._emulator.clock
        if "speed" in given:
            clock.run_at(float(given["speed"]))
        if "now" in given:
            clock.jump(_time(given["now"]))
        if "advance_seconds" in given:
            clock.jump(float(given["advance_seconds"]))
        return self._clock(call)

    def _ledger(self, call: Call) -> Document:
        platform = call.params.get("platform")
        ledger = self._emulator.ledger
        rows = [row for row in ledger.rows() if platform in {None, row["platform"]}]
        return {"entries": rows, "total": ledger.total(platform)}

    def _clear_ledger(self, call: Call) -> Document:
        self._emulator.ledger.clear()
        return self._ledger(call)

    def _at(self, call: Call) -> float:
        return _time(call.params["at"]).timestamp() if "at" in call.params else call.now

    def _truth(self, call: Call) -> Document:
        """One account, by `id` or `handle`, or the sizes of all platforms."""
        registry, at = self._emulator.registry, self._at(call)
        if "platform" not in call.params:
            return {"accounts": {book.name: len(book) for book in registry.books}, "seed": registry.world.seed}
        book = registry.book(call.params["platform"])
        row = (
            book.row_of_id(call.params["id"]) if "id" in call.params else book.row_of_handle(call.params["handle"], at)
        )
        return {"account": None if row is None else book.state(row, at).as_dict()}

    def _accounts(self, call: Call) -> Document:
        """Accounts of a platform from `offset` on, at most `limit`."""
        registry, platform = self._emulator.registry, call.params["platform"]
        offset = int(call.params.get("offset", "0"))
        limit = min(int(call.params.get("limit", str(MOST_LISTED))), MOST_LISTED)
        found = accounts_of(registry, platform, self._at(call), offset=offset, limit=limit)
        return {"accounts": found, "total": len(registry.book(platform))}

    def _fresh(self, call: Call) -> Document:
        """Share of a platform's accounts whose followers, given by id, are within the tolerance of the true ones."""
        given = _document(call, {"platform", "shown", "at", "tolerance"})
        at = _time(given["at"]).timestamp() if "at" in given else call.now
        shown = {str(key): int(value) for key, value in given["shown"].items()}
        tolerance = float(given.get("tolerance", 0.01))
        ratio = fresh_ratio(self._emulator.registry, given["platform"], shown, at, tolerance=tolerance)
        return {"platform": given["platform"], "fresh_ratio": ratio}

    def _set_faults(self, call: Call) -> Document:
        self._emulator.set_faults(faults_of(call.document() or {}))
        return asdict(self._emulator.faults.faults)

    def _set_drift(self, call: Call) -> Document:
        self._emulator.drift = Drift(**_document(call, {one.name for one in fields(Drift)}))
        return asdict(self._emulator.drift)

    def _set_quotas(self, call: Call) -> Document:
        self._emulator.quotas = quotas_of(call.document() or {})
        return asdict(self._emulator.quotas)


def faults_of(given: Document) -> Faults:
    """Rates of faults from JSON; lists become tuples, unnamed ones are 0.

    Raises:
        SettingsError: a name is unknown, or the rates are more than 1 together.
    """
    _check(given, {one.name for one in fields(Faults)})
    unknown = set(given.get("dead_platforms", [])) | set(given.get("platforms", []))
    if unknown - {*PLATFORMS, "vendor"}:
        raise SettingsError(f"Unknown platforms: {', '.join(sorted(unknown - {*PLATFORMS, 'vendor'}))}.")
    settled: Any = {name: tuple(value) if isinstance(value, list) else value for name, value in given.items()}
    return Faults(**settled)


def quotas_of(given: Document) -> Quotas:
    """Quotas from JSON; unnamed ones have their defaults.

    Raises:
        SettingsError: a name is unknown.
    """
    _check(given, {one.name for one in fields(Quotas)})
    return Quotas(**given)


def _check(given: Document, known: set[str]) -> None:
    unknown = sorted(set(given) - known)
    if unknown:
        raise SettingsError(f"Unknown: {', '.join(unknown)}. Known: {', '.join(sorted(known))}.")


def _document(call: Call, known: set[str]) -> Document:
    given = call.document()
    if given is None:
        raise SettingsError("The body is no JSON object.")
    _check(given, known)
    return given


def _time(value: str) -> dt.datetime:
    found = dt.datetime.fromisoformat(value)
    return found if found.tzinfo else found.replace(tzinfo=dt.UTC)


def _answer(status: int, body: Document) -> Answer:
    return Answer(status, json.dumps(body))
