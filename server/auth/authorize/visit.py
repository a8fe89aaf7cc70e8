"""A browser on one of the pages."""

from dataclasses import dataclass

from starlette.requests import Request

from server.auth.authorize.cookies import form_token, is_form_token
from server.auth.authorize.forms import Fields, one
from server.auth.users.sessions import Session


@dataclass(frozen=True, slots=True)
class Visit:
    """A request of a browser: which one, and who has logged in with it."""

    request: Request
    browser: str
    secret: str | None  # of the session
    session: Session | None
    page: str  # what its form tokens are for

    def token(self) -> str:
        """What the forms of its page carry."""
        return form_token(self.browser, self.secret, self.page)

    def posted(self, fields: Fields) -> bool:
        """Whether a form came from its page."""
        return is_form_token(one(fields, "form_token"), self.browser, self.secret, self.page)
