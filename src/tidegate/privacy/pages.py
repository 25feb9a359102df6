"""Make pages of records: HTML that prints well, and PDF of it. All that comes from outside is escaped."""

from __future__ import annotations

from datetime import date, datetime
from functools import cache
from typing import TYPE_CHECKING, Any, Final

from tidegate.domain.party import Contact
from tidegate.privacy import words
from tidegate.privacy.errors import CannotReportError

if TYPE_CHECKING:
    from jinja2 import Environment


_WORDS: Final[dict[str, object]] = {
    "legal_bases": words.LEGAL_BASES,
    "agreement_kinds": words.AGREEMENTS,
    "roles": words.ROLES,
    "transfer_tools": words.TRANSFERS,
}


def page(template: str, **context: object) -> str:
    """Fill a template of `templates/`."""
    return _environment().get_template(f"{template}.j2").render(_WORDS | context)


def pdf(html: str) -> bytes:
    """Lay a page out for paper.

    Raises:
        CannotReportError: WeasyPrint, or a library that it needs, is not installed.
    """
    try:
        from weasyprint import HTML
        from weasyprint.urls import FatalURLFetchingError, URLFetcher
    except (ImportError, OSError) as error:
        raise CannotReportError(
            "PDF needs WeasyPrint, which is not here",
            "install it with `pip install 'tidegate[pdf]'` and Debian's `libpangoft2-1.0-0`, "
            "or print the HTML from a browser",
        ) from error
    # Nothing is fetched, by whatever protocol: a page has no address to load anything from.
    nothing: Any = URLFetcher(allowed_protocols=(), fail_on_errors=True)
    laid_out: Any = HTML(string=html, url_fetcher=nothing)
    try:
        return bytes(laid_out.write_pdf())
    except FatalURLFetchingError:
        raise CannotReportError("a record was about to load something from elsewhere") from None


@cache
def _environment() -> Environment:
    from jinja2 import Environment, PackageLoader, StrictUndefined

    environment = Environment(
        loader=PackageLoader("tidegate.privacy"),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.filters |= {
        "category": words.category,
        "action": words.action,
        "day": _day,
        "moment": _moment,
        "contact": _contact,
        "count": _count,
    }
    return environment


def _day(at: date | datetime | None) -> str:
    return "-" if at is None else at.strftime("%Y-%m-%d")


def _moment(at: datetime | None) -> str:
    return "-" if at is None else at.strftime("%Y-%m-%d %H:%M:%S UTC")


def _count(number: int) -> str:
    # A narrow space parts thousands in every language.
    return f"{number:,}".replace(",", "\u202f")


def _contact(contact: Contact) -> str:
    return ", ".join(
        part for part in (contact.name, contact.address, contact.email, contact.phone) if part
    )
