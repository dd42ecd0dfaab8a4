"""The `creatorlake` command. Each subcommand's imports are loaded only when it is called; errors are one sentence."""

from __future__ import annotations

import argparse
import datetime as dt
import os
import sys
from collections.abc import Callable, Sequence
from pathlib import Path

from lakehouse.errors import CreatorlakeError, PermanentError
from lakehouse.storage.engine_errors import meaning_of

Handler = Callable[[argparse.Namespace], int]
DEFAULT_PORT = 8000
DAGSTER_PORT = 3000
MAX_PORT = 65_535
DEFAULT_FETCH_MINUTES = 50.0
DEFAULT_WINDOW_DAYS = 30
SHOWN_DEAD = 100


def main(argv: Sequence[str] | None = None) -> int:
    """Parse, dispatch, and turn our own errors into one sentence on stderr and exit code 1."""
    arguments = _parser().parse_args(argv)
    handler: Handler = arguments.handler
    try:
        _choose_lake(arguments)
        return handler(arguments)
    except CreatorlakeError as error:
        sys.stderr.write(f"creatorlake: {error}\n")
        return 1
    except OSError as error:
        sys.stderr.write(f"creatorlake: {error.strerror or error}{f': {error.filename}' if error.filename else ''}.\n")
        return 1
    except KeyboardInterrupt:
        sys.stderr.write("creatorlake: interrupted; what was finished stays, the next run goes on from there.\n")
        return 130
    except Exception as error:
        if meaning := meaning_of(f"{type(error).__name__}: {error}"):
            sys.stderr.write(f"creatorlake: {meaning[1]}.\n")
            return 1
        raise  # a bug shows where it is


def _choose_lake(arguments: argparse.Namespace) -> None:
    """The lake named by the option, else by the environment, else that of the last run unless input is named."""
    from jobs.last_run import recall
    from lakehouse.settings import load_settings

    if getattr(arguments, "lake", None):
        os.environ["CREATORLAKE_LAKE"] = arguments.lake
    elif (
        not os.environ.get("CREATORLAKE_LAKE")
        and not getattr(arguments, "input", None)
        and arguments.handler is not _run
    ):
        last = recall(load_settings().home)
        if last is not None:
            os.environ["CREATORLAKE_LAKE"] = last.lake


def _port(text: str) -> int:
    port = int(text)
    if not 0 < port <= MAX_PORT:
        raise argparse.ArgumentTypeError(f"a port is a number from 1 to {MAX_PORT}")
    return port


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="creatorlake", description="Find the right creator in your own lakehouse.")
    commands = parser.add_subparsers(required=True, metavar="COMMAND")
    _lake_commands(commands)
    _file_commands(commands)
    _index_commands(commands)
    return parser


