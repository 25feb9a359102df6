"""The public suite of HTTP cache tests against a running gateway: how many of its tests pass.

The suite is no part of this tree: `TIDEGATE_CACHE_TESTS` names a checkout of http-tests/cache-tests.
`python -m bench.measurements.cache_conformance [TEST]` prints one run, or the way of one test.
"""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from statistics import median
from typing import Any, Final

from bench import inside
from bench.measure import QUICK, Effort, Outcome, Table
from bench.stage import BenchError, Stage, wait_until_open
from tidegate.sandbox import Authority

SUITE: Final = "TIDEGATE_CACHE_TESTS"
_HERE: Final = Path(__file__).parent.parent / "conformance"
_ROUNDS: Final = 3
_RUN_S: Final = 600
# What a shared cache in the open may do, so that the suite has something to judge. The defaults are stricter.
_DECLARED: Final = """
version: 1
gateway: {{listen: [{{bind: "127.0.0.1:0"}}]}}
clients: {{acme: {{}}}}
consumers: {{app: {{clients: [acme]}}}}
providers:
  suite:
    auth: none
    hosts: [localhost]
{same}
  api:
    auth: {{header: Authorization, field: token}}
{same}
grants:
  - {{consumer: app, provider: suite, operations: ["*"]}}
  - {{consumer: app, provider: api, operations: ["*"]}}
"""
_SAME: Final = """
    origin: https://localhost:{port}
    http: "1.1"
    operations: [{operations}]
    allow_private: [127.0.0.0/8, "::1/128"]
    tls: {{ca: {ca}}}
    cache:
      mode: public
      heuristic: true
      errors: true
      stale_if_error: 1h
      max_stale: 1h
      targeted: [CDN-Cache-Control]
      unkeyed: ["*"]
      operations: {{"GET /state/{{id}}": {{mode: off}}}}
"""
_OPERATIONS: Final = (
    "PUT /config/{id}",
    "GET /state/{id}",
    *(
        f"{method} {path}"
        for path in ("/test/{id}", "/test/{id}/{file}")
        for method in ("GET", "HEAD", "POST", "PUT", "DELETE", "M-SEARCH")
    ),
)


def measure(_stage: Stage, effort: Effort) -> Outcome:
    folder = os.environ.get(SUITE)
    if folder is None:
        raise BenchError(f"set `{SUITE}` to a checkout of http-tests/cache-tests")
    with (
        tempfile.TemporaryDirectory(prefix="tidegate-bench-") as place,
        _gateway(Path(place), Path(folder)) as gateway,
    ):
        # A run that falls on the edge of a second loses tests that were not lost: the median counts.
        runs = [_run(Path(folder), *gateway) for _ in range(1 if effort is QUICK else _ROUNDS)]
    rows = [
        (kind, *(f"{run['kinds'][kind][0]}/{run['kinds'][kind][1]}" for run in runs))
        for kind in ("required", "optimal", "check")
    ]
    passed = {
        kind: median(run["kinds"][kind][0] for run in runs) for kind in ("required", "optimal")
    }
    return Outcome(
        figures={f"traffic.cache_{kind}": float(count) for kind, count in passed.items()},
        table=Table(
            "http-tests/cache-tests", ("", *(f"run {n + 1}" for n in range(len(runs)))), rows
        ),
        rounds={"runs": runs},
    )


def _run(suite: Path, *given: str, test: Sequence[str] = ()) -> Mapping[str, Any]:
    ended = subprocess.run(
        [_node(), "--no-warnings", _HERE / "suite.mjs", suite, *given, *test],
        capture_output=True,
        text=True,
        timeout=_RUN_S,
        check=False,
    )
    lines = ended.stdout.splitlines()
    if ended.returncode != 0 or not lines:
        raise BenchError(f"the suite ended with status {ended.returncode}: {ended.stderr[-2_000:]}")
    if test:
        print("\n".join(lines[:-1]))
    return json.loads(lines[-1])


@contextmanager
def _gateway(folder: Path, suite: Path) -> Iterator[tuple[str, str, str]]:
    """Run the suite's server, and a gateway before it; yields the two providers' URLs and a token."""
    authority = Authority()
    certificate = authority.certificate(["localhost"])
    files = {
        "ca": folder / "ca.pem",
        "certfile": folder / "server.pem",
        "keyfile": folder / "server.key",
    }
    authority.write(files["ca"])
    files["certfile"].write_bytes(certificate.chain_pem)
    files["keyfile"].write_bytes(certificate.key_pem.reveal())
    with _server(folder, suite, files) as port:
        operations = ", ".join(json.dumps(one) for one in _OPERATIONS)
        same = _SAME.format(port=port, ca=files["ca"], operations=operations)
        declared = _DECLARED.format(same=same)
        with inside.running(folder, declared, [("acme", "default", {"token": "FOO"})]) as gateway:
            port_of_gateway = gateway.url.rpartition(":")[2]
            yield f"http://localhost:{port_of_gateway}", f"{gateway.url}/api", gateway.token


@contextmanager
def _server(folder: Path, suite: Path, files: Mapping[str, Path]) -> Iterator[int]:
    with Stage() as stage:
        port = stage.free_port()
        settings = {
            "protocol": "https",
            "port": str(port),
            "pidfile": str(folder / "suite.pid"),
            **{name: str(file) for name, file in files.items() if name != "ca"},
        }
        names: Sequence[str] = ("npm_package_config_", "npm_config_")
        server = stage.start(
            "suite",
            [_node(), "--require", _HERE / "loopback.cjs", suite / "test-engine/server/server.mjs"],
            core=stage.cores.load,
            env={f"{start}{name}": value for start in names for name, value in settings.items()},
        )
        wait_until_open(server, port)
        yield port


def _node() -> str:
    node = shutil.which("node")
    if node is None:
        raise BenchError("Node.js is not installed")
    return node


def main() -> int:
    suite = Path(os.environ[SUITE])
    with (
        tempfile.TemporaryDirectory(prefix="tidegate-bench-") as place,
        _gateway(Path(place), suite) as gateway,
    ):
        started = time.monotonic()
        said = _run(suite, *gateway, test=sys.argv[1:])
    print(json.dumps(said["kinds"]), f"{time.monotonic() - started:.0f} s")
    for one in said["missed"]:
        print(f"{one['kind']:9} {one['suite']}/{one['test']}: {one['result']} {one['why']}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
