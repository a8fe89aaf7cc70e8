"""OHIF's files for another place than the root of a site, where its build has put them for good.

Webpack writes the place into the head of the application and of each worker. They are told to find it by
themselves: the page says it (`app-config.js`), a worker lies in it.
"""

from pathlib import Path

from server.viewer.unpack import BadPackage

_PLACE = b'__webpack_require__.p = "/";'
_FOUND = b'__webpack_require__.p = self.PUBLIC_URL || new URL("./", self.location.href).pathname;'
_CHANGES = {".js": (_PLACE, _FOUND), ".css": (b"url(/", b"url(")}  # style sheets lie in the root


def relocate(dist: Path, scripts: tuple[str, ...]) -> None:
    """Change the files in the folder's root.

    Raises:
        BadPackage: none of `scripts`, which the page loads, says where it is: nothing else would be found.
    """
    changed = set()
    for path in dist.iterdir():
        before, after = _CHANGES.get(path.suffix, (b"", b""))
        if before and path.is_file() and before in (content := path.read_bytes()):
            path.write_bytes(content.replace(before, after))
            changed.add(path.name)
    if changed.isdisjoint(scripts):
        raise BadPackage("The package is not built as it should be: its place is not where it is looked for.")
