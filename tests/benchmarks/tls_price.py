"""What TLS costs the server: `python tests/benchmarks/tls_price.py [--count N]`.

The same requests of a server without and one with it, on connections that stay; then a connection each.
"""

import tempfile
from contextlib import ExitStack
from pathlib import Path

from audit_price import fill
from served import Client, Served, parse_arguments, serve
from side_by_side import compare, heading

from tests.services.certificates import Authority


def connect(served: Served) -> object:
    """A request on a new connection: a whole handshake."""
    return Client(served).ask("GET", "/livez")


def run(database: str, count: int) -> None:
    """Every row."""
    with ExitStack() as stack:
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory()))
        servers = {
            "plain": stack.enter_context(serve(database)),
            "TLS": stack.enter_context(serve(database, authority=Authority(folder))),
        }
        acts = {name: fill(served) for name, served in servers.items()}
        heading()
        for title in acts["plain"]:
            compare(title, servers, {name: acts[name][title] for name in servers}, count, 1)
        new = {name: lambda _, __, served=served: connect(served) for name, served in servers.items()}
        compare("a connection each", servers, new, count, 1)


if __name__ == "__main__":
    arguments = parse_arguments(__doc__, 300)
    run(arguments.database, arguments.count)
