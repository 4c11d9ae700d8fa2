"""Training: recipes in, checkpoints out (fine-tuning and distillation on transformers and peft)."""
