"""What the authorization server says of itself: SMART 2.2 conformance, RFC 8414, RFC 9728.

Rule: nothing is announced that is not there. Addresses come from the configured public base, never from Host.
"""

from typing import Any

from server.auth.assertions import ALGORITHMS
from server.auth.token_queries import METHODS

Json = dict[str, Any]

GRANT_TYPES = ("client_credentials",)
SCOPES = ("system/*.cruds", "system/*.rs", "system/*.read", "system/*.write", "system/*.*")
CAPABILITIES = (  # SMART 2.2, conformance capability sets
    "client-confidential-symmetric",
    "client-confidential-asymmetric",
    "permission-v1",
    "permission-v2",
)
RESOURCE_NAMES = {"/fhir": "FHIR R4", "/dicom-web": "DICOMweb", "/admin/api": "Administration"}


def smart_configuration(public_base: str) -> Json:
    """`/fhir/.well-known/smart-configuration` (SMART 2.2, conformance)."""
    return {
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


def _endpoints(public_base: str) -> Json:
    authentication = {
        f"{endpoint}_endpoint_auth_methods_supported": list(METHODS)
        for endpoint in ("token", "introspection", "revocation")
    }
    return {
        "token_endpoint": f"{public_base}/auth/token",
        "introspection_endpoint": f"{public_base}/auth/introspect",
        "revocation_endpoint": f"{public_base}/auth/revoke",
        **authentication,
        "token_endpoint_auth_signing_alg_values_supported": list(ALGORITHMS),
        "grant_types_supported": list(GRANT_TYPES),
        "response_types_supported": [],  # no authorization endpoint yet
        "code_challenge_methods_supported": [],
        "scopes_supported": list(SCOPES),
    }
