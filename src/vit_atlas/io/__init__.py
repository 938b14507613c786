"""Files: written whole or not at all, read with one clear sentence when they are broken."""
