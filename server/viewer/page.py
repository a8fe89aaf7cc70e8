"""The one page of the viewer, made by us of what OHIF's own names: its scripts and style sheets.

OHIF's page would load fonts and a service worker from elsewhere, and knows no place but the root of a site.
"""

from collections.abc import Container
from dataclasses import dataclass
from html import escape
from html.parser import HTMLParser

OWN = "app-config.js"  # served by us in place of OHIF's, which names a public server
PAGE = "index.html"
NOT_TAKEN = frozenset(
    {
        OWN,
        PAGE,
        "init-service-worker.js",
        "sw.js",
        "google.js",
        "_headers",
        "_redirects",
        "serve.json",
        "silent-refresh.html",
    }
)

_PAGE = """<!doctype html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<title>Isthmus viewer (OHIF)</title>
<link rel="icon" href="{root}assets/favicon.ico">
{styles}
<script src="{root}{own}"></script>
{scripts}
</head>
<body>
<noscript>The viewer needs JavaScript.</noscript>
<div id="react-portal"></div>
<div id="root"></div>
</body>
</html>
"""

_MISSING = """<!doctype html>
<html lang="en">
<head><meta charset="utf-8"><title>Isthmus viewer</title></head>
<body>
<h1>The viewer is not installed</h1>
<p>Isthmus serves the web viewer OHIF here once it is installed on the server:</p>
<pre>isthmus viewer install</pre>
<p>The server need not be started again. Give the command the server's data folder (<code>--data</code>), and
where there is no network a file (<code>--from</code>).</p>
</body>
</html>
"""


@dataclass(frozen=True, slots=True)
class Entry:
    """What a page has to load, in this order; paths below the viewer's root."""

    scripts: tuple[str, ...]
    styles: tuple[str, ...]


def entry_of(html: str, files: Container[str]) -> Entry:
    """What OHIF's own page loads from its own files, without its configuration and its service worker."""
    reader = _PageReader()
    reader.feed(html)
    reader.close()
    local = [
        (kind, path)
        for kind, url in reader.found
        if (path := url.removeprefix("/")) in files and path not in NOT_TAKEN
    ]
    return Entry(
        tuple(path for kind, path in local if kind == "script"),
        tuple(path for kind, path in local if kind == "style"),
    )


def front_page(entry: Entry, root: str) -> str:
    """The page; `root` is the viewer's path on its host, with a final slash."""
    root = escape(root)
    return _PAGE.format(
        root=root,
        own=OWN,
        styles="\n".join(f'<link rel="stylesheet" href="{root}{escape(path)}">' for path in entry.styles),
        scripts="\n".join(f'<script defer src="{root}{escape(path)}"></script>' for path in entry.scripts),
    )


def missing_page() -> str:
    """The page in place of a viewer that is not installed."""
    return _MISSING


class _PageReader(HTMLParser):
    """Collects the URLs of scripts and style sheets."""

    def __init__(self) -> None:
        super().__init__()
        self.found: list[tuple[str, str]] = []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        values = dict(attrs)
        if tag == "script" and (url := values.get("src")):
            self.found.append(("script", url))
        if tag == "link" and values.get("rel") == "stylesheet" and (url := values.get("href")):
            self.found.append(("style", url))
