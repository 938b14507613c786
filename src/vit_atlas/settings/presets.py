"""Presets: a handful of keys, written into params.yaml together, everything else in the file left as it is.

A preset is a file ``conf/<group>/<name>.yaml`` with the keys that differ from ``conf/<group>/_base.yaml``. Choosing one
sets every key of its group, those of the base included, so that nothing of the preset before it stays behind.
"""

import json
import math
from collections.abc import Mapping
from dataclasses import dataclass
from difflib import get_close_matches
from pathlib import Path
from typing import Any

from ruamel.yaml import YAML
from ruamel.yaml.error import YAMLError
from ruamel.yaml.nodes import MappingNode, Node, SequenceNode

from vit_atlas.errors import AtlasError
from vit_atlas.io.files import atomic_file, atomic_folder
from vit_atlas.io.plain import load_yaml
from vit_atlas.paths import ABOUT, CAPTIONING_DATA, PARAMS, PRESETS
from vit_atlas.settings import Settings, check_settings, read_params
from vit_atlas.settings.problems import section_models

BASE = "_base"
SAMPLE = "stickers"
"""The preset of the group `data` for the sample."""
NO_CAPTIONS = (
    "No captions here. Photos and captions of your own can take this file's place (docs/how-to/own-photos.md).\n"
)
"""What data/captioning/ABOUT.txt says where there is nothing else."""
Sections = dict[str, dict[str, Any]]


@dataclass(frozen=True)
class Change:
    """One key of params.yaml that a preset changed; None where the key was not there, or is not there any more."""

    key: str
    before: str | None
    after: str | None


def list_presets() -> dict[str, dict[str, str]]:
    """Read group -> name -> the comment at the top of the preset's file: what it is, its command, its expected result.

    Raises:
        AtlasError: there is no folder of presets here.
    """
    if not PRESETS.is_dir():
        raise AtlasError(f"{PRESETS} does not exist: run from the project's folder, the one with dvc.yaml")
    return {
        group.name: {path.stem: _top_comment(path) for path in sorted(group.glob("*.yaml")) if path.stem != BASE}
        for group in sorted(PRESETS.iterdir())
        if group.is_dir()
    }


def use_presets(choices: Mapping[str, str]) -> list[Change]:
    """Write presets into params.yaml, all or none of them, after checking the settings that come of it.

    With data but no captioner chosen, a captioner of the pipeline's own is trained only on captions that belong to the
    data: on the sample's with the sample, on your own with anything. Without a captioner, a data/captioning that is
    missing is made, with a note in it.

    Args:
        choices: group -> name.

    Returns:
        What changed, in the order of the file.

    Raises:
        AtlasError: there is no such group or preset, a preset sets a key that its group's base does not have, or the
            settings would be wrong; nothing is written then.
    """
    _check_choices(choices)
    before = _read_sections(PARAMS)
    choices = _with_captioner(choices, before)
    after = {name: dict(values) if isinstance(values, dict) else values for name, values in before.items()}
    for group, name in choices.items():
        for section, values in read_preset(group, name).items():
            whole = "kind" in values and values["kind"] != after.get(section, {}).get("kind")
            after[section] = values if whole else after.get(section, {}) | values
    check_settings(after)
    try:
        text = rewrite(PARAMS.read_text(encoding="utf-8"), after)
        written = load_yaml(text)
    except (YAMLError, KeyError, TypeError, ValueError, RecursionError):
        written = None
    if written != after:
        raise AtlasError(f"{PARAMS} is not in the form of a section a block and a key a line: write it so")
    changes = _changes(before, after)
    if changes:
        with atomic_file(PARAMS) as temporary:
            temporary.write_text(text, encoding="utf-8")
    if after["captioner"]["kind"] == "none":
        _keep_captioning_data()
    return changes


def read_preset(group: str, name: str) -> Sections:
    """Read all keys that a preset sets, by section: its own, and those of its group's base that it does not name.

    A section whose `kind` is not the base's has the keys of its own kind only.

    Raises:
        AtlasError: a file is wrong, or the preset sets a key that the base does not have.
    """
    base, own = (_read_sections(PRESETS / group / f"{file}.yaml") for file in (BASE, name))
    for section, values in own.items():
        if "kind" in values and values["kind"] != base.get(section, {}).get("kind"):
            base[section] = values
            continue
        missing = [key for key in values if key not in base.get(section, {})]
        if missing:
            raise AtlasError(
                f"{PRESETS / group / name}.yaml sets `{section}.{missing[0]}`, which {PRESETS / group / BASE}.yaml "
                "does not have: add there the value that the group's other presets leave"
            )
        base[section] |= values
    return base


def rewrite(text: str, sections: Mapping[str, Mapping[str, Any]]) -> str:
    """Change values in the text of a params.yaml; what is not a changed value stays as it is, byte for byte.

    Args:
        text: of the file, with all sections of ``sections``.
        sections: the content that it shall have. A section with other keys than these is written anew.
    """
    root = YAML(pure=True).compose(text)
    old = load_yaml(text)
    edits: list[tuple[int, int, str]] = []
    for section, node in ((key.value, value) for key, value in root.value):
        if old[section].keys() != sections[section].keys():
            edits.append((_line_start(text, node), _end(node), _documented(section, sections[section])))
            continue
        for key, value in ((key.value, value) for key, value in node.value):
            if old[section][key] != sections[section][key]:
                empty = " " if value.start_mark.index == value.end_mark.index else ""
                written = _as_yaml(sections[section][key])
                if getattr(value, "style", None) in ("'", '"') and written == sections[section][key]:
                    written = f"{value.style}{written}{value.style}"
                edits.append((value.start_mark.index, _end(value), empty + written))
    for start, end, replacement in reversed(edits):
        text = text[:start] + replacement + text[end:]
    for section in sections:
        models = section_models(Settings, section)
        model = next((model for model in models if model.model_fields.keys() == sections[section].keys()), models[0])
        for other in models:
            text = text.replace(f"# {other.__doc__}\n{section}:", f"# {model.__doc__}\n{section}:")
    return text


