"""The peers: the same policies, each in its own usual way. Their files stand beside this one."""

from __future__ import annotations

import os
import shutil
from collections.abc import Callable, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Final

from bench.provider import CREDENTIAL, Provider, nginx_user
from bench.stage import PEERS_VENV, Running, Stage, program, wait_until_open
from bench.target import Target
from bench.templates import fill

_TOKEN: Final = "Bearer tdg_thebenchsaccesstokenofthepeers"
_HERE: Final = Path(__file__).parent

Start = Callable[[Stage, Provider], Target]


def start_nginx(stage: Stage, provider: Provider) -> Target:
    return _nginx(stage, provider, CACHE="", CACHED="")


def start_nginx_cache(stage: Stage, provider: Provider) -> Target:
    """The same, with answers kept for each consumer and one fetch for many at once."""
    kept = f"proxy_cache_path {stage.folder}/nginx-cache keys_zone=answers:16m;"
    cached = (
        "proxy_cache answers;",
        'proxy_cache_key "$consumer $request_uri";',
        "proxy_cache_lock on;",
        "add_header Cache-Status $upstream_cache_status;",
    )
    return _nginx(stage, provider, CACHE=kept, CACHED="\n            ".join(cached))


def start_varnish(stage: Stage, provider: Provider) -> Target:
    """With its log written beside, as it is where calls must be on record."""
    port, config = _config(stage, provider, "varnish.vcl")
    folder = stage.folder / "varnish"
    argv = [program("varnishd"), "-F", "-j", "none", "-n", str(folder), "-f", str(config)]
    argv += ["-a", f"127.0.0.1:{port}", "-s", "malloc,256m", "-p", "thread_pools=1"]
    target = _listening(stage, port, "varnish", argv)
    log = [program("varnishncsa"), "-n", folder, "-w", stage.folder / "varnish-access.log"]
    stage.start("varnishncsa", log, core=stage.cores.gate)
    return target


def start_squid(stage: Stage, provider: Provider) -> Target:
    folder = stage.folder / "squid"
    folder.mkdir()
    if os.geteuid() == 0:
        # It refuses to run as root: what it writes is the user's that Debian makes for it.
        stage.folder.chmod(0o711)
        shutil.chown(folder, "proxy")
    token = _TOKEN.removeprefix("Bearer ")
    port, config = _config(stage, provider, "squid.conf", TOKEN=token)
    argv = [program("squid"), "-N", "-n", f"bench{port}", "-f", str(config)]
    target = _listening(stage, port, "squid", argv)
    return replace(target, headers={"X-Consumer-Token": token})


def start_ats(stage: Stage, provider: Provider) -> Target:
    """Apache Traffic Server; everything it writes stays in the stage's folder."""
    folder = stage.folder / "ats"
    for name in ("cache", "log", "state"):
        (folder / name).mkdir(parents=True)
    port = stage.free_port()
    for template in sorted((_HERE / "ats").iterdir()):
        _fill(stage, provider, template, folder / template.name, port)
    env = {
        "PROXY_CONFIG_CONFIG_DIR": str(folder),
        "PROXY_CONFIG_LOCAL_STATE_DIR": str(folder / "state"),
        "PROXY_CONFIG_LOG_LOGFILE_DIR": str(folder / "log"),
    }
    return _listening(stage, port, "ats", [program("traffic_server")], env)


def _nginx(stage: Stage, provider: Provider, **more: str) -> Target:
    port, config = _config(stage, provider, "nginx.conf", USER=nginx_user(), **more)
    return _listening(stage, port, "nginx", [program("nginx"), "-e", "stderr", "-c", str(config)])


def start_haproxy(stage: Stage, provider: Provider) -> Target:
    return _haproxy(stage, provider, CACHE="", CACHED="", STORED="")


def start_haproxy_cache(stage: Stage, provider: Provider) -> Target:
    """The same, with answers kept for each consumer: the key is made of the host and the URL."""
    cached = (
        "http-request del-header Authorization",
        "http-request set-header Host shop",
        "http-request cache-use answers",
        "http-after-response set-header Cache-Status hit if { res.cache_hit }",
    )
    return _haproxy(
        stage,
        provider,
        CACHE="cache answers\n    total-max-size 256\n    max-age 86400",
        CACHED="\n    ".join(cached),
        STORED="http-response cache-store answers",
    )


def _haproxy(stage: Stage, provider: Provider, **more: str) -> Target:
    port, config = _config(stage, provider, "haproxy.cfg", **more)
    return _listening(stage, port, "haproxy", [program("haproxy"), "-db", "-f", str(config)])


def start_envoy(stage: Stage, provider: Provider) -> Target:
    more = {"METHOD": "GET", "PREFIX": "/v1/items/", "PROCESSOR": ""}
    return _envoy(stage, provider, **more, PROCESSING="", UPSTREAM="")


def start_envoy_cache(stage: Stage, provider: Provider) -> Target:
    """With its cache, which does not keep consumers apart."""
    caching, upstream = (
        (_HERE / f"envoy_{part}.yaml").read_text().strip()
        for part in ("caching", "caching_upstream")
    )
    upstream = upstream.replace("@{CREDENTIAL}", CREDENTIAL)
    more = {"METHOD": "GET", "PREFIX": "/v1/items/", "PROCESSOR": ""}
    return _envoy(stage, provider, **more, PROCESSING=caching, UPSTREAM=upstream)


