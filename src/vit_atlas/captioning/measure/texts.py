"""How close captions are to what people wrote: BLEU, CIDEr-D, exact match.

References:
    Papineni et al., "BLEU" (2002), https://aclanthology.org/P02-1040.
    Vedantam et al., "CIDEr: consensus-based image description evaluation" (2015), https://arxiv.org/abs/1411.5726; the
    variant is CIDEr-D, which published tables call CIDEr.
"""

import math
from collections import Counter
from collections.abc import Sequence

from vit_atlas.captioning.model.vocabulary import words_of

TEXTS = ("bleu_1", "bleu_2", "bleu_3", "bleu_4", "cider", "exact_match")
"""Scores of the captions' texts."""
LONGEST = 4
"""N-grams of 1 to this many words count."""
SIGMA = 6.0
"""CIDEr-D's tolerance of a difference in length, in words."""

Grams = Counter[tuple[str, ...]]


def text_scores(captions: Sequence[str], references: Sequence[Sequence[str]]) -> dict[str, float]:
    """``bleu_1`` to ``bleu_4``, ``cider`` (0 to 10) and ``exact_match`` of a split.

    Args:
        captions: one for each photo.
        references: what people wrote about each photo; case and punctuation do not count.
    """
    from torchmetrics.functional.text import bleu_score

    written = [words_of(caption) for caption in captions]
    expected = [[words_of(text) for text in texts] for texts in references]
    plain = [" ".join(words) for words in written]
    targets = [[" ".join(words) for words in texts] for texts in expected]
    scores = {f"bleu_{n}": float(bleu_score(plain, targets, n_gram=n)) for n in range(1, LONGEST + 1)}
    scores["cider"] = cider(written, expected)
    scores["exact_match"] = sum(words in texts for words, texts in zip(written, expected, strict=True)) / len(written)
    return scores


def cider(captions: Sequence[Sequence[str]], references: Sequence[Sequence[Sequence[str]]]) -> float:
    """CIDEr-D (Vedantam et al. 2015), mean over photos, 0 to 10.

    N-grams weigh more the fewer photos' references hold them, so a single photo scores 0. Repeated n-grams count no
    more often than in the reference, and a difference in length is penalised.

    Args:
        captions: the words of one caption a photo.
        references: the words of each of a photo's references.
    """
    photos_with: Counter[tuple[str, ...]] = Counter()
    for texts in references:
        photos_with.update({gram for words in texts for gram in _grams(words)})
    photos = math.log(len(references))
    weights = {gram: photos - math.log(count) for gram, count in photos_with.items()}
    scores = []
    for words, texts in zip(captions, references, strict=True):
        scores.append(sum(_similarity(words, text, weights, photos) for text in texts) / len(texts))
    return 10 * sum(scores) / len(scores)


def _similarity(
    words: Sequence[str], text: Sequence[str], weights: dict[tuple[str, ...], float], unseen: float
) -> float:
    """Mean over n of the clipped cosine between n-gram vectors, times the penalty for another length."""
    ours, theirs = _grams(words), _grams(text)
    total = 0.0
    for n in range(1, LONGEST + 1):
        left = {gram: count * weights.get(gram, unseen) for gram, count in ours.items() if len(gram) == n}
        right = {gram: count * weights.get(gram, unseen) for gram, count in theirs.items() if len(gram) == n}
        product = sum(min(value, right[gram]) * right[gram] for gram, value in left.items() if gram in right)
        norms = math.sqrt(sum(value**2 for value in left.values()) * sum(value**2 for value in right.values()))
        total += product / norms if norms else 0.0
    return total / LONGEST * math.exp(-((len(words) - len(text)) ** 2) / (2 * SIGMA**2))


def _grams(words: Sequence[str]) -> Grams:
    return Counter(tuple(words[i : i + n]) for n in range(1, LONGEST + 1) for i in range(len(words) - n + 1))
