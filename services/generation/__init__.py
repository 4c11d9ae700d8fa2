"""The parts of `services.generate`: which tokens an encoder-decoder writes, one step at a time.

settings     how a search is steered: beams, lengths, what may not repeat
model        the two ONNX graphs, and what the decoder remembers between two steps
constraints  tokens that may not, or must, come next
greedy beams the searches: logits in, the next token of every hypothesis out
text         tokens to text as they come, never half of a character
"""
