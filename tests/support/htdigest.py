"""Servers that ask for HTTP Digest: Apache's own (MD5), and lighttpd's (SHA-256)."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from support.canaries import may_hold
from support.certificates import Issued, leaf, private_pem
from support.servers import accepts, free_port, program, run_server

REALM = "the back office"
_MODULES = Path("/usr/lib/apache2/modules")
_APACHE = """
ServerRoot "{folder}"
ServerName 127.0.0.1
Listen 127.0.0.1:{port}
PidFile {folder}/httpd.pid
DefaultRuntimeDir {folder}
ErrorLog {folder}/error.log
LoadModule mpm_event_module {modules}/mod_mpm_event.so
LoadModule authn_core_module {modules}/mod_authn_core.so
LoadModule authz_core_module {modules}/mod_authz_core.so
LoadModule authz_user_module {modules}/mod_authz_user.so
LoadModule auth_digest_module {modules}/mod_auth_digest.so
LoadModule authn_file_module {modules}/mod_authn_file.so
LoadModule alias_module {modules}/mod_alias.so
LoadModule ssl_module {modules}/mod_ssl.so
LoadModule socache_shmcb_module {modules}/mod_socache_shmcb.so
LogFormat "%{{begin:usec}}t %>s" calls
CustomLog {folder}/calls.log calls
SSLEngine on
SSLCertificateFile {folder}/server.pem
SSLCertificateKeyFile {folder}/server.key
DocumentRoot {folder}/site
<Directory {folder}/site>
  AuthType Digest
  AuthName "{realm}"
  AuthDigestProvider file
  AuthDigestNonceLifetime {lifetime}
  AuthUserFile {folder}/users
  Require valid-user
</Directory>
"""
_LIGHTTPD = """
server.modules = ("mod_openssl", "mod_auth", "mod_authn_file", "mod_accesslog")
server.document-root = "{folder}/site"
server.bind = "127.0.0.1"
server.port = {port}
server.errorlog = "{folder}/error.log"
accesslog.filename = "{folder}/calls.log"
accesslog.format = "%{{sec}}t %s"
ssl.engine = "enable"
ssl.pemfile = "{folder}/server.pem"
ssl.privkey = "{folder}/server.key"
auth.backend = "htdigest"
auth.backend.htdigest.userfile = "{folder}/users"
auth.require = ("/" => (
  "method" => "digest", "realm" => "{realm}", "require" => "valid-user",
  "algorithm" => "SHA-256", "userhash" => "{userhash}"
))
"""


@dataclass(frozen=True)
class DigestServer:
    """One that runs, with `/thing` to be had."""

    origin: str
    folder: Path

    def statuses(self) -> list[str]:
        """How it answered each call, in the order in which they began; it logs them as they end."""
        whole = (self.folder / "calls.log").read_text().splitlines(keepends=True)
        calls = [line.split() for line in whole if line.endswith("\n")]
        return [status for _, status in sorted(calls, key=lambda call: int(call[0]))]


def _prepare(folder: Path, root: Issued, user: str, password: str, *, sha256: bool) -> int:
    (folder / "site").mkdir(parents=True)
    (folder / "site" / "thing").write_text("the thing")
    certificate = leaf(root, "127.0.0.1")
    (folder / "server.pem").write_text(certificate.pem)
    (folder / "server.key").write_bytes(private_pem(certificate))
    text = f"{user}:{REALM}:{password}".encode()
    if sha256:
        hashed = hashlib.sha256(text).hexdigest()
        userhash = hashlib.sha256(f"{user}:{REALM}".encode()).hexdigest()
        line = f"{user}:{REALM}:{hashed}:{userhash}\n"
    else:
        line = f"{user}:{REALM}:{hashlib.md5(text, usedforsecurity=False).hexdigest()}\n"
    may_hold(folder / "users").write_text(line)
    may_hold(folder / "error.log")
    return free_port()


@contextmanager
def apache(
    folder: Path, root: Issued, user: str, password: str, *, lifetime_s: int = 300
) -> Iterator[DigestServer]:
    """Run Apache's mod_auth_digest; a nonce of its lives for `lifetime_s`."""
    port = _prepare(folder, root, user, password, sha256=False)
    file = folder / "httpd.conf"
    file.write_text(
        _APACHE.format(folder=folder, port=port, modules=_MODULES, realm=REALM, lifetime=lifetime_s)
    )
    command = [program("apache2", package="apache2-bin"), "-D", "FOREGROUND", "-f", str(file)]
    with run_server(command, folder=folder, ready=accepts(("127.0.0.1", port))):
        yield DigestServer(f"https://127.0.0.1:{port}", folder)


@contextmanager
def lighttpd(
    folder: Path, root: Issued, user: str, password: str, *, userhash: bool = False
) -> Iterator[DigestServer]:
    """Run lighttpd's mod_auth with SHA-256."""
    port = _prepare(folder, root, user, password, sha256=True)
    file = folder / "lighttpd.conf"
    file.write_text(
        _LIGHTTPD.format(
            folder=folder,
            port=port,
            realm=REALM,
            userhash="enable" if userhash else "disable",
        )
    )
    command = [program("lighttpd", package="lighttpd"), "-D", "-f", str(file)]
    with run_server(command, folder=folder, ready=accepts(("127.0.0.1", port))):
        yield DigestServer(f"https://127.0.0.1:{port}", folder)
