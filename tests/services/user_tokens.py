"""Access tokens of users, as the token endpoint issues them, without the pages that lead there."""

from sqlalchemy import insert, select

from server.auth.grants.context import LaunchContext
from server.auth.grants.grant import Allowed, new_grant
from server.auth.scopes import parse_scopes
from server.auth.tables import AccessToken, LoginSession, OAuthClient
from server.auth.tokens import TokenRequest, new_token
from server.auth.users.accounts import NewUser, add_user
from server.auth.users.roles import Role
from server.auth.users.sessions import begin_session
from server.kernel.access import Principal
from server.kernel.database import Database, UnitOfWork
from server.kernel.rows import table_of

ADMIN = Principal("system:administrator", "administrator")


async def user_token(
    database: Database,
    role: Role,
    scope: str,
    patient_id: str,
    *,
    fhir_user: str | None = None,
    purpose: str | None = None,
) -> str:
    """A token with this patient in context, of a new user (whose record it is, in the role `patient`)."""
    whose = patient_id if role is Role.PATIENT else None
    name = f"a-{role.value}-{purpose or ''}-{(fhir_user or '').replace('/', '-')}"
    user = await add_user(database, NewUser(name, role, fhir_user=fhir_user, patient_id=whose), ADMIN)

    async def work(unit: UnitOfWork) -> str:
        client = {
            "client_id": f"app-of-{name}",
            "name": "App",
            "token_endpoint_auth_method": "none",
            "scope": scope,
            "grant_types": '["authorization_code"]',
            "redirect_uris": '["https://app.test/cb"]',
            "created_us": unit.now_us,
        }
        await unit.execute(insert(table_of(OAuthClient)), [client])
        await begin_session(unit, user)
        session = select(table_of(LoginSession).c.id).where(table_of(LoginSession).c.user_id == user.id)
        session_id = (await unit.execute(session)).scalar_one()
        scopes, client_id = parse_scopes(scope), str(client["client_id"])
        allowed = Allowed(client_id, user, session_id, scopes, patient_id, LaunchContext(), purpose)
        grant_id = await unit.connection.run_sync(new_grant, allowed, unit.now_us)
        request = TokenRequest(user.principal.id, scopes, 3600, client_id, patient_id, grant_id)
        issued = new_token(request, unit.now_us)
        await unit.execute(insert(table_of(AccessToken)), [issued.row])
        return issued.text

    return await database.transact(work)
