"""What happens to every call, whatever platform it is for: route, fault, answer, ledger. No network."""

from __future__ import annotations

from typing import NamedTuple

from lakehouse.simulate.platforms.emulator import Emulator, Platform
from lakehouse.simulate.platforms.faults import LOSSES, REFUSALS, Fault
from lakehouse.simulate.platforms.instagram import Instagram
from lakehouse.simulate.platforms.tiktok import TikTok
from lakehouse.simulate.platforms.vendor import Vendor
from lakehouse.simulate.platforms.wire import Answer, Call, RefusedError
from lakehouse.simulate.platforms.x import X
from lakehouse.simulate.platforms.youtube import YouTube

HTML = (
    "<!DOCTYPE html><html><head><title>Service temporarily unavailable</title></head><body><h1>Sorry</h1></body></html>"
)
PREFIXES = (
    ("/youtube/v3/", "youtube"), ("/2/", "x"), ("/v2/", "tiktok"), ("/v25.0/", "instagram"), ("/vendor/v1/", "vendor"),
)  # fmt: skip
"""Which platform a path belongs to."""
NO_RETRY_AFTER = frozenset({"x"})
"""Platforms that never send Retry-After."""


class Sent(NamedTuple):
    """What goes to the client: an answer, and what happens to it on the way."""

    answer: Answer
    fault: Fault | None = None


DEAD = Sent(Answer(503, ""), Fault.RESET)


class Gate:
    """Lets calls in."""

    def __init__(self, emulator: Emulator) -> None:
        """Start all platforms over one emulator."""
        self._emulator = emulator
        platforms: tuple[Platform, ...] = (
            YouTube(emulator),
            X(emulator),
            TikTok(emulator),
            Instagram(emulator),
            Vendor(emulator),
        )
        self._platforms = {platform.name: platform for platform in platforms}

    def send(self, call: Call) -> Sent:
        """Answer a call of a platform, with its fault if it has one."""
        emulator, name = self._emulator, call.platform
        if emulator.faults.is_dead(name):
            return DEAD
        emulator.ordinals[name] += 1
        ordinal = emulator.ordinals[name]
        fault = emulator.faults.fault(name, ordinal)
        if fault == Fault.RESET:
            call.endpoint = "none"
            emulator.ledger.add(call, DEAD.answer, is_lost=True)
            return DEAD
        if fault == Fault.STALE:
            call.seen_at = call.now - emulator.faults.faults.stale_seconds
        call.has_duplicate = fault == Fault.DUPLICATED
        answer = self._answer(call, fault)
        if fault in REFUSALS and answer.status >= 400 and name not in NO_RETRY_AFTER:
            value = emulator.faults.retry_after(name, ordinal, call.now)
            answer = answer._replace(headers=(*answer.headers, ("Retry-After", value)) if value is not None else ())
        emulator.ledger.add(call, answer, is_lost=fault in LOSSES)
        return Sent(self._disguised(call, answer, fault), fault)

    def _answer(self, call: Call, fault: Fault | None) -> Answer:
        platform = self._platforms[call.platform]
        try:
            return platform.refusal(call, fault) if fault in REFUSALS and fault is not None else platform.answer(call)
        except RefusedError as refused:
            return refused.answer

    def _disguised(self, call: Call, answer: Answer, fault: Fault | None) -> Answer:
        """The answer as the client sees it, after all was charged."""
        if fault == Fault.HTML:
            return Answer(200, HTML, content_type="text/html; charset=utf-8")
        if fault != Fault.ERROR_IN_200:
            return answer
        shadow = Call(call.platform, call.method, call.path, call.params, call.headers, call.body, call.now, call.now)
        try:
            return self._platforms[call.platform].refusal(shadow, Fault.RATE_LIMITED)._replace(status=200)
        except RefusedError as refused:
            return refused.answer._replace(status=200)


def platform_of(path: str) -> str | None:
    """The platform of a path; None where there is none."""
    return next((name for prefix, name in PREFIXES if path.startswith(prefix)), None)
