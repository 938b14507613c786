"""Where pretrained models come from, and what went wrong when they do not come, in one sentence."""

import json
import re
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from pickle import UnpicklingError
from typing import Any

from vit_atlas.errors import AtlasError
from vit_atlas.models.embedded import embedded_folder
from vit_atlas.settings import ModelSettings

EMBEDDED = "embedded"

ASKED_BY = "model.name"
"""What usually names a model: the setting in params.yaml."""


def model_source(settings: ModelSettings, asked_by: str = ASKED_BY) -> str:
    """Folder or hub id to give to ``from_pretrained``; fetches the embedded ViT where that is what is asked for.

    Args:
        settings: name and revision.
        asked_by: how messages call what names the model, a setting or an option.

    Raises:
        AtlasError: ``settings.name`` is a folder without a model in it, or looks like one and does not exist.
    """
    if settings.name == EMBEDDED:
        return str(embedded_folder())
    require_folder(settings.name, asked_by)
    folder = Path(settings.name).expanduser()
    return str(folder) if folder.is_dir() else settings.name


def require_folder(name: str, asked_by: str = ASKED_BY) -> None:
    """Check what can be checked of a model's name before any library is loaded; a hub id passes.

    Raises:
        AtlasError: the name looks like a path and there is no such folder, or the folder holds no model.
    """
    folder = Path(name).expanduser()
    if folder.is_dir():
        if not (folder / "config.json").is_file():
            raise AtlasError(
                f"{asked_by} is the folder {name}, which holds no config.json: give a folder that save_pretrained wrote"
            )
    elif folder.is_absolute() or name.startswith((".", "~")) or name.count("/") > 1:
        raise AtlasError(f"{asked_by} is {name}, and no folder has that name: correct the path")


def require_processor(name: str, asked_by: str = ASKED_BY) -> None:
    """Check that a folder says how photos are prepared for its model; a hub id passes.

    Raises:
        AtlasError: it does not.
    """
    folder = Path(name).expanduser()
    if folder.is_dir() and not (folder / "preprocessor_config.json").is_file() and not _is_timm(folder):
        raise AtlasError(
            f"{asked_by} is the folder {name}, which has no preprocessor_config.json, so nothing says how photos are "
            "prepared: save the model's image processor into the same folder"
        )


def _is_timm(folder: Path) -> bool:
    """Whether a folder's config.json is one of timm, which says there how photos are prepared."""
    try:
        return "pretrained_cfg" in json.loads((folder / "config.json").read_text())
    except (OSError, ValueError):
        return False


@contextmanager
def explained(settings: ModelSettings, asked_by: str = ASKED_BY) -> Iterator[None]:
    """Turn what ``from_pretrained`` raises into an :class:`AtlasError` that says which problem it is and what to do.

    ``asked_by`` is as in :func:`model_source`.
    """
    from huggingface_hub.errors import HfHubHTTPError, HFValidationError
    from safetensors import SafetensorError

    kinds = (OSError, ValueError, RuntimeError, KeyError, ImportError, UnpicklingError)
    try:
        yield
    except AtlasError:
        raise
    except Exception as error:
        if isinstance(error, (*kinds, SafetensorError, HfHubHTTPError, HFValidationError)) or _broke_off([error]):
            raise AtlasError(_sentence(settings, asked_by, error)) from error
        raise


@contextmanager
def quiet(downloads: bool = False) -> Iterator[None]:
    """Silence the tables that transformers prints about a head it initialises anew, as is meant here.

    Args:
        downloads: keep progress bars, as something may have to be downloaded.
    """
    from transformers.utils import logging

    verbosity, bars = logging.get_verbosity(), logging.is_progress_bar_enabled()
    logging.set_verbosity_error()
    if not downloads:
        logging.disable_progress_bar()
    try:
        yield
    finally:
        logging.set_verbosity(verbosity)
        if bars:
            logging.enable_progress_bar()


def _sentence(settings: ModelSettings, asked_by: str, error: BaseException) -> str:
    causes = _chain(error)
    return (
        _refused(settings, asked_by, causes)
        or _unreachable(settings.name, asked_by, causes)
        or _unreadable(settings.name, asked_by, causes)
        or f"{asked_by} {settings.name} cannot be loaded: {_first_line(error)}"
    )


