"""Two results compared, photo by photo."""
