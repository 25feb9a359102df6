"""SDKs as their makers ship them work through the gateway, by base URL and key alone."""

from __future__ import annotations

import json
import os
import subprocess
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import openai
import pytest
import requests
import slack_sdk
import slack_sdk.errors
import stripe
from github import Auth, Github, GithubException
from support.running import Running, running, secret_of

from tidegate.catalog import presets
from tidegate.sandbox import Authority, Received, Sandbox

from .documents import OPENAI, SLACK, STRIPE

ROOT = Path(__file__).parents[2]
GITHUB_DOCUMENT = ROOT / "node_modules/@octokit/openapi/generated/api.github.com.json"


@dataclass(frozen=True)
class Market:
    """A gateway before four sandboxed providers, and a token of one consumer for one client."""

    gateway: Running
    token: str
    sandboxes: dict[str, Sandbox]

    def url(self, provider: str) -> str:
        return f"{self.gateway.url}/{provider}"

    def seen(self, provider: str) -> list[Received]:
        """What a provider received; never our token, always its own credential."""
        calls = list(self.sandboxes[provider].received)
        for call in calls:
            assert call.credential == "right"
            assert not any(self.token in value for _, value in (*call.headers, *call.query))
        return calls


@pytest.fixture(scope="module")
def market(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Market]:
    folder = tmp_path_factory.mktemp("market")
    authority = Authority()
    ca = authority.write(folder / "ca.pem")
    documents = {"github": GITHUB_DOCUMENT}
    for name, text in (("stripe", STRIPE), ("openai", OPENAI), ("slack", SLACK)):
        documents[name] = folder / f"{name}.yaml"
        documents[name].write_text(text)
    sandboxes = {
        name: Sandbox.from_document(path, presets()[name].provider.attach, authority=authority)
        for name, path in documents.items()
    }
    for sandbox in sandboxes.values():
        sandbox.start()
    providers = "".join(
        f"""
  {name}:
    preset: {name}
    openapi: {documents[name]}
    origin: {sandbox.origin}
    allow_private: [127.0.0.0/8]
    tls: {{ca: {ca}}}"""
        for name, sandbox in sandboxes.items()
    )
    declared = f"""
version: 1
gateway: {{listen: [{{bind: "127.0.0.1:0"}}]}}
clients: {{acme: {{}}}}
consumers: {{app: {{clients: [acme]}}}}
providers:{providers}
grants:
  - {{consumer: app, provider: stripe, operations: ["GET *", "POST *"]}}
  - {{consumer: app, provider: openai, operations: ["*"]}}
  - {{consumer: app, provider: slack, operations: ["*"]}}
  - {{consumer: app, provider: github, operations: ["GET *"]}}
"""
    credentials = {(name, "acme"): secret_of(sandbox) for name, sandbox in sandboxes.items()}
    with running(folder, declared, credentials) as gateway:
        yield Market(gateway, gateway.token("app"), sandboxes)
    for sandbox in sandboxes.values():
        sandbox.stop()


@pytest.fixture(autouse=True)
def forget(market: Market):
    for sandbox in market.sandboxes.values():
        sandbox.received.clear()
        sandbox.behave_well()


@pytest.fixture
def session() -> Iterator[requests.Session]:
    with requests.Session() as opened:
        opened.trust_env = False
        yield opened


@pytest.fixture
def stripe_client(market: Market, session: requests.Session) -> stripe.StripeClient:
    return stripe.StripeClient(
        market.token,
        base_addresses={"api": market.url("stripe")},
        http_client=stripe.RequestsClient(session=session),
    )


def test_stripe_makes_and_lists_customers(market: Market, stripe_client: stripe.StripeClient):
    made = stripe_client.v1.customers.create({"name": "Ada"})
    listed = list(stripe_client.v1.customers.list().auto_paging_iter())
    assert (made.id, [one.name for one in listed]) == ("cus_1", ["Ada"])
    first, _ = market.seen("stripe")
    assert first.body == b"name=Ada"
    assert first.header("idempotency-key")


def test_stripe_raises_its_own_error_for_what_no_grant_covers(
    market: Market, stripe_client: stripe.StripeClient
):
    with pytest.raises(stripe.APIError) as refusal:
        stripe_client.v1.customers.delete("cus_1")
    assert refusal.value.http_status == 403
    assert refusal.value.json_body["code"] == "denied"
    assert market.seen("stripe") == []


@pytest.fixture
def openai_client(market: Market) -> Iterator[openai.OpenAI]:
    with openai.OpenAI(api_key=market.token, base_url=market.url("openai") + "/v1") as client:
        yield client


def test_openai_completes_and_lists_models(market: Market, openai_client: openai.OpenAI):
    done = openai_client.chat.completions.create(
        model="gpt-test", messages=[{"role": "user", "content": "what?"}]
    )
    assert done.choices[0].message.content == "forty-two"
    assert [model.id for model in openai_client.models.list()] == ["gpt-test"]
    assert [call.path for call in market.seen("openai")] == ["/v1/chat/completions", "/v1/models"]


def test_openai_streams(market: Market, openai_client: openai.OpenAI):
    market.sandboxes["openai"].behave("/v1/chat/completions", "sse:5@0.01")
    chunks = list(
        openai_client.chat.completions.create(
            model="gpt-test", messages=[{"role": "user", "content": "what?"}], stream=True
        )
    )
    assert len(chunks) == 5


def test_slack_posts_and_knows_itself(market: Market):
    client = slack_sdk.WebClient(token=market.token, base_url=market.url("slack") + "/api/")
    assert client.auth_test()["team"] == "Tests"
    assert client.chat_postMessage(channel="C1", text="hello")["message"]["text"] == "hello"
    assert [call.path for call in market.seen("slack")] == [
        "/api/auth.test",
        "/api/chat.postMessage",
    ]


def test_slack_tells_of_a_refusal(market: Market):
    client = slack_sdk.WebClient(token="tdg_wrong", base_url=market.url("slack") + "/api/")
    with pytest.raises(slack_sdk.errors.SlackApiError, match="401"):
        client.auth_test()
    assert market.seen("slack") == []


def test_pygithub_reads_and_is_refused_to_delete(market: Market):
    options = {"base_url": market.url("github"), "auth": Auth.Token(market.token), "retry": None}
    with Github(**options) as github:
        assert github.get_user().login == "octocat"
        repository = github.get_repo("octocat/Hello-World")
        assert repository.full_name == "octocat/Hello-World"
    # A repository that was read has GitHub's own URL in it, and PyGithub would go there.
    with Github(**options, lazy=True) as github, pytest.raises(GithubException) as refusal:
        github.get_repo("octocat/Hello-World").delete()
    assert refusal.value.status == 403
    assert [call.method for call in market.seen("github")] == ["GET", "GET"]


def test_octokit_reads_and_is_refused_to_delete(market: Market):
    environment = {
        "PATH": os.environ["PATH"],
        "BASE_URL": market.url("github"),
        "TOKEN": market.token,
    }
    script = Path(__file__).parent / "scripts" / "octokit.mjs"
    done = subprocess.run(
        ["node", str(script)], env=environment, capture_output=True, timeout=60, check=False
    )
    assert done.returncode == 0, done.stderr.decode()
    assert json.loads(done.stdout) == {
        "login": "octocat",
        "repository": "octocat/Hello-World",
        "refusal": {"status": 403, "code": "denied"},
    }
    assert [call.operation for call in market.seen("github")] == [
        "users/get-authenticated",
        "repos/get",
    ]