def _refused(settings: ModelSettings, asked_by: str, causes: list[BaseException]) -> str | None:
    """The hub answered, and did not hand out what was asked for."""
    from huggingface_hub import errors

    name = settings.name
    responses = [getattr(cause, "response", None) for cause in causes]
    statuses = {getattr(response, "status_code", None) for response in responses}
    if _is_a(causes, errors.GatedRepoError):
        return f"{name} asks you to accept its terms: do so at https://huggingface.co/{name}, then `hf auth login`"
    if 401 in statuses and any("Invalid credentials in Authorization" in str(cause) for cause in causes):
        return (
            f"the Hugging Face hub does not accept the token of this machine, so {name} was not fetched: log in again "
            "with `hf auth login`, or unset HF_TOKEN"
        )
    if _is_a(causes, errors.RepositoryNotFoundError, errors.HFValidationError) or statuses & {401, 403}:
        return (
            f"{asked_by} {name} is no folder here and no model on the Hugging Face hub (or a private one): "
            "check its spelling, or log in with `hf auth login`"
        )
    if _is_a(causes, errors.RevisionNotFoundError):
        return (
            f"model.revision {settings.revision} does not exist for {name}: see https://huggingface.co/{name}/tree/main"
        )
    return None


def _unreachable(name: str, asked_by: str, causes: list[BaseException]) -> str | None:
    """The hub did not answer, or not to the end."""
    from huggingface_hub import errors

    if _is_a(
        causes, errors.LocalEntryNotFoundError, errors.OfflineModeIsEnabled, errors.HfHubHTTPError, ConnectionError
    ):
        return (
            f"the Hugging Face hub cannot be reached and {name} is not in the local cache: connect to the network, "
            f"point HF_HOME to a cache that has it, or set {asked_by} to a local folder or to `embedded`"
        )
    if _broke_off(causes):
        return (
            f"the download of {name} broke off again and again, and no half of a file is taken for whole: run this "
            "again when the connection is better"
        )
    return None


def _unreadable(name: str, asked_by: str, causes: list[BaseException]) -> str | None:
    """What came is not what it should be."""
    if _is_a(causes, UnpicklingError):
        return (
            f"the weights of {asked_by} {name} are a pickle that holds more than tensors (code that would run when "
            "read), so they were not loaded: save the model as safetensors"
        )
    if "custom code" in str(causes[0]):
        return (
            f"{asked_by} {name} carries code of its own, which is never run here: choose a model whose classes are "
            "part of transformers"
        )
    kind = re.search(r"Unrecognized configuration class .*\.(\w+)Config'", str(causes[0]))
    if kind:
        return (
            f"{asked_by} {name} is a {kind[1]} model, which is for video, text or something else: transformers knows "
            "no image classifier of that kind, so choose one that it loads as AutoModelForImageClassification"
        )
    if _is_a(causes, json.JSONDecodeError) or type(causes[0]).__name__ == "SafetensorError":
        return f"a file of {asked_by} {name} cannot be read ({_first_line(causes[0])}): fetch or save the model again"
    return None


def _is_a(causes: list[BaseException], *kinds: type) -> bool:
    return any(isinstance(cause, kinds) for cause in causes)


def _broke_off(causes: list[BaseException]) -> bool:
    """Whether a connection ended in the middle of a file; the classes are those of httpx, whichever edition it is."""
    names = {kind.__name__ for cause in causes for kind in type(cause).__mro__}
    return "TransportError" in names or any("Consistency check failed" in str(cause) for cause in causes)


def _chain(error: BaseException) -> list[BaseException]:
    """The exception and everything that it was raised from."""
    found: list[BaseException] = []
    current: Any = error
    while current is not None and current not in found:
        found.append(current)
        current = current.__cause__ or current.__context__
    return found


def _first_line(error: BaseException) -> str:
    lines = str(error).strip().splitlines() or [type(error).__name__]
    return lines[0].strip().rstrip(".")
