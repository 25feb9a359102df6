"""An nginx that says what it was sent: one line for each message, as nginx reads messages."""

from __future__ import annotations

import json
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from support.servers import accepts, free_port, program, run_server

# The body is read whole before the answer is made, so that an answer stands for a whole message.
_CONFIGURATION = """
daemon off; master_process off; pid {folder}/nginx.pid;
error_log {folder}/error.log info;
events {{ worker_connections 256; }}
http {{
  log_format messages escape=json '{{"target": "$request_uri", "status": "$status"}}';
  access_log off;
  client_body_temp_path {folder}/b; proxy_temp_path {folder}/p; fastcgi_temp_path {folder}/f;
  uwsgi_temp_path {folder}/u; scgi_temp_path {folder}/s;
  server {{
    listen 127.0.0.1:{port};
    access_log {folder}/messages.log messages;
    location / {{ proxy_pass http://127.0.0.1:{behind}; proxy_request_buffering on; }}
  }}
  server {{ listen 127.0.0.1:{behind}; location / {{ return 200 ok; }} }}
}}
"""


@dataclass(frozen=True)
class Nginx:
    """One that runs."""

    url: str
    folder: Path

    def messages(self) -> list[dict[str, str]]:
        lines = (self.folder / "messages.log").read_text().splitlines()
        return [json.loads(line) for line in lines]

    def complaints(self) -> list[str]:
        """What it found wrong with messages, but for fields that it leaves out.

        It passes over names that RFC 9110 allows and hardly anyone uses, such as `a+b`.
        """
        lines = (self.folder / "error.log").read_text(errors="replace").splitlines()
        wrong = [line for line in lines if "client sent" in line]
        return [line for line in wrong if "client sent invalid header line" not in line]


@contextmanager
def nginx(folder: Path) -> Iterator[Nginx]:
    port, behind = free_port(), free_port()
    file = folder / "nginx.conf"
    file.write_text(_CONFIGURATION.format(folder=folder, port=port, behind=behind))
    command = [program("nginx", package="nginx-light"), "-p", str(folder), "-c", str(file)]
    with run_server(command, folder=folder, ready=accepts(("127.0.0.1", port))):
        yield Nginx(f"http://127.0.0.1:{port}", folder)
