"""A person with a browser: pages, forms, cookies and redirects over real HTTP, without a script."""

from __future__ import annotations

import re
import ssl
from html import unescape
from typing import Self
from urllib.parse import urljoin

import httpx

FORM = re.compile(r"<form[^>]*action=\"([^\"]*)\"[^>]*>(.*?)</form>", re.DOTALL)
INPUT = re.compile(r"<input[^>]*name=\"([^\"]*)\"[^>]*?(?:value=\"([^\"]*)\"[^>]*)?>")
REFRESH = re.compile(r"<meta http-equiv=\"refresh\" content=\"0; url=([^\"]*)\">")


class Person:
    """Holds an account by this name at every provider."""

    def __init__(self, ca_pem: str, account: str = "a-person") -> None:
        self.account = account
        self.browser = httpx.Client(
            verify=ssl.create_default_context(cadata=ca_pem),
            trust_env=False,
            follow_redirects=True,
            timeout=20,
        )
        self.cookies = self.browser.cookies

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.browser.close()

    def open(self, url: str) -> httpx.Response:
        return self.browser.get(url)

    def submit(self, page: httpx.Response, **filled: str) -> httpx.Response:
        """Send the page's form."""
        found = FORM.search(page.text)
        assert found is not None, page.text
        fields = {name: unescape(value) for name, value in INPUT.findall(found[2])}
        return self.browser.post(urljoin(str(page.url), unescape(found[1])), data=fields | filled)

    def go_on(self, link: str) -> str:
        """Press the button of a consent page, and return where it leads."""
        page = self.submit(self.open(link))
        found = REFRESH.search(page.text)
        assert found is not None, page.text
        return unescape(found[1])

    def consent(self, link: str) -> httpx.Response:
        """Go on, sign in, allow, and come back: the last page."""
        return self.allow(self.open(self.go_on(link)))

    def allow(self, page: httpx.Response) -> httpx.Response:
        """Answer the provider's pages until there is none left."""
        for _ in range(6):
            if FORM.search(page.text) is None:
                return page
            login = {"login": self.account, "password": "x"} if 'name="login"' in page.text else {}
            page = self.submit(page, **login)
        raise AssertionError("the provider asks and asks")

    def answer(self, link: str) -> str:
        """Consent, and return the callback's address without going there."""
        self.browser.follow_redirects = False
        try:
            page = self.open(self.go_on(link))
            for _ in range(12):
                if page.has_redirect_location:
                    url = urljoin(str(page.url), page.headers["location"])
                    if "/callback/" in url:
                        return url
                    page = self.open(url)
                    continue
                login = (
                    {"login": self.account, "password": "x"} if 'name="login"' in page.text else {}
                )
                page = self.submit(page, **login)
        finally:
            self.browser.follow_redirects = True
        raise AssertionError("the provider never sends back")
