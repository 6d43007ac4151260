"""The HTTP listener: uvicorn in a thread beside the gRPC listener."""

from __future__ import annotations

import threading

import uvicorn
from starlette.applications import Starlette

from server.address import Address


class Site:
    """Serves an application on one address until it is closed."""

    def __init__(self, application: Starlette, address: Address) -> None:
        """Bind the address; raises OSError where it is taken."""
        self._socket = address.bind()
        self.address = Address(address.host, self._socket.getsockname()[1])
        self._server = uvicorn.Server(
            uvicorn.Config(
                application,
                loop="asyncio",
                http="h11",
                ws="none",
                lifespan="off",
                log_level="warning",
                access_log=False,
                server_header=False,
                timeout_graceful_shutdown=1,
            )
        )
        self._thread = threading.Thread(
            target=self._server.run, kwargs={"sockets": [self._socket]}, name="web"
        )

    def start(self) -> None:
        """Begin to serve."""
        self._thread.start()

    def close(self) -> None:
        """Finish the requests in flight, one second at most, and stop."""
        self._server.should_exit = True
        if self._thread.is_alive():
            self._thread.join()
        self._socket.close()
