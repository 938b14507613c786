"""How several processes share the batches of a training: each step sees the photos that it sees in one process."""

from collections.abc import Iterator

from torch.utils.data import Dataset, Sampler

from vit_atlas.errors import AtlasError
from vit_atlas.processes import count, rank
from vit_atlas.training.datasets import Draw, EpochSampler

IGNORED = -100
"""Label of a photo that is there to keep a process busy and does not count; cross-entropy leaves it out."""


def batch_share(batch_size: int) -> int:
    """Photos of a training step's batch that each process takes.

    Raises:
        AtlasError: the processes cannot share the batch evenly.
    """
    if batch_size % count():
        raise AtlasError(
            f"finetune.batch_size is {batch_size}, which {count()} processes cannot share evenly: "
            f"make it a multiple of {count()}, or train with another number of processes"
        )
    return batch_size // count()


class SharedBatches(Sampler[list[Draw]]):
    """This process's part of every batch that one process alone would see, so that together they see the same photos.

    Where the last batch has fewer photos than there are processes, those without one take the batch's first photo with
    its index turned negative: :class:`Uncounted` keeps it out of the loss.
    """

    def __init__(self, sampler: EpochSampler, batch_size: int) -> None:
        self._sampler = sampler
        self._batch_size = batch_size
        self.batch_size = batch_share(batch_size)
        self.drop_last = False

    def __len__(self) -> int:
        return -(-len(self._sampler) // self._batch_size)

    def __iter__(self) -> Iterator[list[Draw]]:
        draws = list(self._sampler)
        for start in range(0, len(draws), self._batch_size):
            batch = draws[start : start + self._batch_size]
            view, index = batch[0]
            yield batch[rank() :: count()] or [(view, -1 - index)]


class Uncounted(Dataset):
    """Photos of which those with a negative index, -1 - index, have the label :data:`IGNORED`."""

    def __init__(self, photos: Dataset) -> None:
        self._photos = photos

    def __len__(self) -> int:
        return len(self._photos)  # type: ignore[arg-type]

    def __getitem__(self, draw: Draw) -> dict[str, object]:
        view, index = draw
        if index >= 0:
            return self._photos[draw]
        return self._photos[view, -1 - index] | {"labels": IGNORED}
