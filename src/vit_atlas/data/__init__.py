"""From a folder of photos to a manifest: layouts, verification, splits, masks, and the stickers sample."""
