"""Run one engine for a measurement of quotas: as little as can be killed and started a hundred times.

It reads one JSON line, answers with the port it listens on, then each further line with how it stands with
the store that it shares, and ends when its input does. A line that holds JSON is a purge of the cache first.

    python -m bench.quota_host
"""

from __future__ import annotations

import json
import sys
from dataclasses import asdict
from pathlib import Path

from tidegate.domain.secret import Secret
from tidegate.engine import CachePurge, Engine, EngineConfig, Listener, SharedStore


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
        keys = {
            name or None: Secret(bytes.fromhex(key))
            for name, key in setting.get("cache_keys", {}).items()
        }
        engine.put_cache_keys(keys)
        engine.set_ready(ready=True)
        print(engine.addresses()["http"].rpartition(":")[2], flush=True)
        for line in sys.stdin:
            if line.strip():
                engine.cache_purge(CachePurge(**json.loads(line)))
            standing = engine.shared()
            cache = asdict(engine.cache_stats())
            told = {"shared": standing and asdict(standing), "cache": cache, **engine.limits()}
            print(json.dumps(told), flush=True)


if __name__ == "__main__":
    main()
