"""Run an engine, a store and the drain between them for a scene, without the rest of `tidegate up`.

What is compared with it is one setting of the same parts: recording on or off, ten operations or a
hundred thousand. It reads JSON lines: first the setting, then one `{"publish": true}` for each
snapshot to compile and swap in. It answers each with a line, and ends when its input does.

    python -m bench.engine_host
"""

from __future__ import annotations

import json
import sys
import time
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any, Final, TextIO

from bench import scenes
from bench.provider import PROVIDER_KEY
from bench.scenes import Scene
from tidegate.app.home import Home
from tidegate.app.logs import configure_logs
from tidegate.app.services import Services, services
from tidegate.domain.connection import AccessToken
from tidegate.domain.secret import Secret
from tidegate.engine import Engine, EngineConfig, Listener, Resolver
from tidegate.events import Drain
from tidegate.snapshot import compile_snapshot

_LEASE: Final = timedelta(hours=1)
_DRAINED_WITHIN_S: Final = 60.0


@dataclass(frozen=True, slots=True)
class Setting:
    """What the engine is started with; `github` names the document of the estate, if it is that."""

    folder: str
    port: int
    origin: str
    origin_name: str
    authority: str
    record: bool = True
    echo: bool = True
    operations: int = 10
    grants: int = 1
    github: str | None = None


def main() -> None:
    configure_logs()  # to standard error: standard output is for answers
    commands, answers = sys.stdin, sys.stdout
    setting = Setting(**json.loads(commands.readline()))
    folder = Path(setting.folder)
    home = Home(folder / "data", folder / "key" / "root.key", f"sqlite:///{folder}/data/store.db")
    with services(home) as state:
        state.make_root_key()
        _serve(setting, state, commands, answers)


def _serve(setting: Setting, state: Services, commands: TextIO, answers: TextIO) -> None:
    scene = _scene(setting)
    token, secret = state.tokens.create(scene.declaration, scenes.CONSUMER)
    config = EngineConfig(
        spool=state.home.spool,
        listeners=(Listener("http", f"127.0.0.1:{setting.port}"),),
        workers=1,
        record=setting.record,
        resolver=Resolver(hosts={setting.origin_name: ("127.0.0.1",)}),
    )
    with Engine(config, state.vault.token_key()) as engine:
        drain = Drain(engine, state.store)
        drain.start()
        try:
            published = _publish(engine, scene, token, revision=1, echo=setting.echo)
            called = scene.connections[0]
            fields = {called.fields[0]: Secret(PROVIDER_KEY.encode())}
            until = datetime.now(UTC) + _LEASE
            engine.lease(called.id, called.version, called.origins, fields, until)
            engine.set_ready(ready=True)
            _say(answers, {**published, "token": secret.reveal().decode(), "paths": scene.paths})
            for revision, _ in enumerate(commands, start=2):
                _say(answers, _publish(engine, scene, token, revision, echo=setting.echo))
        finally:
            drain.finish(_DRAINED_WITHIN_S)


def _scene(setting: Setting) -> Scene:
    authority = Path(setting.authority).read_text()
    if setting.github is not None:
        return scenes.estate(setting.origin, authority, Path(setting.github))
    return scenes.table(
        setting.origin, authority, operations=setting.operations, grants=setting.grants
    )


def _publish(
    engine: Engine, scene: Scene, token: AccessToken, revision: int, *, echo: bool
) -> dict[str, Any]:
    began = time.perf_counter()
    snapshot = compile_snapshot(scene.declaration, revision, (token,), scene.connections)
    if not echo:
        # Only here: a declaration has no such switch.
        told = json.loads(snapshot)
        for provider in told["providers"]:
            provider["secret_fields"] = []
        snapshot = json.dumps(told).encode()
    compiled = time.perf_counter()
    engine.publish(snapshot)
    return {
        "compile_s": compiled - began,
        "publish_s": time.perf_counter() - compiled,
        "bytes": len(snapshot),
    }


def _say(answers: TextIO, words: Mapping[str, Any]) -> None:
    print(json.dumps(words), file=answers, flush=True)


def as_command(setting: Setting) -> dict[str, Any]:
    """The setting as the first line that the host reads."""
    return asdict(setting)


if __name__ == "__main__":
    main()