def _lake_commands(commands: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    run = _command(commands, "run", _run, "materialise everything, publish a snapshot, serve")
    run.add_argument("--input", type=Path, help="folder of raw files; without it a synthetic world")
    run.add_argument("--port", type=_port, default=DEFAULT_PORT)
    run.add_argument("--no-serve", action="store_true", help="end after publishing")
    serve = _command(commands, "serve", _serve, "serve the published snapshot")
    serve.add_argument("--host", default="127.0.0.1")
    serve.add_argument("--port", type=_port, default=DEFAULT_PORT)
    search = _command(commands, "search", _search, "search from the terminal")
    search.add_argument("text")
    search.add_argument("--limit", type=int, default=10)
    search.add_argument("--filters", default="{}", help="filters as JSON, as in POST /v1/search")
    search.add_argument("--domain", help="short or long: compare by short-form or long-form content")
    doctor = _command(commands, "doctor", _doctor, "check this machine and the lake")
    doctor.add_argument(
        "--set-lifecycle", action="store_true", help="first set our lifecycle rules on the lake's bucket"
    )
    _command(commands, "publish", _publish, "export gold, build the index, publish it")
    step = _command(commands, "step", _step, "run one step of the pipeline, if something it depends on changed")
    step.add_argument("name", help="name of its asset in Dagster")
    _fetch_commands(commands)
    erase = _command(commands, "erase", _erase, "take accounts out of the lake and keep them out")
    erase.add_argument(
        "subject",
        nargs="*",
        help="platform:id, platform:@handle or a creator's id; none: what came again of earlier ones",
    )
    judge = _command(commands, "judge", _judge, "say which accounts are one creator's, whatever the scores say")
    judge.add_argument("what", choices=("link", "unlink", "freeze", "undo", "list"))
    judge.add_argument(
        "subject",
        nargs="*",
        help="accounts as platform:id or platform:@handle; freeze: a creator's id; undo: the number of a judgement",
    )
    judge.add_argument("--by", default="", help="who judges; without it the user of this machine")
    judge.add_argument("--note", default="", help="why")
    judge.add_argument("--all", action="store_true", help="list also what was taken back")
    explain = _command(commands, "explain", _explain, "why two accounts are one creator or two")
    explain.add_argument(
        "subject", nargs="+", help="two accounts as platform:id or platform:@handle, or a creator's id"
    )
    explain.add_argument("--json", action="store_true", help="one JSON object a pair")
    rollback = _command(commands, "rollback", _rollback, "serve an older snapshot again")
    rollback.add_argument("snapshot", nargs="?", help="snapshot id; without it the one before the current")
    dev = _command(commands, "dev", _dev, "open Dagster: web page and daemon")
    dev.add_argument("--input", type=Path, help="folder of raw files; without it that of the last run")
    dev.add_argument("--port", type=_port, default=DAGSTER_PORT)


def _fetch_commands(commands: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    fetch = _command(commands, "fetch", _fetch, "work through the fetch queue, or look at it")
    fetch.add_argument("source", nargs="*", help="sources to work for; all active ones without")
    fetch.add_argument("--minutes", type=float, default=DEFAULT_FETCH_MINUTES)
    what = fetch.add_mutually_exclusive_group()
    what.add_argument("--status", action="store_true", help="print queue, budgets and backfills")
    what.add_argument("--dead", action="store_true", help="print dead tasks and their reasons")
    what.add_argument("--redrive", metavar="SOURCE", help="queue a source's dead tasks again")
    what.add_argument("--unpark", metavar="SOURCE", help="ask a source again that was left alone")
    backfill = _command(commands, "backfill", _backfill, "fetch older posts beside the live work")
    backfill.add_argument("source")
    backfill.add_argument("endpoint", help="one that lists posts, as the source declares it")
    backfill.add_argument("--since", type=dt.date.fromisoformat, required=True, help="first day, as 2026-01-31")
    backfill.add_argument("--until", type=dt.date.fromisoformat, required=True, help="day after the last")
    backfill.add_argument("--days", type=int, default=DEFAULT_WINDOW_DAYS, help="length of a window")
    backfill.add_argument("--yes", action="store_true", help="start it whatever it costs")


def _file_commands(commands: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    resolve = _command(commands, "resolve", _resolve, "identity resolution for your own file, no lake needed")
    resolve.add_argument("accounts", type=Path)
    resolve.add_argument("--out", type=Path, required=True)
    resolve.add_argument("--edges", type=Path)
    resolve.add_argument(
        "--train", action="store_true", help="learn from the file itself, without labels, what a score is worth"
    )
    resolve.add_argument(
        "--model", type=Path, help="JSON with what differs from the packaged model, and further fields"
    )
    for name, handler, what in (
        ("tag", _tag, "niches and risks of texts"),
        ("score", _score, "quality and anomaly of accounts"),
    ):
        command = _command(commands, name, handler, f"{what} in a file, no lake needed")
        command.add_argument("file", type=Path)
        command.add_argument("--out", type=Path, required=True)
    simulate = _command(commands, "simulate", _simulate, "write a synthetic creator world")
    simulate.add_argument("folder", type=Path)
    simulate.add_argument("--creators", type=int)
    simulate.add_argument("--seed", type=int)


def _index_commands(commands: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    index = commands.add_parser("index", help="build and verify snapshots of your own vectors")
    actions = index.add_subparsers(required=True, metavar="ACTION")
    build = _command(actions, "build", _index_build, "build a snapshot of documents and vectors")
    build.add_argument("docs", type=Path)
    build.add_argument("vectors", type=Path)
    build.add_argument("--out", type=Path, required=True)
    verify = _command(actions, "verify", _index_verify, "verify a snapshot folder")
    verify.add_argument("folder", type=Path)


def _command(
    commands: argparse._SubParsersAction[argparse.ArgumentParser], name: str, handler: Handler, text: str
) -> argparse.ArgumentParser:
    parser = commands.add_parser(name, help=text, description=text)
    parser.add_argument(
        "--lake", help="folder or s3://bucket/prefix; default CREATORLAKE_LAKE, then that of the last run"
    )
    parser.set_defaults(handler=handler)
    return parser


def _run(arguments: argparse.Namespace) -> int:
    from jobs.run import run

    return run(arguments.input, port=arguments.port, is_serving=not arguments.no_serve)


def _serve(arguments: argparse.Namespace) -> int:
    from serving.cli import serve

    return serve(host=arguments.host, port=arguments.port)


def _search(arguments: argparse.Namespace) -> int:
    from serving.cli import search_text

    return search_text(arguments.text, filters=arguments.filters, limit=arguments.limit, domain=arguments.domain)


def _doctor(arguments: argparse.Namespace) -> int:
    from jobs.doctor import doctor

    return doctor(is_setting_lifecycle=arguments.set_lifecycle)


def _publish(_arguments: argparse.Namespace) -> int:
    from jobs.run import publish

    return publish()


def _erase(arguments: argparse.Namespace) -> int:
    from jobs.run import forget

    return forget(arguments.subject)


def _judge(arguments: argparse.Namespace) -> int:
    from jobs import judge

    if arguments.what == "list":
        return judge.listed(with_all=arguments.all)
    return judge.judge(arguments.what, arguments.subject, by=arguments.by, note=arguments.note)


def _explain(arguments: argparse.Namespace) -> int:
    from jobs.explain import tell

    return tell(arguments.subject, is_json=arguments.json)


def _fetch(arguments: argparse.Namespace) -> int:
    from jobs import fetch

    if arguments.status:
        return fetch.status()
    if arguments.dead:
        return fetch.dead(SHOWN_DEAD)
    if arguments.redrive:
        return fetch.redrive(arguments.redrive)
    if arguments.unpark:
        return fetch.unpark(arguments.unpark)
    return fetch.worker(arguments.source, minutes=arguments.minutes)


def _backfill(arguments: argparse.Namespace) -> int:
    from jobs.fetch import backfill

    return backfill(
        arguments.source,
        arguments.endpoint,
        since=arguments.since,
        until=arguments.until,
        days=arguments.days,
        is_agreed=arguments.yes,
    )


def _step(arguments: argparse.Namespace) -> int:
    from jobs.run import run_alone

    return run_alone(arguments.name)


def _rollback(arguments: argparse.Namespace) -> int:
    from jobs.run import roll_back

    return roll_back(arguments.snapshot)


def _dev(arguments: argparse.Namespace) -> int:
    from jobs.run import dev

    return dev(arguments.input, port=arguments.port)


def _resolve(arguments: argparse.Namespace) -> int:
    from lakehouse.identity.model import load_model
    from lakehouse.identity.resolve import rejected_path, resolve_file

    written = [arguments.out, rejected_path(arguments.out), *([arguments.edges] if arguments.edges else [])]
    _require_apart(arguments.accounts, *written)
    resolved = resolve_file(
        arguments.accounts,
        arguments.out,
        arguments.edges,
        is_trained=arguments.train,
        model=load_model(arguments.model) if arguments.model else None,
        log=_tell,
    )
    for reason, rows in resolved.rejected.items():
        print(f"{rows:,} {'row' if rows == 1 else 'rows'} left out: {reason} ({rejected_path(arguments.out)})")
    return 0


def _tell(text: str) -> None:
    """One line of progress."""
    sys.stderr.write(f"{text}\n")


def _tag(arguments: argparse.Namespace) -> int:
    from lakehouse.enrich.files import tag_file
    from lakehouse.settings import load_settings

    _require_apart(arguments.file, arguments.out)
    settings = load_settings()
    tag_file(arguments.file, arguments.out, model=settings.encoder_model, device=settings.encoder_device)
    return 0


def _score(arguments: argparse.Namespace) -> int:
    from lakehouse.enrich.files import score_file

    _require_apart(arguments.file, arguments.out)
    score_file(arguments.file, arguments.out)
    return 0


def _require_apart(*paths: Path) -> None:
    """Refuse to write over the input or one output over another.

    Raises:
        PermanentError: two paths are one file.
    """
    seen: set[Path] = set()
    for path in paths:
        if path.resolve() in seen:
            raise PermanentError(f"{path} is named twice; what is read and what is written are files of their own.")
        seen.add(path.resolve())


def _simulate(arguments: argparse.Namespace) -> int:
    from jobs.world import write

    return write(arguments.folder, creators=arguments.creators, seed=arguments.seed)


def _index_build(arguments: argparse.Namespace) -> int:
    from index_build.cli import build

    return build(arguments.docs, arguments.vectors, arguments.out)


def _index_verify(arguments: argparse.Namespace) -> int:
    from index_build.cli import verify

    return verify(arguments.folder)


if __name__ == "__main__":
    sys.exit(main())
