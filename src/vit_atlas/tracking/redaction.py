"""Secrets kept out of everything that is printed, logged or stored: passwords, tokens, query strings of addresses."""

import base64
import os
import re
from collections.abc import Iterator
from urllib.parse import unquote, urlsplit

ADDRESSES = ("MLFLOW_TRACKING_URI", "MLFLOW_REGISTRY_URI", "MLFLOW_ARTIFACT_URI", "MLFLOW_S3_ENDPOINT_URL")
SECRETS = (
    "MLFLOW_TRACKING_PASSWORD",
    "MLFLOW_TRACKING_TOKEN",
    "AWS_SECRET_ACCESS_KEY",
    "AWS_SESSION_TOKEN",
    "AZURE_STORAGE_ACCESS_KEY",
    "AZURE_STORAGE_CONNECTION_STRING",
    "PGPASSWORD",
)
SHORTEST = 3
"""A shorter secret is left alone where it stands by itself: it would be found in every other word."""


def redact(text: str) -> str:
    """Take every secret out of ``text``: what the environment holds, and what any address carries.

    Of an address remain the scheme, the host and the path; user name, password, query and fragment go, also where the
    password holds an ``@`` or a ``/`` that should have been escaped.
    """
    for secret in sorted(set(_known()), key=len, reverse=True):
        text = text.replace(secret, "***")
    text = re.sub(r"(\w[\w+.-]*://)[^\s'\"]*@", r"\1", text)
    return re.sub(r"(\w[\w+.-]*://[^\s'\"?#]+)[?#][^\s'\"]*", r"\1", text)


def _known() -> Iterator[str]:
    for name in SECRETS:
        yield from _forms(os.environ.get(name, ""))
    for name in ADDRESSES:
        yield from _of_address(os.environ.get(name, ""))


def _of_address(address: str) -> Iterator[str]:
    rest = address.partition("://")[2]
    login = rest.rpartition("@")[0]
    password = login.partition(":")[2] or login
    yield from _forms(login)
    yield from _forms(password)
    try:
        query = urlsplit(address).query
    except ValueError:
        # As after a password with a bracket; what stands before the last @ is known already.
        return
    for part in query.split("&"):
        yield from _forms(part.partition("=")[2])


def _forms(secret: str) -> Iterator[str]:
    """A secret as it is, as it is without escapes, and as a header of HTTP's basic authentication holds it."""
    for form in (secret, unquote(secret)):
        if len(form) >= SHORTEST:
            yield form
            yield base64.b64encode(form.encode()).decode()
