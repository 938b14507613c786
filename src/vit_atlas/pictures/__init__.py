"""Pictures of what was measured: between the rooms that measure and the figures that draw plain values."""
