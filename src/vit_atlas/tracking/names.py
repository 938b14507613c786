"""Names of numbers in MLflow: the ones that people compare come first, all others lie in groups that charts follow."""

from collections.abc import Mapping

FIRST = "atlas"
"""Group of the numbers to compare; by the alphabet, in which MLflow lists them, it comes before all others."""
COMPARED = {
    "accuracy": "evaluate/accuracy",
    "best_head_miou": "attention/best_head/miou",
    "caption_bleu_4": "caption/bleu_4",
    "caption_cider": "caption/cider",
    "caption_noun_mass": "caption/noun_mass",
    "gaussian_miou": "attention/gaussian/miou",
    "head_mean_miou": "attention/head_mean/miou",
    "interval_high": "evaluate/accuracy_high",
    "interval_low": "evaluate/accuracy_low",
    "linear_probe": "evaluate/probe_accuracy",
    "noun_mass_gaussian": "caption/noun_mass_gaussian",
    "relevance_miou": "attention/relevance/miou",
}
"""Name within the group, and where the number stands: in metrics/FILE.json under KEY, as ``FILE/KEY``. Only the first
seven of all numbers are in sight without scrolling, so the names put one of each kind among them."""


def shown_numbers(numbers: Mapping[str, float]) -> dict[str, float]:
    """Name a result's numbers as MLflow shows them.

    ``attention/best_head.miou`` is ``attention/best_head/miou``, so that every map method is a group of charts. What
    :data:`COMPARED` lists is there a second time in the group ``atlas``, which the comparison of runs shows first: one
    would have to scroll through a few hundred numbers otherwise.
    """
    named = {name.replace(".", "/"): value for name, value in numbers.items()}
    chosen = {f"{FIRST}/{name}": named[source] for name, source in COMPARED.items() if source in named}
    # MLflow lists a run's numbers in the order in which they came: the one that matters first.
    return {name: value for name, value in named.items() if "/" not in name} | chosen | named
