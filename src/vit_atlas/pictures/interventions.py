"""The picture of the stage interventions: photos that are answered from the background alone."""

import pandas as pd

from vit_atlas.data.manifest import Manifest
from vit_atlas.figures.interventions import draw_interventions
from vit_atlas.figures.style import save
from vit_atlas.interventions.answers import strangest
from vit_atlas.interventions.measure import blurred_versions
from vit_atlas.models.classifier import Classifier
from vit_atlas.paths import INTERVENTION_PICTURE
from vit_atlas.settings import InterventionSettings


def draw_strangest(classifier: Classifier, test: Manifest, table: pd.DataFrame, settings: InterventionSettings) -> None:
    """Draw the strangest of ``table``, see :func:`vit_atlas.interventions.measure.run_interventions`.

    Raises:
        AtlasError: a photo or mask cannot be opened.
    """
    rows = []
    for photo, versions in blurred_versions(classifier, test.find(strangest(table, settings.drawn)), settings):
        answers = {v.name: (v.pixels, v.answer[photo.label], v.answer.argmax() == photo.label) for v in versions}
        rows.append((photo.image_id, answers))
    save(draw_interventions(rows), INTERVENTION_PICTURE)
