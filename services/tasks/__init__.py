"""One module per task: encode (text to windows), then decode (graph outputs to an answer).

`services.tasks.classify.Classify`, `.zeroshot.ZeroShot`, `.qa.AnswerQuestions`,
`.summarize.Summarize` and `.generate_summary.GenerateSummary` share one shape:

    encoded = task.encode(...)                  # windows to run, and what decode needs
    outputs = [run(w) for w in encoded.windows] # one dict of unpadded arrays per window
    result = task.decode(encoded, outputs, ...) # the JSON result of one item
"""
