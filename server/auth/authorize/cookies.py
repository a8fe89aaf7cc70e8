"""The two cookies of the pages: which browser it is, and that somebody has logged in with it (RFC 6265bis).

Under https they have the prefix `__Host-`: no other host and no page without TLS can set them. `SameSite=Lax`
keeps them from what other sites post; the token in each form refuses what gets through all the same, and the
form of another login.
"""

import hashlib
import hmac
from dataclasses import dataclass

from starlette.requests import Request
from starlette.responses import Response

from server.kernel.uids import new_secret

BROWSER, SESSION = "isthmus-browser", "isthmus-session"


@dataclass(frozen=True, slots=True)
class Cookies:
    """How cookies are named and set here."""

    https: bool

    def read(self, request: Request, name: str) -> str | None:
        """The cookie's text; None: there is none."""
        return request.cookies.get(self._name(name))

    def write(self, response: Response, name: str, text: str) -> None:
        """Set a cookie, until the browser is closed."""
        response.set_cookie(
            self._name(name), text, path="/", secure=self.https, httponly=True, samesite="lax"
        )

    def drop(self, response: Response, name: str) -> None:
        """Take a cookie away."""
        response.delete_cookie(self._name(name), path="/", secure=self.https, httponly=True, samesite="lax")

    def browser(self, request: Request) -> str:
        """The browser's secret; a new one where it has none."""
        return self.read(request, BROWSER) or new_secret()

    def _name(self, name: str) -> str:
        return f"__Host-{name}" if self.https else name


def form_token(browser: str, session: str | None, page: str) -> str:
    """What a form of a page carries: it comes from this browser, and from this login."""
    said = f"{page}\n{session or ''}".encode()
    return hmac.new(browser.encode(), said, hashlib.sha256).hexdigest()


def is_form_token(given: str, browser: str, session: str | None, page: str) -> bool:
    """Whether a form came from our page."""
    return hmac.compare_digest(given.encode(), form_token(browser, session, page).encode())
