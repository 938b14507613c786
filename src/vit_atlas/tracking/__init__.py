"""MLflow as a mirror: the files that DVC holds are the truth, MLflow shows them.

``finetune`` opens a run and streams its curves (:func:`open_stream`); the ``report`` stage and ``vit-atlas track``
complete it from the files (:func:`mirror`), also where DVC restored stages from its cache. A server
that does not answer costs one warning. Nothing here imports mlflow before it is needed.
"""

from vit_atlas.tracking.keys import training_key
from vit_atlas.tracking.mirror import Mirrored, mirror
from vit_atlas.tracking.stream import Stream, open_stream

__all__ = ["Mirrored", "Stream", "mirror", "open_stream", "training_key"]
