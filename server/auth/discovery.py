"""What the authorization server says of itself: SMART 2.2 conformance, RFC 8414, RFC 9728.

Rule: nothing is announced that is not there. Addresses come from the configured public base, never from Host.
"""

from typing import Any

from server.auth.assertions import ALGORITHMS
from server.auth.grants.token_grants import METHODS as TOKEN_METHODS
from server.auth.scopes import CONTEXT_SCOPES
from server.auth.signing import ALGORITHM
from server.auth.token_queries import METHODS, METHODS_OF_REVOCATION

Json = dict[str, Any]

GRANT_TYPES = ("authorization_code", "refresh_token", "client_credentials")
SCOPES = (
    *sorted(CONTEXT_SCOPES),
    *(
        f"{context}/*.{permissions}"
        for context in ("patient", "user", "system")
        for permissions in ("cruds", "rs", "read", "write", "*")
    ),
)
CLAIMS = ("iss", "sub", "aud", "exp", "iat", "auth_time", "nonce", "fhirUser", "name")
CAPABILITIES = (  # SMART 2.2, conformance capability sets
    "launch-ehr",
    "launch-standalone",
    "authorize-post",
    "client-public",
    "client-confidential-symmetric",
    "client-confidential-asymmetric",
    "sso-openid-connect",
    "context-banner",
    "context-style",
    "context-ehr-patient",
    "context-ehr-encounter",
    "context-standalone-patient",
    "context-standalone-encounter",
    "permission-offline",
    "permission-online",
    "permission-patient",
    "permission-user",
    "permission-v1",
    "permission-v2",
)
OAUTH_URIS = {name: name for name in ("authorize", "token", "register", "introspect", "revoke")}
RESOURCE_NAMES = {
    "/fhir": "FHIR R4",
    "/dicom-web": "DICOMweb",
    "/admin/api": "Administration",
    "/auth/userinfo": "Userinfo",
}


def smart_configuration(public_base: str) -> Json:
    """`/fhir/.well-known/smart-configuration` (SMART 2.2, conformance)."""
    return {
        "issuer": public_base,
        **_endpoints(public_base),
        "capabilities": list(CAPABILITIES),
        "associated_endpoints": [{"url": f"{public_base}/dicom-web", "capabilities": list(CAPABILITIES)}],
    }


def authorization_server_metadata(public_base: str) -> Json:
    """`/.well-known/oauth-authorization-server` (RFC 8414 §2)."""
    return {"issuer": public_base, **_endpoints(public_base)}


def protected_resource_metadata(public_base: str, path: str) -> Json:
    """`/.well-known/oauth-protected-resource` of one door (RFC 9728 §2)."""
    return {
        "resource": f"{public_base}{path}",
        "resource_name": f"Isthmus {RESOURCE_NAMES[path]}",
        "authorization_servers": [public_base],
        "scopes_supported": list(SCOPES),
        "bearer_methods_supported": ["header"],
    }


def oauth_uris(public_base: str) -> dict[str, str]:
    """For the CapabilityStatement, where older clients look (SMART 1.0, oauth-uris)."""
    return {name: f"{public_base}/auth/{path}" for name, path in OAUTH_URIS.items()}


def _endpoints(public_base: str) -> Json:
    methods = {"token": TOKEN_METHODS, "introspection": METHODS, "revocation": METHODS_OF_REVOCATION}
    return {
        "authorization_endpoint": f"{public_base}/auth/authorize",
        "token_endpoint": f"{public_base}/auth/token",
        "introspection_endpoint": f"{public_base}/auth/introspect",
        "revocation_endpoint": f"{public_base}/auth/revoke",
        "registration_endpoint": f"{public_base}/auth/register",
        "userinfo_endpoint": f"{public_base}/auth/userinfo",
        "jwks_uri": f"{public_base}/auth/jwks",
        **{f"{each}_endpoint_auth_methods_supported": list(names) for each, names in methods.items()},
        "token_endpoint_auth_signing_alg_values_supported": list(ALGORITHMS),
        "id_token_signing_alg_values_supported": [ALGORITHM],
        "subject_types_supported": ["public"],
        "claims_supported": list(CLAIMS),
        "grant_types_supported": list(GRANT_TYPES),
        "response_types_supported": ["code"],
        "response_modes_supported": ["query"],
        "prompt_values_supported": ["none", "login", "consent"],
        "code_challenge_methods_supported": ["S256"],
        "authorization_response_iss_parameter_supported": True,
        "request_uri_parameter_supported": False,
        "scopes_supported": list(SCOPES),
    }
