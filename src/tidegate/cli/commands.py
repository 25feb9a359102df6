"""The table of commands: name, where it is written, and the group it is shown in.

Commands are named by import path, and only the one that runs is imported. The sentence beside each
is what `tidegate --help` shows; the command's docstring is what `tidegate COMMAND --help` shows.
"""

from __future__ import annotations

from cyclopts import App, Group

from tidegate import __version__
from tidegate.cli.helptext import HelpFormatter
from tidegate.cli.terminal import help_output

_DECLARE = "Declare what may be called"
_CONNECT = "Let providers and consumers in"
_OPERATE = "Run it and see what happens"
_PRIVACY = "Answer for what was sent"
_TRY = "Try it"

_HELP = """The one way out to third-party APIs.

State is kept in ~/.local/share/tidegate, or where TIDEGATE_HOME says. TIDEGATE_DEBUG=1 shows the
full detail of an unexpected error.
"""

_COMMANDS = (
    (_DECLARE, "check", "declared:check", "Say what is wrong, or weak, in a declaration."),
    (_DECLARE, "plan", "revisions:plan", "Show what `apply` would change; exit 2 if anything."),
    (_DECLARE, "apply", "revisions:apply", "Store a declaration as the next revision."),
    (_DECLARE, "revisions", "revisions:revisions", "List what was applied, by whom and when."),
    (_DECLARE, "rollback", "revisions:rollback", "Apply an earlier revision again."),
    (_DECLARE, "providers", "declared:providers", "List the declared providers."),
    (_DECLARE, "operations", "declared:operations", "List a provider's operations."),
    (_DECLARE, "presets", "declared:presets", "List the providers built in."),
    (_DECLARE, "schema", "declared:schema", "Print the JSON Schema of `tidegate.yaml`."),
    (_DECLARE, "protect", "protecting:protect", "Show what of requests goes to providers."),
    (_CONNECT, "connect", "connections:connect", "Seal a client's credential for a provider."),
    (_CONNECT, "import", "importing:import_", "Find keys kept in plaintext, and connect them."),
    (_CONNECT, "connections", "connections:connections", "List the connections."),
    (_CONNECT, "disconnect", "connections:disconnect", "Forget a connection and its credential."),
    (_CONNECT, "credentials", "rotation:credentials", "Say how old every credential is."),
    (_CONNECT, "rotate", "rotation:rotate", "Replace a credential, step by step."),
    (_CONNECT, "token", "tokens:token", "Create, list and revoke access tokens."),
    (_CONNECT, "agreements", "agreeing:agreements", "Record what lets personal data go."),
    (_OPERATE, "acts", "operators:acts", "List what operators did, and verify it."),
    (_OPERATE, "up", "running:up", "Run the gateway, and follow the declaration as it changes."),
    (_OPERATE, "status", "status:status", "Ask the running gateway how it is."),
    (_OPERATE, "limits", "limits:limits", "Show what is left of every limit."),
    (_DECLARE, "simulate", "simulating:simulate", "Play loads against limits and quotas."),
    (_OPERATE, "cache", "caching:cache", "Ask what is stored of answers, and take some out."),
    (_OPERATE, "explain", "explaining:explain", "Say what would decide a call, without making it."),
    (_OPERATE, "calls", "records:calls", "Show the calls that were made."),
    (_OPERATE, "vault", "vaulting:vault", "Replace keys, look, shred a client, back up, restore."),
    (_OPERATE, "usage", "records:usage", "Count calls by client, provider and operation."),
    (_PRIVACY, "records", "reporting:records", "Make the records that privacy law asks for."),
    (_PRIVACY, "subject", "subjects:subject", "Find what was sent about somebody; erase it."),
    (_TRY, "demo", "story:demo", "Watch calls go through, or be refused, and why."),
    (_TRY, "sandbox", "trying:sandbox", "Run a provider made from an OpenAPI document."),
    (_TRY, "version", "trying:version", "Print the versions of Tidegate and its engine."),
)


def build(running: str | None) -> App:
    """Put the table together for a command line that starts with the word `running`."""
    app = App(
        name="tidegate",
        help=_HELP,
        version=__version__,
        version_flags=["--version"],
        help_format="plaintext",
        help_formatter=HelpFormatter(),
        console=help_output(),
        print_error=False,
        exit_on_error=False,
        suppress_keyboard_interrupt=False,
        result_action="return_value",
    )
    groups = {
        title: Group(title, sort_key=place)
        for place, title in enumerate((_DECLARE, _CONNECT, _OPERATE, _PRIVACY, _TRY))
    }
    for place, (group, name, where, sentence) in enumerate(_COMMANDS):
        app.command(
            f"tidegate.cli.{where}",
            name=name,
            help=None if name == running else sentence,
            group=groups[group],
            sort_key=place,
        )
    options = Group("Options", sort_key=len(groups))
    for flag in ("--help", "--version"):
        app[flag].group = (options,)
    return app
