"""Words of captions: how text is cut into them, and the vocabulary that a captioner is trained with."""

from collections.abc import Iterable
from typing import Any

from tokenizers import Regex, Tokenizer, models, normalizers, pre_tokenizers, trainers
from transformers import PreTrainedTokenizerFast

PAD, START, END, UNKNOWN = "[pad]", "[start]", "[end]", "[unknown]"
SPECIAL = [PAD, START, END, UNKNOWN]
"""In the order of their ids, from 0."""

_NORMALIZER = normalizers.Sequence([normalizers.NFKC(), normalizers.Lowercase()])
_WORDS = pre_tokenizers.Split(Regex(r"'?\w+(?:[-']\w+)*"), behavior="removed", invert=True)


def words_of(text: str) -> list[str]:
    """Cut ``text`` into lower-case words without punctuation; "dog's" and "t-shirt" are one word each."""
    return [word for word, _ in _WORDS.pre_tokenize_str(_NORMALIZER.normalize_str(text))]


def learn_vocabulary(captions: Iterable[str], minimum_count: int) -> Any:
    """A word-level tokenizer of the words that occur at least ``minimum_count`` times in ``captions``.

    Returns:
        PreTrainedTokenizerFast; ids 0 to 3 are padding, start, end and unknown.
    """
    tokenizer = Tokenizer(models.WordLevel(unk_token=UNKNOWN))
    tokenizer.normalizer, tokenizer.pre_tokenizer = _NORMALIZER, _WORDS
    trainer = trainers.WordLevelTrainer(
        min_frequency=minimum_count, special_tokens=SPECIAL, show_progress=False, vocab_size=1_000_000
    )
    tokenizer.train_from_iterator(captions, trainer)
    return PreTrainedTokenizerFast(
        tokenizer_object=tokenizer, pad_token=PAD, bos_token=START, eos_token=END, unk_token=UNKNOWN
    )


def to_tokens(tokenizer: Any, caption: str, longest: int) -> list[int]:
    """Ids of ``caption`` between start and end; text beyond ``longest`` ids in all is cut, its end left open."""
    ids = tokenizer(caption, add_special_tokens=False)["input_ids"]
    return [tokenizer.bos_token_id, *ids, tokenizer.eos_token_id][:longest]