def _check_choices(choices: Mapping[str, str]) -> None:
    known = list_presets()
    problems = []
    for group, name in choices.items():
        if group not in known:
            problems.append(f"there is no group `{group}`: {_nearest(group, known)}")
        elif name not in known[group]:
            problems.append(f"there is no preset `{group}={name}`: {_nearest(name, known[group])}")
    if problems:
        raise AtlasError("; ".join(problems) + "; `vit-atlas use --list` shows all")


def _with_captioner(choices: Mapping[str, str], before: Sections) -> Mapping[str, str]:
    if "data" not in choices or "captioner" in choices:
        return choices
    kind, sample = before.get("captioner", {}).get("kind"), choices["data"] == SAMPLE
    if sample and kind == "none":
        return {**choices, "captioner": "trained"}
    return {**choices, "captioner": "none"} if kind == "trained" and not sample and not _own_captioning() else choices


def _own_captioning() -> bool:
    """Whether data/captioning holds photos that are not the sample's."""
    about = CAPTIONING_DATA / ABOUT
    sample = about.is_file() and "`vit-atlas data stickers`" in about.read_text(encoding="utf-8", errors="replace")
    return not sample and (CAPTIONING_DATA / "images").is_dir()


def _keep_captioning_data() -> None:
    """Put a note where data/captioning is missing: DVC stops at a stage whose folder of data does not exist."""
    if not CAPTIONING_DATA.exists():
        with atomic_folder(CAPTIONING_DATA) as folder:
            (folder / ABOUT).write_text(NO_CAPTIONS, encoding="utf-8")


def _nearest(name: str, known: Mapping[str, Any]) -> str:
    near = get_close_matches(name, known, n=1)
    return f"did you mean `{near[0]}`?" if near else f"there are {', '.join(known)}"


def _read_sections(path: Path) -> Sections:
    content = read_params(path)
    wrong = [name for name, values in content.items() if not isinstance(values, dict)]
    if wrong:
        raise AtlasError(f"{path}: `{wrong[0]}` must be a section with keys, such as `finetune: {{epochs: 3}}`")
    return content


def _top_comment(path: Path) -> str:
    lines = path.read_text(encoding="utf-8").splitlines()
    end = next((number for number, line in enumerate(lines) if not line.startswith("#")), len(lines))
    return "\n".join(line.removeprefix("#").removeprefix(" ") for line in lines[:end])


def _changes(before: Mapping[str, Any], after: Mapping[str, Any]) -> list[Change]:
    changes = []
    for section, values in after.items():
        old = before.get(section, {})
        for key in dict.fromkeys([*old, *values]):
            texts = [_as_yaml(content[key]) if key in content else None for content in (old, values)]
            if texts[0] != texts[1]:
                changes.append(Change(f"{section}.{key}", *texts))
    return changes


def _documented(section: str, values: Mapping[str, Any]) -> str:
    """The lines of a section, each key below its documentation."""
    models = section_models(Settings, section)
    model = next(model for model in models if model.model_fields.keys() == values.keys())
    pairs = [(model.model_fields[key].description, key, _as_yaml(value)) for key, value in values.items()]
    return "\n".join(f"  # {description}\n  {key}: {value}" for description, key, value in pairs)


def _line_start(text: str, node: Node) -> int:
    """Where the line after the section's own begins: its comments belong to the section."""
    line = text.rfind("\n", 0, node.start_mark.index) + 1
    while text[:line].rstrip("\n").rpartition("\n")[2].lstrip().startswith("#"):
        line = text.rfind("\n", 0, line - 1) + 1
    return line


def _end(node: Node) -> int:
    """Where a value's text ends: that of its last part, for a block's own mark lies beyond the comments that follow."""
    if isinstance(node, MappingNode | SequenceNode) and node.value and not node.flow_style:
        last = node.value[-1]
        return _end(last[1] if isinstance(last, tuple) else last)
    return int(node.end_mark.index)


def _as_yaml(value: Any) -> str:
    """A value on one line, the same by YAML 1.1 and 1.2."""
    if isinstance(value, list):
        return f"[{', '.join(map(_as_yaml, value))}]"
    if isinstance(value, float) and math.isfinite(value):
        mantissa, exponent, power = repr(value).partition("e")
        return f"{mantissa if '.' in mantissa else f'{mantissa}.0'}{exponent}{power}" if exponent else mantissa
    quoted = json.dumps(value, ensure_ascii=False)
    if isinstance(value, str) and value and all(sign.isalnum() or sign in "_-./" for sign in value):
        plain = load_yaml(value)
        return value if plain == value and value.lower() not in ("yes", "no", "on", "off", "y", "n") else quoted
    return quoted
