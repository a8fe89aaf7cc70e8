"""Who may do what: tokens, clients, users, keys, launches."""

import asyncio
import os
from pathlib import Path
from typing import Annotated

import typer

from server.cli.options import Data, load_settings

commands = typer.Typer()
client = typer.Typer(help="OAuth clients.", no_args_is_help=True)
user = typer.Typer(help="Users who log in.", no_args_is_help=True)
keys = typer.Typer(help="Keys that sign id_tokens.", no_args_is_help=True)


def read_password() -> str:
    """A new password, from ISTHMUS_PASSWORD or as it is typed twice."""
    typed: str = os.environ.get("ISTHMUS_PASSWORD") or typer.prompt(
        "Password", hide_input=True, confirmation_prompt=True
    )
    return typed


def read_keys(path: Path) -> str:
    """The text of a file with keys; one that cannot be read ends the program with its name."""
    try:
        return path.read_text()
    except (OSError, UnicodeDecodeError) as problem:
        raise typer.BadParameter(f"{path} cannot be read.", param_hint="--jwks") from problem


@commands.command()
def token(
    scope: Annotated[str, typer.Option(help="SMART scopes, separated by spaces.")],
    patient: Annotated[str | None, typer.Option(help="Confine the token to this Patient id.")] = None,
    ttl: Annotated[int, typer.Option(help="Seconds until it expires.")] = 3600,
    data: Data = None,
) -> None:
    """Issue an access token; it is the last word on standard output."""
    from server.administration import issue

    typer.echo(asyncio.run(issue(load_settings(data=data), scope, patient, ttl)))


@commands.command("registration-token")
def registration_token(
    ttl: Annotated[int, typer.Option(help="Seconds until it expires.")] = 3600,
    data: Data = None,
) -> None:
    """Make a token with which one app may register itself (RFC 7591)."""
    from server.administration import new_registration_token

    typer.echo(asyncio.run(new_registration_token(load_settings(data=data), ttl)))


@client.command("add")
def client_add(  # noqa: PLR0913, PLR0917  one parameter an option
    name: Annotated[str, typer.Option(help="A name for people.")],
    scope: Annotated[str, typer.Option(help="The scopes it may ask for.")],
    redirect_uri: Annotated[
        list[str] | None,
        typer.Option(help="Where users of the app come back to; may be given more than once."),
    ] = None,
    jwks: Annotated[
        str | None,
        typer.Option(help="A file with its public keys, or the https URL where they are (private_key_jwt)."),
    ] = None,
    confidential: Annotated[
        bool, typer.Option("--confidential", help="An app that can keep a secret, which is shown once.")
    ] = False,
    may_launch: Annotated[
        bool, typer.Option("--may-launch", help="A client of an EHR: it prepares launches for its users.")
    ] = False,
    represents: Annotated[
        str | None,
        typer.Option(help="Of a Backend Services client: who it is to a Consent, such as Organization/1."),
    ] = None,
    data: Data = None,
) -> None:
    """Register an app that users log in to, or without --redirect-uri a Backend Services client."""
    from server.administration import register_client
    from server.auth.clients import Wanted

    is_url = jwks is not None and "://" in jwks
    keys = None if jwks is None or is_url else read_keys(Path(jwks))
    uri = jwks if is_url else None
    wanted = Wanted(
        name,
        scope,
        keys,
        tuple(redirect_uri or ()),
        confidential,
        jwks_uri=uri,
        may_launch=may_launch,
        represents=represents,
    )
    for line in asyncio.run(register_client(load_settings(data=data), wanted)):
        typer.echo(line)


@client.command("list")
def client_list(data: Data = None) -> None:
    """List the registered clients."""
    from server.administration import list_accounts

    for line in asyncio.run(list_accounts(load_settings(data=data), of_clients=True)):
        typer.echo(line)


@client.command("launching")
def client_launching(
    client_id: Annotated[str, typer.Argument(help="Its client_id.")],
    allowed: Annotated[bool, typer.Option("--allow/--forbid", help="Whether it may.")],
    data: Data = None,
) -> None:
    """Say whether a client that acts for itself may prepare launches, as an EHR's does."""
    from server.administration import administer
    from server.auth.clients import let_launch

    settings = load_settings(data=data)
    asyncio.run(administer(settings, lambda database, by: let_launch(database, client_id, allowed, by)))


@client.command("disable")
def client_disable(
    client_id: Annotated[str, typer.Argument(help="Its client_id.")], data: Data = None
) -> None:
    """Take a client out of use, with every token of it."""
    from server.administration import administer
    from server.auth.clients import disable_client
    from server.kernel.faults import NotFound

    settings = load_settings(data=data)
    if not asyncio.run(administer(settings, lambda database, by: disable_client(database, client_id, by))):
        raise NotFound("There is no such client in use.")


