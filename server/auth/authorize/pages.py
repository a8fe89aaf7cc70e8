"""The pages: HTML forms that need no script (WCAG 2.2 AA), and say nothing that the user may not know."""

from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from http import HTTPStatus
from typing import Any
from urllib.parse import urlsplit

from jinja2 import Environment, PackageLoader, StrictUndefined
from starlette.responses import HTMLResponse, Response

from server.auth.authorize.cookies import form_token
from server.auth.authorize.smart_style import SMART_STYLE
from server.auth.users.accounts import User

LOGOUT = "logout"  # what the token of the form at the foot of a page is for


@dataclass(frozen=True)
class Pages:
    """Renders pages below a public base."""

    base: str

    @cached_property
    def _environment(self) -> Environment:
        loader = PackageLoader("server.auth.authorize")
        environment = Environment(loader=loader, autoescape=True, undefined=StrictUndefined, trim_blocks=True)
        environment.globals |= {
            "base": self.base,
            "problem": None,
            "said": None,
            "user": None,
            "logout_token": "",
            "link": None,
            "elsewhere": None,
        }
        return environment

    def style(self) -> str:
        """The style sheet."""
        return self._environment.get_template("style.css").render(smart=SMART_STYLE)

    def page(
        self,
        name: str,
        told: Mapping[str, Any],
        status: HTTPStatus = HTTPStatus.OK,
        goes_to: str | None = None,
    ) -> Response:
        """A page; `goes_to` is the address to which its form may lead beside ours."""
        text = self._environment.get_template(f"{name}.html").render(**told)
        return HTMLResponse(text, status, {"Content-Security-Policy": _policy(goes_to)})

    def address(self, handle: str) -> str:
        """The page of a request to authorize."""
        return f"{self.base}/auth/request/{handle}"

    def message(self, heading: str, text: str, status: HTTPStatus) -> Response:
        """A page that only says something."""
        return self.page("message", {"heading": heading, "text": text}, status)


def of_user(user: User, browser: str, session: str) -> dict[str, Any]:
    """What the foot of a page says, and the token of its form."""
    return {"user": user, "logout_token": form_token(browser, session, LOGOUT)}


def destination(redirect_uri: str) -> str:
    """Where an app goes on, as a user may recognize it and as a content security policy names it."""
    parts = urlsplit(redirect_uri)
    return f"{parts.scheme}://{parts.netloc}" if parts.scheme in ("http", "https") else f"{parts.scheme}:"


def _policy(goes_to: str | None) -> str:
    """Browsers hold the redirect after a form to `form-action` too (CSP 3 §6.5.1)."""
    target = f"'self' {destination(goes_to)}" if goes_to else "'self'"
    return (
        f"default-src 'none'; style-src 'self'; form-action {target}; frame-ancestors 'none'; base-uri 'none'"
    )
