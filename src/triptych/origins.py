"""Refuse what pages of other origins ask of MLflow's server, in the name of the user whose browser shows them.

MLflow's own check lets every page of this machine pass, such as one that another of its users serves, and a browser
adds the password that it knows. Both `basic_auth.ini` of a team and `make serve` name `authenticate`.
"""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

from flask import Response, request

if TYPE_CHECKING:
    from werkzeug.datastructures import Authorization


def authenticate() -> Authorization | Response:
    """Return who asks, or the response that refuses; MLflow's server calls it for each request.

    A page's own requests have its origin, or none where they only read. Programs send none.
    """
    from mlflow.server.auth import authenticate_request_basic_auth  # it is what imports this module

    origin = request.headers.get("Origin")
    if origin and origin not in os.environ.get("MLFLOW_SERVER_CORS_ALLOWED_ORIGINS", "").split(","):
        return Response("Cross-origin request blocked", 403, content_type="text/plain")
    return authenticate_request_basic_auth()
