"""Where a Vision Transformer looks: recording attention, turning it into maps, and scoring the maps."""
