"""``python -m bench.peers``: ours beside DBOS, Absurd and Restate, in one run on one PostgreSQL.

What the peers need goes into ``var/bench-peers``, from the package registries by name.
"""

import argparse
import os
import signal
import subprocess
import sys
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path
from typing import NamedTuple

from bench import ratios
from bench.databases import postgres_server, temporary_folder
from bench.processes import ROOT
from bench.report import RESULTS

HOME = ROOT / "var" / "bench-peers"
PACKAGES = (
    "dbos==3.4.0",
    "absurd-sdk==0.5.1",
    "absurdctl==0.5.1",
    "restate-sdk==1.3.0",
    "aiohttp",
    "hypercorn",
    "psutil",
    "psycopg[binary,pool]==3.3.9",
)
RESTATE_SERVER = "@restatedev/restate-server@1.7.12"
METRICS = "lat,thr,fan,sig,rec"
_VENV = HOME / "venv"
_SERVER = HOME / "node_modules/@restatedev/restate-server-linux-x64/bin/restate-server"
_LIMIT = 900


class Candidate(NamedTuple):
    """How a peer's script is run; ``python`` is known once everything is set up."""

    name: str
    python: Callable[[], Path]
    script: Callable[[Path], Path]
    arguments: tuple[str, ...] = ()


def _theirs(name: str, script: str, *arguments: str) -> Candidate:
    return Candidate(name, lambda: _VENV / "bin/python", lambda peers: peers / script, arguments)


def _ours(name: str, *arguments: str) -> Candidate:
    script = ROOT / "bench" / "ours_bench.py"
    return Candidate(name, lambda: Path(sys.executable), lambda _: script, arguments)


CANDIDATES = (
    _ours("ours"),
    _theirs("dbos", "dbos_bench.py"),
    _theirs("absurd", "absurd_bench.py"),
    _theirs("restate", "restate_bench.py", "--extra", str(_SERVER)),
    _ours("ours-inside", "--mode", "inside"),
)
_DEFAULT = "ours,dbos,absurd,restate"


def main() -> None:
    """Set up, run every metric for one after the other, print the ratios."""
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))  # so that the server is ended
    options = _parser().parse_args()
    chosen = [one for one in CANDIDATES if one.name in options.only.split(",")]
    set_up()
    RESULTS.mkdir(parents=True, exist_ok=True)
    name = f"peers-{datetime.now(UTC):%Y-%m-%dT%H%M%S}.jsonl"
    with temporary_folder("signoff-peers-") as folder, postgres_server(folder) as (url, _):
        environment = {
            **os.environ,
            "BENCH_DSN": url,
            "BENCH_DIR": str(folder),
            "BENCH_OUT": str(RESULTS / name),
            "PYTHONPATH": str(options.peers.resolve()),
            "TMPDIR": str(folder),
        }
        for _ in range(options.rounds):
            for metric in options.metrics.split(","):
                for one in chosen:
                    _run(one, metric, options, environment)
    print(ratios.table(ratios.read([RESULTS / name])))
    print(f"\nWritten to bench/results/{name}")


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python -m bench.peers", description=__doc__)
    parser.add_argument("--peers", type=Path, required=True, help="folder of the peers' harness")
    parser.add_argument("--only", default=_DEFAULT, help="of ours, dbos, absurd, restate, …")
    parser.add_argument("--metrics", default=METRICS, help=f"default {METRICS}; also count, park")
    parser.add_argument("--rounds", type=int, default=1, help="times that everything is done")
    parser.add_argument("--quick", action="store_true", help="small sizes: see that it works")
    parser.add_argument("--defaults", action="store_true", help="the peers' default settings")
    parser.add_argument("rest", nargs="*", help="further options of the harness, after --")
    return parser


def set_up() -> None:
    """Install what the peers need, once."""
    if not (_VENV / "bin/python").exists():
        subprocess.run([sys.executable, "-m", "venv", str(_VENV)], check=True)
    pip = [str(_VENV / "bin/python"), "-m", "pip", "install", "--quiet"]
    subprocess.run([*pip, *PACKAGES], check=True)
    if not _SERVER.exists():
        npm = ["npm", "install", "--silent", "--prefix", str(HOME), RESTATE_SERVER]
        subprocess.run(npm, check=True, cwd=HOME)


_QUICK = ("--lat-n", "8", "--sig-n", "5", "--thr-secs", "1", "--reps", "1", "--fan", "50",
          "--rec-reps", "1", "--park", "200")  # fmt: skip
_NORMAL = ("--lat-n", "40", "--sig-n", "20", "--thr-secs", "4", "--reps", "3", "--rec-reps", "2")


def _run(
    one: Candidate, metric: str, options: argparse.Namespace, environment: dict[str, str]
) -> None:
    command = [
        str(one.python()),
        str(one.script(options.peers.resolve())),
        *one.arguments,
        *("--metrics", metric, "--tuned", "0" if options.defaults else "1"),
        *(_QUICK if options.quick else _NORMAL),
        *options.rest,
    ]
    process = subprocess.Popen(command, env=environment, stdout=sys.stderr)
    try:
        code = process.wait(_LIMIT)
    except subprocess.TimeoutExpired:
        code = -1
    finally:
        process.terminate()  # its own workers end with it
        process.wait()
    if code:
        print(f"{one.name} {metric} ended with {code}", file=sys.stderr)


if __name__ == "__main__":
    main()
