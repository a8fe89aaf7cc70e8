from contextlib import closing

from server.kernel.disk_map import DiskMap


def test_map_keeps_what_is_put() -> None:
    with closing(DiskMap()) as found:
        found.put_all((number.to_bytes(32), b"%d" % number) for number in range(1000))
        found.put((7).to_bytes(32), b"other")
        assert found.get((7).to_bytes(32)) == b"other"
        assert found.get((8).to_bytes(32)) == b"8"
        assert (999).to_bytes(32) in found
        assert (1000).to_bytes(32) not in found
        assert found.get(b"") is None


def test_maps_do_not_share() -> None:
    with closing(DiskMap()) as one, closing(DiskMap()) as other:
        one.put(b"key")
        assert b"key" in one
        assert b"key" not in other