def start_envoy_protecting(stage: Stage, provider: Provider) -> Target:
    """With an external processor in Python, on the same core, that protects each body."""
    port = stage.free_port()
    argv = [PEERS_VENV / "bin" / "python", _HERE / "envoy_processor.py", str(port)]
    processor = stage.start("envoy-processor", argv, core=stage.cores.gate)
    wait_until_open(processor, port)
    more = {"METHOD": "POST", "PREFIX": "/v1/people/"}
    processing, cluster = (
        (_HERE / f"envoy_{part}.yaml").read_text().replace("@{PROCESSOR_PORT}", str(port)).strip()
        for part in ("processing", "processor")
    )
    return _envoy(stage, provider, **more, PROCESSING=processing, PROCESSOR=cluster, UPSTREAM="")


def _envoy(stage: Stage, provider: Provider, **more: str) -> Target:
    port, config = _config(stage, provider, "envoy.yaml", **more)
    argv = [program("envoy"), "-c", str(config), "--concurrency", "1"]
    argv += ["--disable-hot-restart", "--log-level", "error"]
    return _listening(stage, port, "envoy", argv)


def start_mitmproxy(stage: Stage, provider: Provider) -> Target:
    """All by options of its own: a Python addon would only make it slower."""
    return _mitmproxy(stage, provider, "/v1/items/")


def start_mitmproxy_protecting(stage: Stage, provider: Provider) -> Target:
    """With an addon that protects each body."""
    return _mitmproxy(stage, provider, "/v1/people/", "-s", str(_HERE / "mitmproxy_addon.py"))


def _mitmproxy(stage: Stage, provider: Provider, prefix: str, *more: str) -> Target:
    port = stage.free_port()
    argv = [program("mitmdump"), "--mode", f"reverse:https://127.0.0.1:{provider.tls_port}"]
    argv += ["--listen-host", "127.0.0.1", "--listen-port", str(port)]
    settings = {
        "ssl_verify_upstream_trusted_ca": provider.certificate.authority,
        # The right token becomes the credential; what then has none, or another path, is refused.
        "modify_headers": f'|~q & ~hq "(?i)authorization: {_TOKEN}"|authorization|{CREDENTIAL}',
        "block_list": f'|!(~hq "(?i)authorization: {CREDENTIAL}" & ~u {prefix})|403',
        "flow_detail": "1",  # one line a call: its access log
        "confdir": stage.folder / "mitmproxy",
    }
    for name, value in settings.items():
        argv += ["--set", f"{name}={value}"]
    argv += more
    return _listening(stage, port, "mitmproxy", argv)


PEERS: Final[dict[str, Start]] = {
    "nginx": start_nginx,
    "haproxy": start_haproxy,
    "envoy": start_envoy,
    "mitmproxy": start_mitmproxy,
}


CACHES: Final[dict[str, tuple[Start, str, str]]] = {
    "nginx": (start_nginx_cache, "cache-status", "HIT"),
    "varnish": (start_varnish, "x-varnish", " "),
    "haproxy": (start_haproxy_cache, "cache-status", "hit"),
    "envoy": (start_envoy_cache, "age", ""),
    "squid": (start_squid, "x-cache", "HIT"),
    "ats": (start_ats, "age", ""),
}
"""Caches, each with the field of an answer that says that it was kept, and what stands in it."""


def direct(provider: Provider) -> Target:
    """No gateway: the generator calls the provider over TLS."""
    return Target(
        name="direct",
        port=provider.tls_port,
        scheme="https",
        headers={"Authorization": CREDENTIAL},
        guarded=False,
    )


def direct_plain(provider: Provider) -> Target:
    """No gateway and no TLS."""
    return Target(
        name="direct, plain",
        port=provider.plain_port,
        headers={"Authorization": CREDENTIAL},
        guarded=False,
    )


def _config(stage: Stage, provider: Provider, name: str, **more: object) -> tuple[int, Path]:
    port = stage.free_port()
    return port, _fill(stage, provider, _HERE / name, stage.folder / f"peer-{name}", port, **more)


def _fill(
    stage: Stage, provider: Provider, template: Path, target: Path, port: int, **more: object
) -> Path:
    values: dict[str, object] = {
        "FOLDER": stage.folder,
        "PORT": port,
        "PROVIDER_PORT": provider.tls_port,
        "PROVIDER_PLAIN_PORT": provider.plain_port,
        "PROVIDER_NAME": provider.name,
        "AUTHORITY": provider.certificate.authority,
        "CREDENTIAL": CREDENTIAL,
        "TOKEN": _TOKEN,
    }
    return fill(template, target, **{**values, **more})


def _listening(
    stage: Stage, port: int, name: str, argv: list[str], env: Mapping[str, str] | None = None
) -> Target:
    running: Running = stage.start(name, argv, core=stage.cores.gate, env=env)
    wait_until_open(running, port)
    headers = {"Authorization": _TOKEN}
    return Target(name=name, port=port, headers=headers, running=running)