@user.command("add")
def user_add(  # noqa: PLR0913, PLR0917  one parameter an option
    name: Annotated[str, typer.Argument(help="What they type to log in.")],
    role: Annotated[str, typer.Option(help="clinician, patient, admin or auditor.")] = "clinician",
    patient: Annotated[str | None, typer.Option(help="Of a patient: the id of their Patient.")] = None,
    display: Annotated[str | None, typer.Option(help="Their name for people.")] = None,
    fhir_user: Annotated[str | None, typer.Option(help="Their resource, such as Practitioner/1.")] = None,
    subject: Annotated[
        str | None, typer.Option(help="Their `sub` at the external provider; they get no password here.")
    ] = None,
    data: Data = None,
) -> None:
    """Make an account; the password is asked for, or comes in ISTHMUS_PASSWORD."""
    from server.administration import identity_at, register_user
    from server.auth.users.accounts import NewUser
    from server.auth.users.roles import Role

    if role not in {each.value for each in Role}:
        raise typer.BadParameter(f"{role} is no role.", param_hint="--role")
    settings = load_settings(data=data)
    who = None if subject is None else identity_at(settings, subject)
    password = read_password() if who is None else None
    new = NewUser(name, Role(role), display, password, fhir_user, patient, who)
    typer.echo(asyncio.run(register_user(settings, new)))


@user.command("list")
def user_list(data: Data = None) -> None:
    """List the accounts of users."""
    from server.administration import list_accounts

    for line in asyncio.run(list_accounts(load_settings(data=data), of_clients=False)):
        typer.echo(line)


@user.command("disable")
def user_disable(
    name: Annotated[str, typer.Argument(help="Who may not log in any more.")], data: Data = None
) -> None:
    """Take an account out of use, with all that was allowed in its name."""
    from server.administration import administer
    from server.auth.users.accounts import disable_user

    asyncio.run(administer(load_settings(data=data), lambda database, by: disable_user(database, name, by)))


@user.command("enable")
def user_enable(
    name: Annotated[str, typer.Argument(help="Who may log in again.")], data: Data = None
) -> None:
    """Take an account into use again; what was allowed in its name stays ended."""
    from server.administration import administer
    from server.auth.users.accounts import enable_user

    asyncio.run(administer(load_settings(data=data), lambda database, by: enable_user(database, name, by)))


@user.command("password")
def user_password(
    name: Annotated[str, typer.Argument(help="Whose password it is.")], data: Data = None
) -> None:
    """Set a password, asked for or in ISTHMUS_PASSWORD; ends the user's sessions and grants."""
    from server.administration import administer
    from server.auth.users.accounts import set_password

    new = read_password()
    asyncio.run(
        administer(load_settings(data=data), lambda database, by: set_password(database, name, new, by))
    )


@user.command("link")
def user_link(
    name: Annotated[str, typer.Argument(help="Who logs in there.")],
    subject: Annotated[str, typer.Option(help="Their `sub` at the external provider.")],
    data: Data = None,
) -> None:
    """Let a user log in at the external provider; ends the user's sessions and grants."""
    from server.administration import administer, identity_at
    from server.auth.users.accounts import link_user

    settings = load_settings(data=data)
    who = identity_at(settings, subject)
    asyncio.run(administer(settings, lambda database, by: link_user(database, name, who, by)))


@user.command("unlink")
def user_unlink(
    name: Annotated[str, typer.Argument(help="Who does not log in there any more.")], data: Data = None
) -> None:
    """Let a user no longer log in at an external provider; ends the user's sessions and grants."""
    from server.administration import administer
    from server.auth.users.accounts import link_user

    settings = load_settings(data=data)
    asyncio.run(administer(settings, lambda database, by: link_user(database, name, None, by)))


@keys.command("rotate")
def keys_rotate(data: Data = None) -> None:
    """Make the key that signs id_tokens next, and retire those before it."""
    from server.administration import rotate_key

    typer.echo(asyncio.run(rotate_key(load_settings(data=data))))


@commands.command()
def launch(  # noqa: PLR0913, PLR0917  one parameter an option
    client_id: Annotated[str, typer.Option("--client", help="The app's client_id.")],
    user_name: Annotated[str, typer.Option("--user", help="Who launches it.")],
    patient: Annotated[str | None, typer.Option(help="The id of the Patient in context.")] = None,
    study: Annotated[str | None, typer.Option(help="The Study Instance UID in context.")] = None,
    url: Annotated[str, typer.Option(help="The app's launch URL.")] = "",
    data: Data = None,
) -> None:
    """Prepare an EHR launch; prints the launch URL, good for five minutes and one use."""
    from server.administration import prepare_launch
    from server.workflows.launches.prepare import Wanted

    wanted = Wanted(client_id, user_name, patient, study)
    query = asyncio.run(prepare_launch(load_settings(data=data), wanted))
    typer.echo(f"{url}{'&' if '?' in url else '?'}{query}")
