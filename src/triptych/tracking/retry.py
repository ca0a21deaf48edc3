"""Faults that pass: a tracking server that is down, a store that is locked, a connection that is cut."""

from __future__ import annotations

from mlflow.exceptions import MlflowException
from mlflow.protos.databricks_pb2 import REQUEST_LIMIT_EXCEEDED, TEMPORARILY_UNAVAILABLE, ErrorCode
from requests.exceptions import ConnectionError as RequestConnectionError
from requests.exceptions import Timeout
from sqlalchemy.exc import OperationalError

PASSING = (ConnectionError, TimeoutError, RequestConnectionError, Timeout, OperationalError)
PASSING_CODES = {ErrorCode.Name(code) for code in (TEMPORARILY_UNAVAILABLE, REQUEST_LIMIT_EXCEEDED)}


def is_passing(error: BaseException) -> bool:
    """Return whether the same again may go well: the error, or one that it came from, is of the kind that passes.

    >>> is_passing(ConnectionResetError()), is_passing(ValueError("bad input"))
    (True, False)
    """
    seen: BaseException | None = error
    while seen is not None:
        if isinstance(seen, PASSING) or (isinstance(seen, MlflowException) and seen.error_code in PASSING_CODES):
            return True
        seen = seen.__cause__ or seen.__context__
    return False
