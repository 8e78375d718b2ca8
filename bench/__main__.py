"""``python -m bench``: each scenario on each database, in a process of its own on a fresh copy."""

import contextlib
import signal
import sqlite3
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from dataclasses import asdict
from importlib import import_module
from pathlib import Path

from bench.databases import (
    POSTGRESQL,
    PostgresSource,
    Source,
    SQLiteSource,
    postgres_server,
    temporary_folder,
)
from bench.options import Options, parse
from bench.processes import ROOT, environment, manage
from bench.report import Found, Run, about, encode
from bench.session import open_session


def main() -> None:
    """Run a whole benchmark, or inside it one scenario."""
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))  # so that processes are ended
    options = parse(sys.argv[1:])
    if options.session is not None:
        _run_scenario(options, options.session)
        return
    with temporary_folder("signoff-bench-") as folder, _sources(options, folder) as sources:
        run = _run_all(options, sources, folder)
    path = run.save()
    print(run.table())
    print(f"\nWritten to {path.relative_to(ROOT)}")
    if run.failures:
        failed = (f"{one['scenario']} on {one['database']}" for one in run.failures)
        print(f"\nFailed: {', '.join(failed)}")
        sys.exit(1)


@contextlib.contextmanager
def _sources(options: Options, folder: Path) -> Iterator[list[Source]]:
    with contextlib.ExitStack() as stack:
        sources: list[Source] = []
        for name in options.databases:
            if name == POSTGRESQL:
                url, log = stack.enter_context(postgres_server(folder))
                sources.append(PostgresSource(url, log))
            else:
                sources.append(SQLiteSource(folder, sqlite3.sqlite_version))
        yield sources


def _run_all(options: Options, sources: list[Source], folder: Path) -> Run:
    versions = {one.vendor: {"version": one.version, **one.settings} for one in sources}
    run = Run(about(versions, asdict(options.sizes)))
    if {"pages", "inbox"} & set(options.scenarios):
        manage("sqlite:////dev/null", "collectstatic", "--no-input", "--verbosity", "0", var=folder)
    for _ in range(options.rounds):
        for scenario in options.scenarios:
            for source in sources:
                _run_one(run, options, source, scenario, folder)
    return run


def _run_one(run: Run, options: Options, source: Source, scenario: str, folder: Path) -> None:
    """Run a scenario in a new process; one that fails is noted and stops nothing else."""
    began_at = time.monotonic()
    name = f"signoff_bench_{scenario}"
    inside = Path(tempfile.mkdtemp(prefix=f"{scenario}-", dir=folder))
    figures = inside / "figures"
    figures.touch()
    errors = inside / "errors"
    arguments = [*options.arguments, "--only", scenario, "--session", str(figures)]
    code = _run_session(arguments, _environment(source, name, folder), errors)
    lines = figures.read_text().splitlines()
    found = [Found.decode(source.vendor, scenario, line) for line in lines]
    run.found += found
    if code:
        text = errors.read_text()
        failure = {"scenario": scenario, "database": source.vendor, "error": text[-4000:]}
        run.failures.append(failure)
        print(text, file=sys.stderr)
    source.drop(name)
    seconds = time.monotonic() - began_at
    print(f"{scenario} on {source.vendor}: {len(found)} figures, {seconds:.0f} s", file=sys.stderr)


def _run_session(arguments: list[str], env: dict[str, str], errors: Path) -> int:
    with errors.open("w") as stderr:
        command = [sys.executable, "-m", "bench", *arguments]
        process = subprocess.Popen(command, cwd=ROOT, env=env, stderr=stderr)
    try:
        return process.wait()
    finally:  # its own workers end with it
        process.terminate()
        process.wait()


def _environment(source: Source, name: str, folder: Path) -> dict[str, str]:
    log = {} if source.log is None else {"BENCH_SERVER_LOG": str(source.log)}
    return {**environment(source.create(name), folder), **log}


def _run_scenario(options: Options, figures: Path) -> None:
    [scenario] = options.scenarios
    session = open_session(options.sizes, figures.parent)
    measure = import_module(f"bench.{scenario}").measure
    with figures.open("a") as file:
        for figure in measure(session):
            file.write(encode(figure) + "\n")
            file.flush()
    from durable.store import close_store  # noqa: PLC0415 - needs Django

    close_store()


if __name__ == "__main__":
    main()
