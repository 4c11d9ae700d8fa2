"""Every figure of an evaluation: classes, confusion, ROUGE, BLEU, perplexity, slices."""
