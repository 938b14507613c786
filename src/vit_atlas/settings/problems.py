"""What is wrong with params.yaml, in sentences: one a key, all of them at once."""

from collections.abc import Mapping, Sequence
from difflib import get_close_matches
from typing import Any, get_args

from pydantic import BaseModel

Model = type[BaseModel]


def sentences(errors: Sequence[Any], settings: Model) -> str:
    """Turn pydantic's errors into sentences; the branches of a union are one key's alternatives.

    Args:
        errors: of a ``ValidationError``.
        settings: the model of the whole file.
    """
    problems: dict[str, list[str]] = {}
    misplaced: dict[str, list[str]] = {}
    for item in errors:
        section, *rest = [str(part) for part in item["loc"]]
        models = section_models(settings, section)
        key = f"{section}.{rest[-1] if item['type'] in _ABOUT_KEYS else rest[len(models) > 1]}" if rest else section
        if item["type"] == "extra_forbidden" and rest and _of_another_kind(models, rest):
            misplaced.setdefault(section, []).append(rest[-1])
        elif item["type"] in _ABOUT_KEYS:
            problems[_about_key(item["type"], key, _model(settings, models, rest), models)] = []
        else:
            value, expected = item["input"], item["msg"].removeprefix("Value error, ").removeprefix("Input should be ")
            expected = _EXPECTED.get(item["type"], expected)
            if not rest and isinstance(value, str):
                expected += (
                    f"; a preset is chosen by `vit-atlas use {section}={value}`, after `git checkout params.yaml`"
                )
            elif item["type"].startswith("union_tag"):
                key, expected = f"{section}.kind", " or ".join(f"'{_kind(model)}'" for model in models)
                value = value.get("kind") if isinstance(value, Mapping) else value
            problems.setdefault(f"`{key}` is {value!r}, expected ", []).append(expected)
    found = [start + " or ".join(dict.fromkeys(expected)) for start, expected in problems.items()]
    for section, keys in misplaced.items():
        found.append(
            f"`{section}` has keys of another kind ({', '.join(keys)}): remove them, or choose a kind together with "
            f"its keys by `vit-atlas use {section}=NAME`"
        )
    return "; ".join(found)


def section_models(settings: Model, section: str) -> tuple[Model, ...]:
    """List the models of one section: several where its `kind` decides which keys there are, none if it is unknown."""
    if section not in settings.model_fields:
        return ()
    annotation: Any = settings.model_fields[section].annotation
    return get_args(annotation) or (annotation,)


_ABOUT_KEYS = ("extra_forbidden", "missing")
_EXPECTED = {
    "int_type": "an integer",
    "float_type": "a number",
    "bool_type": "true or false",
    "string_type": "text",
    "tuple_type": "a list",
    "too_short": "at least one entry",
    "model_type": "keys with values",
    "model_attributes_type": "keys with values",
}
"""Kind of error -> our words, where pydantic speaks of Python."""


def _model(settings: Model, models: Sequence[Model], rest: Sequence[str]) -> Model:
    """The model whose key an error is about; ``rest`` is its location below the section, the kind first if any."""
    if not rest:
        return settings
    return next((model for model in models if _kind(model) == rest[0]), models[0])


def _about_key(error: str, key: str, model: Model, models: Sequence[Model]) -> str:
    section, _, name = key.rpartition(".")
    if error == "extra_forbidden":
        near = get_close_matches(name, model.model_fields, n=1)
        hint = f"did you mean `{near[0]}`?" if near else f"known keys here are {', '.join(model.model_fields)}"
        return f"unknown key `{key}`: {hint}"
    if section:
        return f"missing key `{key}`: add `{name}:` under `{section}:` ({model.model_fields[name].description})"
    return f"missing section `{name}`: add it with its keys {', '.join(models[0].model_fields)}"


def _of_another_kind(models: Sequence[Model], rest: Sequence[str]) -> bool:
    return any(rest[-1] in model.model_fields for model in models if _kind(model) != rest[0])


def _kind(model: Model) -> str:
    kind = model.model_fields.get("kind")
    return str(get_args(kind.annotation)[0]) if kind else ""
