"""The registered model of a set of classes: every result's model is a version, the alias ``champion`` the best one.

Results on other classes have a registered model of their own: own photos after the sample do not leave the sample's
champion in service for them. Results with the same model, measured on the same photos, share a version.

The alias moves by itself only when `vit-atlas compare` calls the new model better on accuracy and no map score
worse: the same test, paired by photo and corrected for the number of rows, on the tables of the champion's run.
Where that run lacks them, or the test photos are too few for it, the low end of the new model's 95 % interval of test
accuracy must lie above the champion's accuracy. Accuracy is the number chosen because every result has it, on photos
that neither training nor the choice of the epoch saw. Choosing by it makes the champion's number a little too good;
asking for more than chance keeps that small.

Results on other test photos cannot be compared at all: the alias stays, one sentence says so, and ``vit-atlas track
--champion`` moves it by hand.

A version is decided on once. Whoever moves the alias by hand afterwards has the last word.
"""

import contextlib
import json
import os
import tempfile
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from hashlib import sha256
from pathlib import Path
from typing import TYPE_CHECKING, Any

from vit_atlas.errors import AtlasError
from vit_atlas.estimates import Estimate
from vit_atlas.tracking.artifacts import BY_PHOTO
from vit_atlas.tracking.client import RESULT_TAG, Connection
from vit_atlas.tracking.result import Result

if TYPE_CHECKING:
    from vit_atlas.comparison.compare import Comparison

CHAMPION = "champion"
VERDICT_TAG = "vit_atlas.verdict"
DATA_TAG = "vit_atlas.test_data"
MODEL_ID_TAG = "vit_atlas.model_id"
CLASSES_SHOWN = 20
NUMBERS = ("accuracy", "accuracy_low", "accuracy_high")
DESCRIPTION = (
    "Photo classifiers by vit-atlas for {classes}. The alias `champion` moves only when a new version is better beyond "
    "chance on the same test photos, and its maps look no worse.\n\n"
    'Ask it: `mlflow models serve -m "models:/{name}@champion" --env-manager local -p 5001`, then POST '
    '`{{"inputs": ["<a photo in base64>"]}}` to `/invocations`.'
)


@dataclass(frozen=True)
class Registered:
    """A result's version of the registered model."""

    name: str
    version: str
    news: str | None
    """What was decided about the champion; None when that was decided earlier."""


def registered_name(classes: Sequence[str]) -> str:
    """Give the registered model's name: ``VIT_ATLAS_REGISTERED_MODEL``, or vit-atlas with a hash of the classes.

    A name serves one task: `vit-atlas-12-classes-0a1b2c3`. The names themselves, which may hold anything, are in its
    description.
    """
    own = os.environ.get("VIT_ATLAS_REGISTERED_MODEL")
    if own or not classes:
        return own or "vit-atlas"
    return f"vit-atlas-{len(classes)}-classes-{sha256(json.dumps(list(classes)).encode()).hexdigest()[:7]}"


def register(
    connection: Connection, run_id: str, model_id: str, result: Result, make_champion: bool = False
) -> Registered:
    """Make the run's model a version of the registered model, once, and decide whether it is the champion, once.

    Args:
        connection: to the tracking server, whose registry it is unless ``MLFLOW_REGISTRY_URI`` names another.
        run_id: the result's run.
        model_id: the model that the run logged.
        result: what the model reached.
        make_champion: move the alias to this version whatever the numbers say.
    """
    client, name = connection.client, registered_name(result.classes)
    _make_model(client, name, result.classes)
    version = _version(client, name, run_id, model_id, result)
    number, tags = str(version.version), dict(version.tags)
    if VERDICT_TAG in tags and not make_champion:
        return Registered(name, number, None)
    champion = _champion(client, name)
    moves, sentence = decide(name, number, tags, champion, _compare(client, champion, number, tags))
    if make_champion:
        moves, sentence = True, f"version {number} of {name} is its champion: chosen by hand"
    if moves:
        client.set_registered_model_alias(name, CHAMPION, number)
    # Last, so that a decision cut short is taken again.
    client.set_model_version_tag(name, number, VERDICT_TAG, sentence)
    return Registered(name, number, sentence)


