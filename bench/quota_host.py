"""Run one engine for a measurement of quotas: as little as can be killed and started a hundred times.

It reads one JSON line, answers with the port it listens on, then each further line with how it stands with
the store that it shares, and ends when its input does.

    python -m bench.quota_host
"""

from __future__ import annotations

import json
import sys
from dataclasses import asdict
from pathlib import Path

from tidegate.domain.secret import Secret
from tidegate.engine import Engine, EngineConfig, Listener, SharedStore


def main() -> None:
    setting = json.loads(sys.stdin.readline())
    config = EngineConfig(
        spool=Path(setting["spool"]),
        listeners=(Listener("http", "127.0.0.1:0"),),
        workers=setting["workers"],
        shared=SharedStore(**shared) if (shared := setting.get("shared")) else None,
    )
    with Engine(config, Secret(bytes.fromhex(setting["token_key"]))) as engine:
        engine.publish(setting["snapshot"].encode())
        engine.set_ready(ready=True)
        print(engine.addresses()["http"].rpartition(":")[2], flush=True)
        for _ in sys.stdin:
            standing = engine.shared()
            told = {"shared": standing and asdict(standing), **engine.limits()}
            print(json.dumps(told), flush=True)


if __name__ == "__main__":
    main()
