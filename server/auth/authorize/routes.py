"""`/auth/authorize` and the pages after it (SMART App Launch 2.2; RFC 6749 §3.1)."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from http import HTTPStatus
from typing import Any

from fastapi import APIRouter, Request, Response
from fastapi.responses import JSONResponse, RedirectResponse

from server.auth.authorize import answers, emergency, steps
from server.auth.authorize.asked import NotAnswerable, RefusedRequest, read_asked, redirect_uri_of
from server.auth.authorize.cookies import BROWSER, SESSION, Cookies
from server.auth.authorize.elsewhere import LEAVE, ElsewherePages
from server.auth.authorize.encounters import Encounters
from server.auth.authorize.forms import Fields, one, read_fields
from server.auth.authorize.pages import LOGOUT, Pages, destination, of_user
from server.auth.authorize.patients import PatientChoice, Patients
from server.auth.authorize.pending import (
    NotPending,
    Pending,
    begin,
    find_pending,
    pick_encounter,
    pick_patient,
)
from server.auth.authorize.pressure import Pressure, TooOften
from server.auth.authorize.smart_style import AGE, SMART_STYLE, VERSION
from server.auth.authorize.steps import Step, next_step
from server.auth.authorize.visit import Visit
from server.auth.authorize.words import choices, told_anyway
from server.auth.clients import RegisteredClient, find_client
from server.auth.federation.login import FederatedLogin
from server.auth.federation.provider import CALLBACK
from server.auth.federation.state import handle_of
from server.auth.tokens import AccessTokens
from server.auth.users.logins import LoginRefused, log_in
from server.auth.users.sessions import Session, end_session, find_session
from server.kernel.faults import NotFound
from server.kernel.request import origin_of
from server.kernel.services import Services

SEE_OTHER = HTTPStatus.SEE_OTHER


@dataclass(frozen=True, slots=True)
class Installation:
    """What the pages stand on."""

    services: Services
    patients: Patients
    tokens: AccessTokens
    begun: Pressure  # of logins
    tried: Pressure  # of passwords that are not right
    elsewhere: FederatedLogin | None = None  # None: all users log in here


class Authorization:
    """The authorization endpoint over one installation."""

    def __init__(self, installation: Installation) -> None:
        services, elsewhere = installation.services, installation.elsewhere
        self._services = services
        self._tokens = installation.tokens
        self._patients = installation.patients
        self._encounters = Encounters(installation.patients.door)
        self._begun, self._tried = installation.begun, installation.tried
        self._base = services.public_base
        self._pages = Pages(services.public_base)
        self._cookies = Cookies(services.public_base.startswith("https:"))
        self._elsewhere = None if elsewhere is None else ElsewherePages(elsewhere, self._pages, self._cookies)

    async def begin(self, request: Request) -> Response:
        """Judge what an app asks, and lead the browser to the first page."""
        fields = await read_fields(request)
        database = self._services.database
        client = await find_client(database, one(fields, "client_id"))
        redirect_uri = redirect_uri_of(client, fields)
        assert client is not None
        browser, visit = self._cookies.browser(request), await self._visit(request, "")
        try:
            asked = read_asked(client, fields, frozenset({f"{self._base}/fhir"}))
            if asked.launch is None and visit.session is None:
                await self._begun.take(request.scope)
            handle = await begin(database, asked, browser)
        except RefusedRequest as refused:
            state = one(fields, "state") or None
            url = answers.refusal_url(self._base, redirect_uri, state, refused)
            return self._to_app(visit, client, url)
        response = RedirectResponse(self._pages.address(handle), SEE_OTHER)
        self._cookies.write(response, BROWSER, browser)
        return response

    async def show(self, request: Request, handle: str) -> Response:
        """The page that a request needs next."""
        visit = await self._visit(request, handle)
        pending = await self._pending(visit, handle)
        try:
            return await self._page(visit, pending)
        except RefusedRequest as refused:
            client = await self._client(pending)
            return self._to_app(visit, client, await self._refuse(pending, refused))

    async def take(self, request: Request, handle: str) -> Response:
        """What a page sent."""
        fields = await read_fields(request)
        visit = await self._visit(request, handle)
        pending = await self._pending(visit, handle)
        if not visit.posted(fields):  # of an older page: the one that fits now comes instead
            return RedirectResponse(self._pages.address(handle), SEE_OTHER)
        try:
            return await self._taken(visit, pending, fields)
        except RefusedRequest as refused:
            return RedirectResponse(await self._refuse(pending, refused), SEE_OTHER)

    async def come_back(self, request: Request) -> Response:
        """The answer of the external provider, to which a login page sent the browser."""
        fields = await read_fields(request)
        handle = handle_of(one(fields, "state"))
        visit = await self._visit(request, handle)
        pending = await self._pending(visit, handle)
        if self._elsewhere is None:
            raise NotPending("Nobody logs in elsewhere.")
        response = await self._elsewhere.finish(visit, pending, fields)
        self._tokens.forget_all()  # the role of who came back may be another one now, or none
        return response

    async def log_off(self, request: Request) -> Response:
        """End the session, and what was allowed for as long as it lasts."""
        visit = await self._visit(request, LOGOUT)
        if request.method == "GET" or not visit.posted(await read_fields(request)):
            told = {} if visit.session is None else self._foot(visit)
            text = "Nobody is logged in." if visit.session is None else "Close the apps that you used, too."
            return self._pages.page("message", {"heading": "Log off", "text": text, **told})
        if visit.session is not None:
            await end_session(self._services.database, visit.session)
            self._tokens.forget_all()
        told = {"heading": "You are logged off", "text": "You can close this page."}
        if self._elsewhere is not None and visit.session is not None and visit.session.is_elsewhere:
            told |= await self._elsewhere.log_off_link()
        response = self._pages.page("message", told)
        self._cookies.drop(response, SESSION)
        return response

    async def _taken(self, visit: Visit, pending: Pending, fields: Fields) -> Response:
        said = one(fields, "step")
        if said == "deny":
            raise RefusedRequest("access_denied", "The user did not allow it.")
        if said == Step.LOGIN.value:
            return await self._log_in(visit, pending, fields)
        step = next_step(pending, visit.session, self._services.clock())
        session = visit.session
        if session is not None and (said, step) == (Step.PATIENT.value, Step.PATIENT):
            patient = await self._patients.one(session.user, one(fields, "patient"))
            if patient is not None:
                await pick_patient(self._services.database, pending, patient.id)
        elif session is not None and (said, step) == (Step.ENCOUNTER.value, Step.ENCOUNTER):
            await self._pick_encounter(pending, session, one(fields, "encounter"))
        elif session is not None and (said, step) == ("allow", Step.CONSENT):
            chosen = frozenset(fields.get("scope", ()))
            code = await steps.allow(self._services.database, pending, session, chosen)
            return RedirectResponse(answers.code_url(self._base, pending.asked, code), SEE_OTHER)
        elif session is not None and emergency.is_said(said, step) and emergency.is_offered(pending, session):
            return await self._break_glass(visit, pending, session, fields)
        return RedirectResponse(self._pages.address(visit.page), SEE_OTHER)

    async def _pick_encounter(self, pending: Pending, session: Session, encounter_id: str) -> None:
        patient_id = steps.patient_of(pending, session)
        assert patient_id is not None
        if not encounter_id or await self._encounters.has(session.user, patient_id, encounter_id):
            await pick_encounter(self._services.database, pending, patient_id, encounter_id)

    async def _break_glass(
        self, visit: Visit, pending: Pending, session: Session, fields: Fields
    ) -> Response:
        chosen = frozenset(fields.get("scope", ()))
        said = emergency.read_said(chosen, one(fields, "reason"), one(fields, "confirmed"))
        problem = emergency.problem_of(said)
        if problem is not None:
            return await self._emergency_page(visit, pending, session, said, problem)
        code = await emergency.break_glass(self._services.database, pending, session, said)
        return RedirectResponse(answers.code_url(self._base, pending.asked, code), SEE_OTHER)

    async def _log_in(self, visit: Visit, pending: Pending, fields: Fields) -> Response:
        name, scope = one(fields, "name"), visit.request.scope
        await self._tried.take(scope)
        try:
            secret = await log_in(
                self._services.database,
                name,
                one(fields, "password"),
                origin_of(scope),
                only_administrators=self._elsewhere is not None and self._elsewhere.only_administrators,
            )
        except LoginRefused as refused:
            return await self._login_page(visit, pending, {"problem": str(refused), "name": name})
        await self._tried.give_back(scope)
        response = RedirectResponse(self._pages.address(visit.page), SEE_OTHER)
        self._cookies.write(response, SESSION, secret)
        return response

    async def _page(self, visit: Visit, pending: Pending) -> Response:
        step = next_step(pending, visit.session, self._services.clock())
        if step is Step.LOGIN or visit.session is None:
            if self._elsewhere is not None and LEAVE in visit.request.query_params:
                return await self._elsewhere.begin(visit, pending)
            return await self._login_page(visit, pending, {})
        if step is Step.PATIENT:
            return await self._patient_page(visit, pending, visit.session)
        if step is Step.ENCOUNTER:
            return await self._encounter_page(visit, pending, visit.session)
        is_emergency = emergency.STEP in visit.request.query_params
        if is_emergency and emergency.is_offered(pending, visit.session):
            return await self._emergency_page(visit, pending, visit.session)
        return await self._consent_page(visit, pending, visit.session)

    async def _login_page(self, visit: Visit, pending: Pending, told: Mapping[str, Any]) -> Response:
        status = HTTPStatus.FORBIDDEN if told else HTTPStatus.OK
        about = {**await self._about(visit, pending), "name": "", **told}
        if self._elsewhere is not None:
            about["elsewhere"] = await self._elsewhere.offer()
        return self._pages.page("login", about, status, pending.asked.bound.redirect_uri)

    async def _patient_page(self, visit: Visit, pending: Pending, session: Session) -> Response:
        typed = visit.request.query_params.get("q", "")
        found, more = await self._patients.search(session.user, typed) if typed else (None, False)
        told = {"q": typed, "patients": found, "more": more}
        about = {**await self._about(visit, pending), **self._foot(visit), **told}
        return self._pages.page("patient", about, goes_to=pending.asked.bound.redirect_uri)

    async def _encounter_page(self, visit: Visit, pending: Pending, session: Session) -> Response:
        patient = await self._patient(pending, session)
        assert patient is not None
        found, more = await self._encounters.of(session.user, patient.id)
        told = {"patient": patient, "encounters": found, "more": more}
        about = {**await self._about(visit, pending), **self._foot(visit), **told}
        return self._pages.page("encounter", about, goes_to=pending.asked.bound.redirect_uri)

    async def _consent_page(self, visit: Visit, pending: Pending, session: Session) -> Response:
        scopes = steps.offered(pending.asked.scopes, session)
        redirect_uri = pending.asked.bound.redirect_uri
        told = {
            "lines": choices(scopes),
            "told": told_anyway(scopes),
            "patient": await self._patient(pending, session),
            "destination": destination(redirect_uri),
            "emergency": emergency.is_offered(pending, session),
        }
        about = {**await self._about(visit, pending), **self._foot(visit), **told}
        return self._pages.page("consent", about, goes_to=redirect_uri)

    async def _emergency_page(
        self,
        visit: Visit,
        pending: Pending,
        session: Session,
        said: emergency.Said | None = None,
        problem: str | None = None,
    ) -> Response:
        redirect_uri = pending.asked.bound.redirect_uri
        told = {
            "problem": problem,
            "said": said,
            "lines": choices(emergency.scopes_of(pending, session)),
            "patient": await self._patient(pending, session),
            "rules": emergency,
        }
        about = {**await self._about(visit, pending), **self._foot(visit), **told}
        status = HTTPStatus.OK if problem is None else HTTPStatus.BAD_REQUEST
        return self._pages.page("emergency", about, status, redirect_uri)

    async def _patient(self, pending: Pending, session: Session) -> PatientChoice | None:
        scopes = steps.offered(pending.asked.scopes, session)
        patient_id = steps.patient_in_context(pending, session, scopes)
        if patient_id is None:
            return None
        patient = await self._patients.one(session.user, patient_id)
        if patient is None:
            raise RefusedRequest("access_denied", "The patient is not here.")
        return patient

    async def _client(self, pending: Pending) -> RegisteredClient:
        client = await find_client(self._services.database, pending.asked.client_id)
        if client is None:
            raise NotPending("The app is no longer registered.")
        return client

    async def _about(self, visit: Visit, pending: Pending) -> dict[str, Any]:
        client = await self._client(pending)
        return {"app": client.name, "action": self._pages.address(visit.page), "form_token": visit.token()}

    def _foot(self, visit: Visit) -> dict[str, Any]:
        assert visit.session is not None
        return of_user(visit.session.user, visit.browser, visit.secret or "")

    async def _refuse(self, pending: Pending, refused: RefusedRequest) -> str:
        await steps.refuse(self._services.database, pending)
        asked = pending.asked
        return answers.refusal_url(self._base, asked.bound.redirect_uri, asked.state, refused)

    def _to_app(self, visit: Visit, client: RegisteredClient, url: str) -> Response:
        """Tell an app of a refusal that no form of ours asked for (RFC 9700 §4.11.2).

        Anybody can make links that end in one. Where nobody has logged in, an app that no administrator knows
        gets no browser by them: the user decides.
        """
        if visit.session is not None or not client.registered_itself:
            return RedirectResponse(url, SEE_OTHER)
        text = "The app that sent you here asked for what cannot be done. Go on only if you know its address."
        link = {"link": url, "link_text": f"Go on to {destination(url)}"}
        told = {"heading": "This does not work", "text": text, **link}
        return self._pages.page("message", told, HTTPStatus.BAD_REQUEST)

    async def _visit(self, request: Request, page: str) -> Visit:
        secret = self._cookies.read(request, SESSION)
        session = await find_session(self._services.database, secret, self._services.clock())
        browser = self._cookies.read(request, BROWSER) or ""
        return Visit(request, browser, secret if session else None, session, page)

    async def _pending(self, visit: Visit, handle: str) -> Pending:
        return await find_pending(self._services.database, handle, visit.browser, self._services.clock())

    def style(self) -> Response:
        """The style sheet of the pages."""
        return Response(self._pages.style(), media_type="text/css", headers={"Cache-Control": "max-age=3600"})

    def trouble(self, fault: NotAnswerable | NotPending | TooOften) -> Response:
        """The page of what cannot be answered to an app."""
        page = self._pages.message("This does not work", str(fault), fault.status)
        if isinstance(fault, TooOften):
            page.headers["retry-after"] = str(fault.wait_s)
        return page


def build_router(installation: Installation) -> APIRouter:
    """The routes of this file."""
    router = APIRouter(tags=["authorization"])
    authorization = Authorization(installation)

    async def shown(answer: Callable[[], Any]) -> Response:
        try:
            response: Response = await answer()
        except (NotAnswerable, NotPending, TooOften) as fault:
            return authorization.trouble(fault)
        return response

    @router.get("/auth/authorize")
    @router.post("/auth/authorize")
    async def authorize(request: Request) -> Response:
        """Ask a user for access (RFC 6749 §3.1)."""
        return await shown(lambda: authorization.begin(request))

    @router.get("/auth/request/{handle}")
    async def show(request: Request, handle: str) -> Response:
        """The page on which a user answers an app."""
        return await shown(lambda: authorization.show(request, handle))

    @router.post("/auth/request/{handle}")
    async def take(request: Request, handle: str) -> Response:
        """What a user answers."""
        return await shown(lambda: authorization.take(request, handle))

    @router.get(CALLBACK)
    async def come_back(request: Request) -> Response:
        """The answer of an external OpenID provider (OpenID Connect Core §3.1.2.5)."""
        return await shown(lambda: authorization.come_back(request))

    @router.get("/auth/logout")
    @router.post("/auth/logout")
    async def log_off(request: Request) -> Response:
        """Log off."""
        return await authorization.log_off(request)

    _add_styles(router, authorization)
    return router


def _add_styles(router: APIRouter, authorization: Authorization) -> None:
    @router.get("/auth/style.css")
    async def style() -> Response:
        """The style sheet of the pages."""
        return authorization.style()

    @router.get("/auth/smart-style/{version}")
    async def smart_style(version: str) -> Response:
        """The look of the pages, for apps (SMART 2.2, Styling)."""
        if version != VERSION:
            raise NotFound("There is no such style.")
        return JSONResponse(dict(SMART_STYLE), headers={"Cache-Control": AGE})
