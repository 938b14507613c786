"""The pictures of caption-attn, and what is written beside them."""

import math

from matplotlib.figure import Figure

from vit_atlas.captioning.dataset import CaptionedPhoto
from vit_atlas.captioning.measure.describe import Captions
from vit_atlas.captioning.measure.word_maps import View
from vit_atlas.captioning.model.words import Caption
from vit_atlas.data.photos import open_photo
from vit_atlas.figures.captions import WordPanel, draw_strip
from vit_atlas.figures.style import save
from vit_atlas.io.files import atomic_folder, write_json
from vit_atlas.io.frames import write_csv
from vit_atlas.io.names import safe_stems
from vit_atlas.page_data.captions import save_words
from vit_atlas.paths import CAPTION_DATA, CAPTION_PLOTS, CAPTIONS


def write_and_draw(captions: Captions, captioner: str) -> None:
    """Write build/captions, build/captions.csv and plots/captions, each as a whole; ``captioner`` is its name."""
    stems = safe_stems([photo.name for photo, _ in captions.drawn])
    with atomic_folder(CAPTION_PLOTS) as folder:
        for (photo, caption), stem in zip(captions.drawn, stems, strict=True):
            save(strip(photo, caption, captions.view), folder / f"{stem}.png")
    with atomic_folder(CAPTION_DATA) as folder:
        save_words(folder, captions, stems, captioner)
        write_csv(folder / "words.csv", captions.words)
        write_csv(folder / "left_out.csv", captions.left_out)
        write_json(folder / "facts.json", captions.facts)
    write_csv(CAPTIONS, captions.table)


def write_nothing() -> None:
    """Write the same outs where nothing is captioned: empty ones."""
    for place in (CAPTION_PLOTS, CAPTION_DATA):
        with atomic_folder(place) as folder:
            (folder / "OFF.txt").write_text("captioner.kind is none\n")
    CAPTIONS.parent.mkdir(parents=True, exist_ok=True)
    CAPTIONS.write_text("image,caption,log_probability,ended,reference\n")


def strip(photo: CaptionedPhoto, caption: Caption, view: View) -> Figure:
    """The figure of one photo."""
    panels = [WordPanel(word.text, math.exp(word.log_probability), view.of(word)) for word in caption.words]
    notes = [f"{photo.name}: cross-attention, {view}; p is the word's probability after the words before it"]
    if not caption.ended:
        notes.append("cut: the caption had not ended at captions.max_length")
    if photo.captions:
        notes.append(f"caption in the data: {photo.captions[0]}")
    return draw_strip(open_photo(photo.path), panels, caption.text, notes)
