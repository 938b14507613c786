"""vit-atlas: fine-tune a Vision Transformer on your own photos and see what it looks at.

Importing this package loads neither torch nor transformers; each module imports what it needs.
"""

__version__ = "0.1.0"
