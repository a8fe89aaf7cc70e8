"""An external OpenID provider at which users log in (docs/conformance/smart.md, section 11)."""

from urllib.parse import urlsplit

from pydantic import BaseModel, Field, field_validator, model_validator

from server.auth.federation.provider import ClaimRules, Provider
from server.auth.users.roles import Role
from server.kernel.outbound_policy import AllowedHost, is_this_machine, parse_networks
from server.setting_groups.outbound import outbound_policy


class FederationSettings(BaseModel):
    """The provider, what it is asked, and what is believed of it."""

    federation_issuer: str | None = Field(
        None, description="issuer of the OpenID provider at which users log in; default: none"
    )
    federation_client_id: str | None = Field(None, description="what this server is called there")
    federation_client_secret: str | None = Field(None, description="its secret there")
    federation_name: str = Field(
        "your organization", min_length=1, max_length=60, description="what the login page calls the provider"
    )
    federation_scopes: str = Field("openid profile", description="scopes that the provider is asked for")
    federation_role_claim: tuple[str, ...] = Field(
        (), description="claim that has the role, and names within it; default: roles are given here"
    )
    federation_roles: dict[str, Role] = Field(
        default_factory=dict, description="value of that claim → clinician, patient, admin or auditor"
    )
    federation_fhir_user_claim: str | None = Field(
        None, description="claim that has fhirUser; default: it is given here"
    )
    federation_accounts: bool = Field(
        False, description="whether who logs in there for the first time gets an account"
    )
    federation_local_passwords: bool = Field(
        True, description="whether others than administrators still log in by a password of this server"
    )
    federation_hosts: tuple[str, ...] = Field(
        (), description="hosts of the provider's endpoints beside the issuer's own; default: none"
    )
    federation_networks: tuple[str, ...] = Field(
        (), description="networks of private addresses that the provider may have; default: none"
    )

    @field_validator("federation_issuer")
    @classmethod
    def _is_issuer(cls, value: str | None) -> str | None:
        if value is None:
            return None
        parts = urlsplit(value)
        is_plain = parts.hostname and not (parts.query or parts.fragment or "@" in parts.netloc)
        is_safe = parts.scheme == "https" or (
            parts.scheme == "http" and is_this_machine(parts.hostname or "")
        )
        if not is_plain or not is_safe or "?" in value or "#" in value:
            raise ValueError("must be an https URL without query and fragment, as the provider writes it")
        AllowedHost.parse(_origin(value))
        return value

    @field_validator("federation_scopes")
    @classmethod
    def _has_openid(cls, value: str) -> str:
        if "openid" not in value.split():
            raise ValueError("must have openid")
        return value

    @field_validator("federation_hosts")
    @classmethod
    def _are_provider_hosts(cls, values: tuple[str, ...]) -> tuple[str, ...]:
        for value in values:
            AllowedHost.parse(value)
        return values

    @field_validator("federation_networks")
    @classmethod
    def _are_provider_networks(cls, values: tuple[str, ...]) -> tuple[str, ...]:
        parse_networks(values)
        return values

    @model_validator(mode="after")
    def _is_whole(self) -> "FederationSettings":
        if self.federation_issuer is None:
            if not self.federation_local_passwords:
                raise ValueError("without federation_issuer nobody could log in: federation_local_passwords")
            return self
        if not self.federation_client_id or not self.federation_client_secret:
            raise ValueError("federation_issuer needs federation_client_id and federation_client_secret")
        if bool(self.federation_role_claim) != bool(self.federation_roles):
            raise ValueError("federation_role_claim and federation_roles need each other")
        if self.federation_accounts and not self.federation_role_claim:
            raise ValueError("federation_accounts needs federation_role_claim: an account has a role")
        return self

    @property
    def provider(self) -> Provider | None:
        """The provider in force; None: there is none."""
        if self.federation_issuer is None:
            return None
        hosts = (_origin(self.federation_issuer), *self.federation_hosts)
        return Provider(
            issuer=self.federation_issuer,
            client_id=self.federation_client_id or "",
            client_secret=self.federation_client_secret or "",
            name=self.federation_name,
            scopes=self.federation_scopes,
            outbound=outbound_policy(hosts, self.federation_networks),
            rules=ClaimRules(
                self.federation_role_claim,
                self.federation_roles,
                self.federation_fhir_user_claim,
                self.federation_accounts,
            ),
            local_passwords=self.federation_local_passwords,
        )


def _origin(url: str) -> str:
    """Scheme, host and port, as lists of hosts write them."""
    parts = urlsplit(url)
    return f"{parts.scheme}://{parts.netloc.lower()}"
