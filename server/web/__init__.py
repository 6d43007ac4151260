"""Metrics and probes over HTTP."""

from server.web.pages import pages
from server.web.site import Site

__all__ = ["Site", "pages"]
