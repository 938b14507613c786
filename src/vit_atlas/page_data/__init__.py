"""What the atlas page shows, small enough for a page."""
