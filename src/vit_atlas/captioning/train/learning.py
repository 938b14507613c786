"""The training loop of a captioner: transformers' Trainer over photos' features and all captions of each."""

from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.utils.data import Dataset
from transformers import TrainerControl

from vit_atlas.captioning.model.captioner import SearchOptions, Vocabulary, vocabulary_of, write_captions
from vit_atlas.captioning.model.network import CaptionNetwork
from vit_atlas.captioning.model.threads import threads_for
from vit_atlas.captioning.model.vocabulary import to_tokens, words_of
from vit_atlas.errors import AtlasError
from vit_atlas.settings import CaptionerSettings
from vit_atlas.training.checkpoints import Checkpoints
from vit_atlas.training.datasets import Draw, EpochSampler
from vit_atlas.training.trainer import CheckpointedTrainer, make_arguments

PAD = 0
SELECTION_PHOTOS = 400
"""At most this many photos of the val split are captioned after every epoch, for selection."""
EVALUATION_BATCH = 64
LOGS_PER_EPOCH = 4


class CaptionedFeatures(Dataset):
    """Photos and captions; an item is ``features`` (channels, rows, columns) and ``tokens``, a list a caption."""

    def __init__(self, features: np.ndarray, captions: Sequence[Sequence[str]], tokenizer: Any, longest: int):
        self._features = features
        self.captions = captions
        self._tokens = [[to_tokens(tokenizer, caption, longest) for caption in written] for written in captions]

    def __len__(self) -> int:
        return len(self.captions)

    def __getitem__(self, draw: Draw | int) -> dict[str, Any]:
        index = draw[1] if isinstance(draw, tuple) else draw
        return {"features": torch.from_numpy(np.array(self._features[index])), "tokens": self._tokens[index]}


def collate(items: list[dict[str, Any]]) -> dict[str, Tensor]:
    """Stack a batch: features (photos, channels, rows, columns), float32, and tokens (photos, captions, length).

    Each photo's captions are sorted by length, so that captions of one rank waste little on padding. Where a photo has
    fewer captions than another, rows of padding fill up.
    """
    most = max(len(item["tokens"]) for item in items)
    longest = max(len(tokens) for item in items for tokens in item["tokens"])
    tokens = torch.full((len(items), most, longest), PAD)
    for photo, item in enumerate(items):
        for row, ids in enumerate(sorted(item["tokens"], key=len)):
            tokens[photo, row, : len(ids)] = torch.tensor(ids)
    return {"features": torch.stack([item["features"] for item in items]).float(), "tokens": tokens}


class CaptionLoss(nn.Module):
    """The network as the Trainer sees it: features and captions in, loss out."""

    def __init__(self, network: CaptionNetwork, smoothing: float):
        super().__init__()
        self.network = network
        self._smoothing = smoothing

    def forward(self, features: Tensor, tokens: Tensor) -> dict[str, Tensor]:
        """Cross-entropy of every next word, padding left out; smoothed in training, plain in validation."""
        photos = self.network.start(self.network.encode(features))
        hidden, targets = [], []
        for rank in tokens.unbind(1):
            length = int((rank != PAD).sum(1).max())
            vectors, _ = self.network.decode(rank[:, : length - 1], replace(photos, own_pairs=[]))
            kept = rank[:, 1:length] != PAD
            hidden.append(vectors[kept])
            targets.append(rank[:, 1:length][kept])
        smoothing = self._smoothing if self.training else 0.0
        scores = self.network.mlp(torch.cat(hidden))
        return {"loss": F.cross_entropy(scores.float(), torch.cat(targets), label_smoothing=smoothing)}


class CaptionTrainer(CheckpointedTrainer):
    """The Trainer with our validation; the weights with the highest BLEU-4 there are kept."""

    def __init__(self, vocabulary: Vocabulary, **options: Any):
        super().__init__(score="eval_bleu4", data_collator=collate, collate=collate, **options)
        self._vocabulary = vocabulary

    def evaluate(self, *args: Any, **kwargs: Any) -> dict[str, float]:
        """Loss, and BLEU-4 of greedy captions, on the val split."""
        metrics = validate(self.model, self.eval_dataset, self._vocabulary, self.args.device)
        self.model.train()
        self.log(dict(metrics))
        self.control: TrainerControl = self.callback_handler.on_evaluate(self.args, self.state, self.control, metrics)
        return metrics


@torch.inference_mode()
def validate(
    model: CaptionLoss, val: CaptionedFeatures, vocabulary: Vocabulary, device: torch.device
) -> dict[str, float]:
    """``eval_loss`` and ``eval_bleu4`` of ``model`` on up to :data:`SELECTION_PHOTOS` photos, spread over the split."""
    from torchmetrics.functional.text import bleu_score

    model.eval()
    count = min(len(val), SELECTION_PHOTOS)
    chosen = [index * len(val) // count for index in range(count)]
    losses, texts = [], []
    for start in range(0, count, EVALUATION_BATCH):
        batch = {
            name: value.to(device)
            for name, value in collate([val[index] for index in chosen[start : start + EVALUATION_BATCH]]).items()
        }
        losses.append(float(model(**batch)["loss"]) * len(batch["features"]))
        memory = model.network.encode(batch["features"])
        texts += [caption.text for caption in write_captions(model.network, memory, vocabulary, SearchOptions())]
    references = [[" ".join(words_of(caption)) for caption in val.captions[index]] for index in chosen]
    return {"eval_loss": sum(losses) / count, "eval_bleu4": float(bleu_score(texts, references))}


def fit_captioner(
    network: CaptionNetwork,
    train: CaptionedFeatures,
    val: CaptionedFeatures,
    tokenizer: Any,
    settings: CaptionerSettings,
    checkpoints: Checkpoints,
) -> list[dict[str, float]]:
    """Train ``network`` in place and leave it with the weights of its best epoch; returns the Trainer's log.

    A whole checkpoint in ``checkpoints`` is where training goes on.

    Raises:
        AtlasError: the loss is no longer a number.
    """
    trainer = CaptionTrainer(
        vocabulary_of(tokenizer, tokenizer.bos_token_id, tokenizer.eos_token_id, "the captioner"),
        sampler=EpochSampler(len(train), settings.seed),
        checkpoints=checkpoints,
        model=CaptionLoss(network, settings.label_smoothing),
        args=make_arguments(
            settings,
            len(train),
            checkpoints,
            LOGS_PER_EPOCH,
            weight_decay=settings.weight_decay,
            adam_beta2=0.98,
        ),
        train_dataset=train,
        eval_dataset=val,
    )
    with threads_for(network):
        trainer.train_or_resume()
    if not np.isfinite(trainer.state.log_history[-1].get("train_loss", 0.0)):
        raise AtlasError("the captioner's loss is no longer a finite number: lower captioner.learning_rate")
    trainer.load_best()
    return trainer.state.log_history
