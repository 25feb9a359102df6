"""mitmproxy with the policy of the bench as an addon of its own."""

import sys
from pathlib import Path

from mitmproxy import http

sys.path.insert(0, str(Path(__file__).parent))

from protecting import protect


def request(flow: http.HTTPFlow) -> None:
    if flow.request.method == "POST" and flow.request.content:
        flow.request.content = protect(flow.request.content)
