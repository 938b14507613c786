"""What a model makes of single photos: its guesses, where it looked, and a caption word by word."""
