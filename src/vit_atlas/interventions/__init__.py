"""What happens to the answer when a part of the photo is taken away."""
