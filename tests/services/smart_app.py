"""A SMART app in a browser: SMART Health IT's client library as npm gives it, on two pages of our own."""

import os
import subprocess
import tarfile
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from threading import Thread

CACHE = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "isthmus-tests"
VERSION = "2.6.3"
LIBRARY = "fhir-client.min.js"

_LAUNCH = """<!doctype html><title>launch</title><script src="fhir-client.min.js"></script>
<script>
const asked = new URLSearchParams(location.search);
FHIR.oauth2.authorize({
  clientId: asked.get('client'), scope: asked.get('scope'), redirectUri: 'app.html',
  iss: asked.get('iss'), launch: asked.get('launch') || undefined,
}).catch(error => { document.title = 'failed'; document.body.textContent = error.message; });
</script><body></body>"""

_APP = """<!doctype html><title>app</title><script src="fhir-client.min.js"></script><body></body>
<script>
const tell = (title, told) => { document.body.textContent = JSON.stringify(told); document.title = title; };
FHIR.oauth2.ready().then(async client => {
  const told = { patient: client.patient.id, user: client.user.fhirUser, state: client.state.tokenResponse };
  told.family = (await client.patient.read()).name[0].family;
  told.observed = (await client.patient.request('Observation', { flat: true })).map(each => each.id);
  told.refused = await client.request('Patient/' + 'another').then(() => 200, error => error.status);
  const dicom = client.state.serverUrl.replace('/fhir', '/dicom-web/studies');
  const studies = await fetch(dicom, { headers: { Authorization: client.getAuthorizationHeader() } });
  told.studies = studies.status === 204 ? [] : (await studies.json()).map(each => each['0020000D'].Value[0]);
  if (client.state.tokenResponse.refresh_token) {
    const before = client.state.tokenResponse.access_token;
    await client.refresh();
    told.refreshed = client.state.tokenResponse.access_token !== before;
  }
  tell('ready', told);
}).catch(error => tell('failed', error.message));
</script>"""


def library() -> bytes:
    """The library's script; fetched once, by npm."""
    path = CACHE / f"fhirclient-{VERSION}.tgz"
    if not path.exists():
        CACHE.mkdir(parents=True, exist_ok=True)
        pack = ["npm", "pack", f"fhirclient@{VERSION}", "--silent", "--pack-destination", str(CACHE)]
        subprocess.run(pack, check=True)
    with tarfile.open(path) as package:
        script = package.extractfile(f"package/build/{LIBRARY}")
        assert script is not None
        return script.read()


@contextmanager
def app_site() -> Iterator[str]:
    """The app's site; gives its URL, with a final slash."""
    pages = {"launch.html": _LAUNCH.encode(), "app.html": _APP.encode(), LIBRARY: library()}
    server = ThreadingHTTPServer(("127.0.0.1", 0), _handler(pages))
    thread = Thread(target=server.serve_forever, daemon=True)
    thread.start()
    yield f"http://127.0.0.1:{server.server_port}/"
    server.shutdown()
    server.server_close()
    thread.join()


def _handler(pages: Mapping[str, bytes]) -> type[BaseHTTPRequestHandler]:
    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            body = pages.get(self.path[1:].partition("?")[0])
            self.send_response(404 if body is None else 200)
            kind = "text/javascript" if self.path.endswith(".js") else "text/html"
            self.send_header("Content-Type", f"{kind}; charset=utf-8")
            self.send_header("Content-Length", str(len(body or b"")))
            self.end_headers()
            self.wfile.write(body or b"")

        def log_message(self, *_: object) -> None:
            """Nothing is written."""

    return Handler