def decide(
    name: str, number: str, tags: Mapping[str, str], champion: Any, compared: "Comparison | None" = None
) -> tuple[bool, str]:
    """Say whether a version becomes the champion, and why.

    Args:
        name: of the registered model.
        number: of the version.
        tags: of the version.
        champion: the version that is champion, or None.
        compared: the two, photo by photo; None where that cannot be had, and intervals decide.
    """
    if champion is None:
        return True, f"version {number} of {name} is its champion: there was none"
    old, held = str(champion.version), champion.tags
    if old == number or (RESULT_TAG in tags and tags[RESULT_TAG] == held.get(RESULT_TAG)):
        # The same result again, as after a project was moved: MLflow may no longer find the older copy's files.
        return True, f"version {number} of {name} is its champion"
    by_hand = f"version {old} stays champion; `vit-atlas track --champion` makes this one it"
    if "accuracy_low" not in tags or "accuracy" not in held:
        return False, f"version {number} of {name} cannot be compared, a test accuracy is missing: {by_hand}"
    if DATA_TAG not in tags or tags[DATA_TAG] != held.get(DATA_TAG):
        return False, f"version {number} of {name} was measured on other test photos than the champion: {by_hand}"
    if compared is not None:
        return _by_photo(f"version {number} of {name}", old, compared, by_hand)
    low, best = float(tags["accuracy_low"]), float(held["accuracy"])
    if low > best:
        return True, (
            f"version {number} of {name} is its new champion: the low end of its interval, {low:.3f}, is above the "
            f"accuracy of version {old}, {best:.3f}"
        )
    return False, (
        f"version {number} of {name} is not better beyond chance: the low end of its interval, {low:.3f}, is not above "
        f"the champion's accuracy, {best:.3f}: {by_hand}"
    )


def _by_photo(version: str, old: str, compared: "Comparison", by_hand: str) -> tuple[bool, str]:
    accuracy = next(row for row in compared.rows if row.name == "accuracy")
    said = f"accuracy {accuracy.difference:+.3f} against version {old}, paired by photo"
    looks = [row.name for row in compared.rows if row.part == "attention" and row.verdict == "worse"]
    if accuracy.verdict != "better":
        return False, f"{version} is not better beyond chance: {said}: {by_hand}"
    if looks:
        return False, f"{version} is better ({said}) but looks worse by {', '.join(looks)}: {by_hand}"
    return True, f"{version} is its new champion: {said}, and no map score is worse"


def _compare(client: Any, champion: Any, number: str, tags: Mapping[str, str]) -> "Comparison | None":
    """Compare the folder's result with the champion's, by the tables in the champion's run; None without them."""
    if champion is None or str(champion.version) == number or tags.get(DATA_TAG) != champion.tags.get(DATA_TAG):
        return None
    from mlflow import MlflowException

    from vit_atlas.comparison.compare import compare_results
    from vit_atlas.comparison.results import Result as Side

    with tempfile.TemporaryDirectory() as scratch:
        for path in BY_PHOTO:
            folder = Path(scratch) / path.parent
            folder.mkdir(parents=True, exist_ok=True)
            # A run without maps has no scores.
            with contextlib.suppress(MlflowException, OSError):
                client.download_artifacts(champion.run_id, f"tables/{path.name}", str(folder))
                (folder / "tables" / path.name).replace(folder / path.name)
        old, new = Side(f"version {champion.version}", Path(scratch)), Side(f"version {number}", Path())
        try:
            compared = compare_results(old, new)
        except AtlasError:
            return None
    return compared if compared.photos else None


def _make_model(client: Any, name: str, classes: Sequence[str]) -> None:
    if not client.search_registered_models(f"name = '{name}'"):
        shown = ", ".join(classes[:CLASSES_SHOWN]) + (", ..." if len(classes) > CLASSES_SHOWN else "")
        text = f"{len(classes)} classes ({shown})"
        client.create_registered_model(name, description=DESCRIPTION.format(name=name, classes=text))


def _version(client: Any, name: str, run_id: str, model_id: str, result: Result) -> Any:
    ours = [
        version
        for version in client.search_model_versions(f"name = '{name}' and run_id = '{run_id}'")
        if RESULT_TAG in version.tags
    ]
    ours.sort(key=lambda version: int(version.version))
    for extra in ours[1:]:
        # A slow server was asked twice.
        client.delete_model_version(name, extra.version)
    if ours:
        return ours[0]
    same = client.search_model_versions(f"name = '{name}' and tags.`{MODEL_ID_TAG}` = '{model_id}'")
    if same:
        return same[0]
    numbers = {key: result.metrics.get(f"evaluate/{key}") for key in NUMBERS}
    tags = {key: f"{value:.6f}" for key, value in numbers.items() if value is not None}
    tags |= {RESULT_TAG: result.key, MODEL_ID_TAG: model_id} | (
        {DATA_TAG: result.test_data} if result.test_data else {}
    )
    made = client.create_model_version(
        name, f"models:/{model_id}", run_id, tags=tags, model_id=model_id, description=_description(result)
    )
    # MLflow's pages of the run and of the logged model then lead to the version.
    link = [{"name": name, "version": str(made.version)}]
    client.set_logged_model_tags(model_id, {"mlflow.modelVersions": json.dumps(link)})
    return made


def _description(result: Result) -> str:
    accuracy = Estimate.read(result.metrics, "evaluate/accuracy")
    if accuracy is None:
        return "Not measured on test photos."
    return f"Test accuracy {accuracy:.3f} (95 % interval in brackets)."


def _champion(client: Any, name: str) -> Any:
    number = client.get_registered_model(name).aliases.get(CHAMPION)
    return client.get_model_version(name, number) if number else None
