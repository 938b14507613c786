"""Words of captions: how text is cut into them, and the vocabulary that a captioner is trained with."""

import re
from collections import Counter
from collections.abc import Sequence
from typing import Any

from tokenizers import Regex, Tokenizer, models, normalizers, pre_tokenizers, trainers

from vit_atlas.errors import AtlasError

PAD, START, END, UNKNOWN = "[pad]", "[start]", "[end]", "[unknown]"
SPECIAL = [PAD, START, END, UNKNOWN]
"""In the order of their ids, from 0."""

_NORMALIZER = normalizers.Sequence([normalizers.NFKC(), normalizers.Lowercase()])
_SIGNS = r"\p{Han}\p{Hiragana}"
"""Scripts without spaces whose signs count as words, each one: of what a captioner writes, every sign has a map."""
_WORDS = pre_tokenizers.Split(
    Regex(rf"[{_SIGNS}]|'?[\w&&[^{_SIGNS}]]+(?:[-'][\w&&[^{_SIGNS}]]+)*"), behavior="removed", invert=True
)
_UNSPACED = re.compile("[\u0e00-\u0eff\u0f00-\u0fff\u1000-\u109f\u1780-\u17ff\u1980-\u19df\u1a20-\u1aaf\ua980-\ua9df]")
"""Thai, Lao, Tibetan, Burmese, Khmer, Tai Lue, Tai Tham, Javanese: no spaces, and words of several signs."""
LONG_WORD = 10
"""Signs above which the words of these scripts, on average, are whole sentences."""


def words_of(text: str) -> list[str]:
    """Cut ``text`` into lower-case words without punctuation; "dog's" and "t-shirt" are one word each."""
    return [word for word, _ in _WORDS.pre_tokenize_str(_NORMALIZER.normalize_str(text))]


def join_words(words: Sequence[str]) -> str:
    """Words as a line of text: with spaces between, but for signs that are written without."""
    text = ""
    for word in words:
        together = text and _is_sign(text[-1]) and _is_sign(word[:1])
        text += word if together or not text else f" {word}"
    return text


def learn_vocabulary(captions: Sequence[str], minimum_count: int) -> Any:
    """A word-level tokenizer of the words that occur at least ``minimum_count`` times in ``captions``.

    Returns:
        PreTrainedTokenizerFast; ids 0 to 3 are padding, start, end and unknown.

    Raises:
        AtlasError: no word is that frequent, or captions are in a script whose words cannot be told apart.
    """
    from transformers import PreTrainedTokenizerFast

    _require_words(captions, minimum_count)
    tokenizer = Tokenizer(models.WordLevel(unk_token=UNKNOWN))
    tokenizer.normalizer, tokenizer.pre_tokenizer = _NORMALIZER, _WORDS
    trainer = trainers.WordLevelTrainer(
        min_frequency=minimum_count, special_tokens=SPECIAL, show_progress=False, vocab_size=1_000_000
    )
    tokenizer.train_from_iterator(captions, trainer)
    return PreTrainedTokenizerFast(
        tokenizer_object=tokenizer, pad_token=PAD, bos_token=START, eos_token=END, unk_token=UNKNOWN
    )


def _is_sign(character: str) -> bool:
    return bool(character) and words_of(character * 2) == [character] * 2


def _require_words(captions: Sequence[str], minimum_count: int) -> None:
    words = Counter(word for caption in captions for word in words_of(caption))
    unspaced = [word for word in words.elements() if _UNSPACED.search(word)]
    if unspaced and sum(map(len, unspaced)) / len(unspaced) > LONG_WORD:
        raise AtlasError(
            f"the captions are in a script without spaces between words ({max(unspaced, key=len)}): put a space or "
            "U+200B between the words in captions.csv"
        )
    most = max(words.values(), default=0)
    if most < minimum_count:
        raise AtlasError(
            f"captioner.minimum_count is {minimum_count}, and no word of the {len(captions)} training captions occurs "
            f"more than {most} times, so no word could be learned: lower it to {min(most, 2)}, or add captions"
        )


def to_tokens(tokenizer: Any, caption: str, longest: int) -> list[int]:
    """Ids of ``caption`` between start and end; text beyond ``longest`` ids in all is cut, its end left open."""
    ids = tokenizer(caption, add_special_tokens=False)["input_ids"]
    return [tokenizer.bos_token_id, *ids, tokenizer.eos_token_id][:longest]
