"""As much of some providers' APIs as their SDKs are made to call here. Objects are made up."""

from __future__ import annotations

STRIPE = """
openapi: 3.1.0
info: {title: Stripe, version: test}
paths:
  /v1/customers:
    post:
      responses:
        "200": {content: {application/json: {example: {id: cus_1, object: customer, name: Ada}}}}
    get:
      responses:
        "200":
          content:
            application/json:
              example:
                object: list
                url: /v1/customers
                has_more: false
                data: [{id: cus_1, object: customer, name: Ada}]
  /v1/customers/{customer}:
    delete:
      responses:
        "200":
          content: {application/json: {example: {id: cus_1, object: customer, deleted: true}}}
"""

OPENAI = """
openapi: 3.1.0
info: {title: OpenAI, version: test}
paths:
  /v1/models:
    get:
      responses:
        "200":
          content:
            application/json:
              example:
                object: list
                data: [{id: gpt-test, object: model, created: 1, owned_by: tests}]
  /v1/chat/completions:
    post:
      responses:
        "200":
          content:
            application/json:
              example:
                id: chatcmpl_1
                object: chat.completion
                created: 1
                model: gpt-test
                choices:
                  - index: 0
                    finish_reason: stop
                    message: {role: assistant, content: forty-two}
"""

SLACK = """
openapi: 3.1.0
info: {title: Slack, version: test}
paths:
  /api/auth.test:
    post:
      responses:
        "200":
          content: {application/json: {example: {ok: true, team: Tests, user: bot, user_id: U1}}}
  /api/chat.postMessage:
    post:
      responses:
        "200":
          content:
            application/json:
              example: {ok: true, channel: C1, ts: "1.2", message: {text: hello}}
"""
