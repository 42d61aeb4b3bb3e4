"""Does a service keep what its OpenAPI document says? Asked by schemathesis, told as a table.

schemathesis makes requests from the document, such as it allows and such as it forbids, and checks
the answers against it. This module bounds that search, makes it repeatable and quiet, and keeps
the first request for each kind of finding.
"""

from __future__ import annotations

import tempfile
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from logging import getLogger
from pathlib import Path
from typing import Any
from urllib.parse import urlencode

import pandas as pd
import schemathesis
from hypothesis import HealthCheck, Phase, given, settings
from hypothesis.configuration import set_hypothesis_home_dir

EXAMPLES = 25
# What schemathesis calls it, and what it means for whoever reads the document.
MEANING = {
    "UndefinedStatusCode": "an answer that the document does not name",
    "ServerError": "the server broke",
    "AcceptedNegativeData": "took what the document forbids",
    "RejectedPositiveData": "refused what the document allows",
    "JsonSchemaError": "the body is not as the document says",
    "UndefinedContentType": "a kind of body that the document does not name",
    "MissingContentType": "a body without a kind",
    "MalformedJson": "the body is not JSON",
    "UnsupportedMethodResponse": "a method that it lacks is not answered with 405",
    "EnsureResourceAvailability": "what was made is not there",
    "UseAfterFree": "what was deleted is still there",
    "IgnoredAuth": "answers without a token",
}


@dataclass(frozen=True)
class Contract:
    """The findings of one test: operation, what, status, and a request that shows it."""

    findings: pd.DataFrame
    asked: int  # requests sent

    @property
    def kept(self) -> bool:
        return self.findings.empty

    def describe(self) -> str:
        """One sentence."""
        if self.kept:
            return f"{self.asked} requests, and every answer is as the document says."
        kinds = len(self.findings)
        return f"{self.asked} requests found {kinds} way{'s'[: kinds > 1]} to break the promise."

    def _repr_html_(self) -> str:
        table = "" if self.kept else self.findings.to_html(index=False)
        return f"<p>{self.describe()}</p>{table}"

    def __repr__(self) -> str:
        return self.describe() if self.kept else f"{self.describe()}\n{self.findings.to_string()}"


def contract(
    app: Any,
    document: Mapping[str, Any],
    *,
    headers: Mapping[str, str] | None = None,
    examples: int = EXAMPLES,
) -> Contract:
    """Test an application, WSGI or ASGI, against a document: so many requests of each sort.

    The same requests each time. Raises ValueError when the application is none, when the document
    is none, and when it names no operation.
    """
    if not callable(app):
        raise ValueError(f"{ascii(app)[:50]} is no application: WSGI and ASGI are called.")
    if not 1 <= examples <= 1000:
        raise ValueError(f"{examples} examples are outside of 1 to 1,000.")
    try:
        schema = schemathesis.openapi.from_dict(dict(document))
        schema.app = app  # before its operations are read: each keeps it
        found = [each.ok() for each in schema.get_all_operations()]
    except (schemathesis.errors.SchemathesisError, AttributeError, TypeError) as error:
        raise ValueError(f"This is not an OpenAPI document: {error}") from error
    if not found:
        raise ValueError("The document names no operation; fill in its paths.")
    asked, rows = 0, {}
    with _quiet(app):
        for operation in found:
            for mode in schemathesis.GenerationMode:
                count = _search(operation, mode, dict(headers or {}), examples, rows)
                asked += count
    columns = ["operation", "finding", "status", "asked"]
    return Contract(pd.DataFrame(list(rows.values()), columns=columns), asked)


def _search(operation: Any, mode: Any, headers: dict, examples: int, rows: dict) -> int:
    asked = 0

    # Only generation: the first request for a finding is kept, so nothing has to be shrunk.
    @settings(
        max_examples=examples,
        deadline=None,
        derandomize=True,
        database=None,
        phases=[Phase.generate],
        suppress_health_check=list(HealthCheck),
    )
    @given(case=operation.as_strategy(generation_mode=mode))
    def ask(case: Any) -> None:
        nonlocal asked
        asked += 1
        try:
            response = case.call(headers=headers)
        except Exception as error:  # the application raised: what a server answers with 500
            _note(rows, operation.label, "the server broke", type(error).__name__, case)
            return
        try:
            case.validate_response(response, headers=headers, transport_kwargs={"headers": headers})
        except BaseExceptionGroup as group:
            for each in group.exceptions:
                name = type(each).__name__
                _note(rows, operation.label, MEANING.get(name, name), response.status_code, case)

    try:
        ask()
    except schemathesis.errors.SchemathesisError as error:
        # An operation with nothing to forbid has no forbidden requests.
        if "negative" not in str(error).lower():
            raise
    except BaseException as error:
        if type(error).__name__ not in ("Unsatisfiable", "SkipTest", "Skipped"):
            raise
    return asked


def _note(rows: dict, label: str, finding: str, status: object, case: Any) -> None:
    body = "" if case.body is None or not isinstance(case.body, str | dict | list | int | float) \
        else f" {case.body!a}"  # fmt: skip
    query = f"?{urlencode(case.query, doseq=True)}" if case.query else ""
    asked = f"{case.method} {case.formatted_path}{query}{body}"
    # The shortest request that shows it reads best.
    kept = rows.get((label, finding, str(status)))
    if kept is None or len(asked) < len(kept["full"]):
        shown = asked if len(asked) <= 90 else asked[:87] + "..."
        rows[label, finding, str(status)] = {
            "operation": label,
            "finding": finding,
            "status": str(status),
            "asked": shown,
            "full": asked,
        }


@contextmanager
def _quiet(app: Any) -> Iterator[None]:
    """No traceback for each request that breaks the application, no folder beside the notebook."""
    log = getattr(app, "logger", None) or getLogger(__name__)  # only Flask has one of its own
    before, log.disabled = log.disabled, True
    set_hypothesis_home_dir(Path(tempfile.gettempdir()) / "mlsys-hypothesis")
    try:
        yield
    finally:
        log.disabled = before
        set_hypothesis_home_dir(None)
