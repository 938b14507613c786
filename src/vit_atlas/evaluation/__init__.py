"""How good the fine-tuned model is on photos that nothing else has looked at."""
