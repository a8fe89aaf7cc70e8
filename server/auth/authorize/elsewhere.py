"""Login at an external OpenID provider, as the pages have it: there, back, and off again.

The way there is a link and no form: browsers hold all redirects after a form to the page's `form-action`,
and a provider may lead on to others.
"""

from http import HTTPStatus

from starlette.responses import RedirectResponse, Response

from server.auth.authorize.cookies import SESSION, Cookies
from server.auth.authorize.forms import Fields
from server.auth.authorize.pages import Pages
from server.auth.authorize.pending import Pending
from server.auth.authorize.visit import Visit
from server.auth.federation.login import FederatedLogin, LoginFailed, Offer

LEAVE = "elsewhere"  # the query of the page that leads there


class ElsewherePages:
    """What pages and redirects make of logins at a provider."""

    def __init__(self, login: FederatedLogin, pages: Pages, cookies: Cookies) -> None:
        self._login = login
        self._pages = pages
        self._cookies = cookies

    @property
    def only_administrators(self) -> bool:
        """Whether nobody else logs in by a password of ours."""
        return not self._login.local_passwords

    async def offer(self) -> Offer:
        """What the login page says."""
        return await self._login.offer()

    async def begin(self, visit: Visit, pending: Pending) -> Response:
        """Send the browser to the provider; who has the page's handle may, and the state is its browser's."""
        try:
            url = await self._login.begin(pending, visit.page, visit.browser)
        except LoginFailed as failed:
            return self._failed(visit, failed)
        return RedirectResponse(url, HTTPStatus.SEE_OTHER)

    async def finish(self, visit: Visit, pending: Pending, said: Fields) -> Response:
        """Take the provider's answer, and go on with the request that the login was for.

        Raises:
            NotPending: no such login is under way.
        """
        try:
            secret = await self._login.finish(pending, said, visit.browser)
        except LoginFailed as failed:
            return self._failed(visit, failed)
        response = RedirectResponse(self._pages.address(visit.page), HTTPStatus.SEE_OTHER)
        self._cookies.write(response, SESSION, secret)
        return response

    async def log_off_link(self) -> dict[str, str]:
        """A link to where the user may still be logged in: who comes next would need no password."""
        url = await self._login.logout_url()
        return {} if url is None else {"link": url, "link_text": f"Log off at {self._login.name}, too"}

    def _failed(self, visit: Visit, failed: LoginFailed) -> Response:
        link = {"link": self._pages.address(visit.page), "link_text": "Back to the login"}
        told = {"heading": "You are not logged in", "text": str(failed), **link}
        return self._pages.page("message", told, failed.status)
