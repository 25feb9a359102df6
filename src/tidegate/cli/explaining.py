"""`explain`: what would decide a call, step by step, without making it."""

from __future__ import annotations

from dataclasses import asdict
from typing import TYPE_CHECKING, Annotated

from cyclopts import Parameter

from tidegate.cli.outcome import DONE, REFUSED
from tidegate.cli.reading import open_state, revision_in_force
from tidegate.cli.terminal import BAD, GOOD, NAME, STRONG, WEAK, json_out, say, table

if TYPE_CHECKING:
    from tidegate.engine import ExplainStep, Explanation


def explain(
    consumer: Annotated[str, Parameter(help="Who would call.")],
    method: Annotated[str, Parameter(help="GET, POST …")],
    url: Annotated[
        str,
        Parameter(help="`/stripe/v1/charges` at the gateway, or the provider's own URL."),
    ],
    /,
    *,
    client: Annotated[
        str | None, Parameter(metavar="CLIENT", help="For which; as `Tidegate-Client` would say.")
    ] = None,
    connection: Annotated[
        str | None, Parameter(metavar="NAME", help="By which; as `Tidegate-Connection` would say.")
    ] = None,
    as_json: Annotated[bool, Parameter(name="--json", negative="", help="Print JSON.")] = False,
) -> int:
    """Say what would decide a call, step by step and by which rule, without making it.

    The engine's own steps answer, on the revision in force. The exit code is 1 when the call would
    be refused.
    """
    with open_state() as state:
        revision_in_force(state)
        found = state.explain(consumer, method.upper(), url, client=client, connection=connection)
    if as_json:
        json_out({"allowed": found.allowed, **asdict(found)})
        return DONE if found.allowed else REFUSED
    columns = ("step", "decides", "by", "")
    table(columns, [_row(step) for step in found.steps])
    say()
    _show_end(found)
    return DONE if found.allowed else REFUSED


def _row(step: ExplainStep) -> tuple[str | tuple[str, str], ...]:
    verdict = (step.verdict, GOOD if step.verdict == "pass" else BAD)
    return (step.step, NAME), verdict, step.rule or "", step.detail


def _show_end(found: Explanation) -> None:
    problem = found.problem
    if problem is not None:
        say(("refused", BAD), f" with {problem.status} ", (problem.code, STRONG))
    elif found.outcome == "report":
        say(("let through", WEAK), ": no grant covers it, and one in report mode records it")
    else:
        say(("allowed", GOOD), f" by {found.rule}, to {found.origin}")
