"""`python -m lakehouse.simulate.platforms.throughput`: calls a second of an emulator in a process of its own, by kind of call.

Keep-alive connections over plain sockets, so that the client costs little beside the server.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import subprocess
import sys
import time
import urllib.request
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Any

from lakehouse.simulate.platforms.quotas import Quotas

CONNECTIONS = 8
OWN_ID = "17841400000000001"
LISTED = 4_000
"""Accounts of each platform that take part; the second turn over them finds their texts rendered."""


@dataclass(frozen=True, slots=True)
class Kind:
    """Calls of one kind: each a path with its query; all with the same header, which names the account for TikTok."""

    name: str
    paths: list[str]
    headers: list[str]


def main(arguments: Sequence[str] | None = None) -> int:
    """Start an emulator, measure, print a table."""
    parser = argparse.ArgumentParser(prog="python -m lakehouse.simulate.platforms.throughput", description=__doc__)
    parser.add_argument("--creators", type=int, default=37_000)
    parser.add_argument("--calls", type=int, default=2_400, help="calls of each kind")
    given = parser.parse_args(arguments)
    command = [sys.executable, "-m", "lakehouse.simulate.platforms", "--creators", str(given.creators)]
    command += ["--quotas", json.dumps(asdict(Quotas.unlimited()))]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:  # noqa: S603 - our own module
        try:
            line = process.stdout.readline().strip() if process.stdout else ""
            print(line)
            asyncio.run(_measured(line.rpartition(" ")[2], given.calls))
        finally:
            process.terminate()
    return 0


async def _measured(address: str, calls: int) -> None:
    host, port = address.removeprefix("http://").split(":")
    for kind in _kinds(address):
        for turn in ("first", "again"):
            before, started = _cpu(address), time.monotonic()
            share = range(CONNECTIONS)
            await asyncio.gather(*(_caller(host, int(port), kind, place, calls // CONNECTIONS) for place in share))
            seconds, used = time.monotonic() - started, _cpu(address) - before
            print(f"{kind.name:24s}{turn:6s}{calls / seconds:8.0f} calls/s {used / calls * 1e3:8.3f} ms of CPU each")


async def _caller(host: str, port: int, kind: Kind, start: int, count: int) -> None:
    reader, writer = await asyncio.open_connection(host, port)
    for number in range(count):
        place = (start * count + number) % len(kind.paths)
        header = kind.headers[place % len(kind.headers)]
        writer.write(f"GET {kind.paths[place]} HTTP/1.1\r\nHost: {host}\r\n{header}\r\n\r\n".encode())
        head = (await reader.readuntil(b"\r\n\r\n")).lower()
        if b" 200 " not in head[:15]:
            raise RuntimeError(head.decode())
        await reader.readexactly(int(head.partition(b"content-length: ")[2].partition(b"\r\n")[0]))
    writer.close()


def _kinds(address: str) -> list[Kind]:
    accounts = {name: _accounts(address, name) for name in ("instagram", "tiktok", "youtube", "x")}
    ids = {name: [one["id"] for one in found] for name, found in accounts.items()}
    names = [one["handle"] for one in accounts["instagram"]]
    shown = [one["handle"] for one in accounts["instagram"] if one["is_discoverable"]]
    channels = "/youtube/v3/channels?part=snippet,statistics,contentDetails&maxResults=50&id="
    fields = "{id,ig_id,username,name,biography,followers_count,media_count}"
    discovery = f"/v25.0/{OWN_ID}?access_token=ig-a&fields=business_discovery.username"
    users = "/2/users?user.fields=description,public_metrics,created_at,entities&ids="
    user = "/v2/user/info/?fields=open_id,display_name,bio_description,follower_count,username,video_count"
    key, token, paid = ["X-Goog-Api-Key: yt-a"], ["Authorization: Bearer x-a"], ["X-Api-Key: v-a"]
    return [
        Kind("youtube channels, 1", [channels + one for one in ids["youtube"]], key),
        Kind("youtube channels, 50", [channels + many for many in _batches(ids["youtube"], 50)], key),
        Kind("x users, 1", [users + one for one in ids["x"]], token),
        Kind("x users, 100", [users + many for many in _batches(ids["x"], 100)], token),
        Kind("tiktok user", [user] * len(ids["tiktok"]), [f"Authorization: Bearer act.{one}" for one in ids["tiktok"]]),
        Kind("instagram discovery", [f"{discovery}({name}){fields}" for name in shown], ["Accept: */*"]),
        Kind("vendor profiles, 100", [f"/vendor/v1/profiles?usernames={many}" for many in _batches(names, 100)], paid),
    ]


def _batches(keys: list[str], size: int) -> list[str]:
    return [",".join(keys[start : start + size]) for start in range(0, max(len(keys) - size, 1), size)]


def _accounts(address: str, platform: str) -> list[dict[str, Any]]:
    found = _get(address, f"truth/accounts?platform={platform}&limit={LISTED}")["accounts"]
    return [one for one in found if one["status"] in {"active", "private"}]


def _cpu(address: str) -> float:
    return float(_get(address, "process")["cpu_seconds"])


def _get(address: str, path: str) -> dict[str, Any]:
    with urllib.request.urlopen(f"{address}/_emulator/{path}") as response:  # noqa: S310 - the loopback
        found: dict[str, Any] = json.load(response)
    return found


if __name__ == "__main__":
    raise SystemExit(main())
