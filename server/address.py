"""Where a listener is."""

from __future__ import annotations

import errno
import ipaddress
import socket

import msgspec


class Address(msgspec.Struct, frozen=True):
    """A host and a TCP port (0: any free one), or the path of a Unix socket."""

    host: str = ""
    port: int = 0
    path: str = ""

    @classmethod
    def parse(cls, text: str) -> Address:
        """Read `HOST:PORT`, `[IPV6]:PORT` or `unix:PATH`; raises ValueError for anything else."""
        if text.startswith("unix:") and len(text) > len("unix:"):
            return cls(path=text.removeprefix("unix:"))
        host, _, port = text.rpartition(":")
        if not host or not port.isdecimal() or int(port) > 65_535:
            raise ValueError(f"{text!r} is neither HOST:PORT nor unix:PATH")
        return cls(host=host.strip("[]"), port=int(port))

    @property
    def local(self) -> bool:
        """True for a Unix socket and for a host that only this machine can reach."""
        if self.path or self.host == "localhost":
            return True
        try:
            return ipaddress.ip_address(self.host).is_loopback
        except ValueError:
            return False

    def bind(self) -> socket.socket:
        """Return a listening TCP socket; raises OSError in words where it cannot be had."""
        family = socket.AF_INET6 if ":" in self.host else socket.AF_INET
        try:
            return socket.create_server((self.host, self.port), family=family)
        except OSError as error:
            taken = error.errno == errno.EADDRINUSE
            raise self._taken() if taken else self.unusable(error.strerror) from None

    def check_free(self) -> None:
        """Raise OSError in words where another program listens, or one cannot listen."""
        if not self.path:
            self.bind().close()
            return
        with socket.socket(socket.AF_UNIX) as probe:
            try:
                probe.connect(self.path)
            except OSError:
                return
        raise self._taken()

    def unusable(self, why: str | None) -> OSError:
        """Return the error that says why one cannot listen here."""
        return OSError(f"cannot listen on {self}: {why}")

    def _taken(self) -> OSError:
        return OSError(f"{self} is taken: another program listens there")

    def __str__(self) -> str:
        if self.path:
            return f"unix:{self.path}"
        return f"[{self.host}]:{self.port}" if ":" in self.host else f"{self.host}:{self.port}"
