"""Which viewer it is: one version of OHIF's own npm package, known by its digest.

Another version is another digest here, and a run of `tests/e2e/test_ohif.py`.
"""

from dataclasses import dataclass

REGISTRY = "https://registry.npmjs.org"  # npm's public one; the setting viewer_registry names another


@dataclass(frozen=True, slots=True)
class Release:
    """A version of a package."""

    package: str
    version: str
    integrity: str  # of the tarball: "sha512-" and the digest in base64 (W3C Subresource Integrity §3.1)

    def tarball_url(self, registry: str) -> str:
        """Where a registry has the tarball, by the convention that npm's follows and others keep."""
        name = self.package.rpartition("/")[2]
        return f"{registry.rstrip('/')}/{self.package}/-/{name}-{self.version}.tgz"


OHIF = Release(
    "@ohif/app",
    "3.13.2",
    "sha512-WZdxmpmG7rqFgW9ZJLcbgr3XCtLi1KDNPoMaeY5PPe6j4G4fjEjjkycZM6C6Zk2F87BKxFfpq+jd5xXZB9E8EA==",
)
