"""Realistic bodies for every POST route: what the docs show, the tests post, Locust sends.

`SHOWN` are those of the playground: by task, a title and a body.
"""

from __future__ import annotations

from typing import Any

INCIDENT = (
    "At 09:14 the payment gateway began to answer with timeouts in the Frankfurt region. "
    "The on-call engineer was paged two minutes later and saw that the connection pool of the "
    "ledger database was exhausted. A deployment at 09:10 had raised the number of workers from "
    "eight to forty without raising the limit of the pool. Support received eleven calls from "
    "merchants during that time. The deployment was rolled back at 09:31 and the error rate was "
    "back to normal at 09:36. Nobody was charged twice, because every payment carries an "
    "idempotency key. The limit is now derived from the number of workers, and an alarm fires "
    "when the pool is used to four fifths."
)
MINUTES = (
    "The team met on Tuesday to plan the move to the new warehouse. Shelves arrive on the third of "
    "March and the floor must be dry by then. Two people from the old site will train the new "
    "staff for a week. The scanner software is not ready: it cannot yet print labels in Polish. "
    "Everyone agreed to ship from the old site until the labels work. Coffee was excellent."
)
MANUAL = (
    "To descale the machine, fill the tank with one litre of water and one sachet of descaler. "
    "Hold the steam button for five seconds until the lamp blinks orange. The program takes about "
    "twenty minutes. Do not use vinegar, it attacks the seals. When the lamp turns green, rinse "
    "the tank and run two litres of clear water through the machine."
)
WARRANTY = (
    "The warranty covers faults in material and workmanship for twenty-four months from the day of "
    "purchase. It does not cover damage by limescale. Keep the receipt: repairs without one are "
    "charged at 45 euros an hour. Spare parts are available for ten years."
)

EXAMPLES: dict[str, list[dict[str, Any]]] = {
    "/classify": [
        {"text": "I was charged twice for the same hotel, can you dispute one of them?"},
        {"text": "please move 200 dollars from checking to savings", "top_k": 3},
        {
            "text": [
                "what is the exchange rate from euro to yen today",
                "my card got swallowed by the machine on main street",
                "tell me a joke about penguins",
            ]
        },
        {"text": "how much have i spent on groceries since monday", "threshold": 0},
        {"text": "Thank you so much, this made my whole week!", "model": "emotion", "top_k": 5},
        {
            "text": "The parcel arrived open and the charger is missing.",
            "labels": ["delivery problem", "invoice question", "praise", "cancellation"],
            "top_k": 4,
        },
    ],
    "/qa": [
        {"question": "How long does the program take?", "context": MANUAL},
        {
            "question": ["Why is vinegar not allowed?", "What colour is the lamp when it is done?"],
            "context": MANUAL,
            "top_k": 2,
        },
        {"question": "What does a repair cost without a receipt?", "context": [MANUAL, WARRANTY]},
        {
            "question": ["How much water goes into the tank?", "How long is the warranty?"],
            "context": [MANUAL, WARRANTY],
            "paired": True,
        },
        {"question": "Who founded the company?", "context": WARRANTY, "threshold": 0.5},
    ],
    "/summarize": [
        {"text": INCIDENT},
        {"text": INCIDENT, "max_sentences": 1},
        {"text": [INCIDENT, MINUTES], "max_words": 40},
        {"text": MINUTES, "max_sentences": 2, "stream": True},
    ],
    "/compare": [
        {"task": "classify", "input": {"text": "freeze my account, I think my card was stolen"}},
        {
            "task": "qa",
            "input": {"question": "How long does the program take?", "context": MANUAL},
        },
        {"task": "summarize", "input": {"text": INCIDENT, "max_sentences": 2}},
    ],
    "/hf/text-classification": [
        {"inputs": "what is my credit score", "parameters": {"top_k": 3}},
        {"inputs": ["set a timer for ten minutes", "do i need a visa for brazil"]},
    ],
    "/hf/question-answering": [
        {"inputs": {"question": "How long is the warranty?", "context": WARRANTY}},
        {
            "inputs": {"question": "How long is the program?", "context": MANUAL},
            "parameters": {"top_k": 2},
        },
    ],
    "/hf/summarization": [{"inputs": INCIDENT}, {"inputs": [MINUTES, INCIDENT]}],
}

SHOWN: dict[str, list[dict[str, Any]]] = {
    "classify": [
        {
            "title": "Bank transfer",
            "body": {"text": "please move 200 dollars from checking to savings", "top_k": 5},
        },
        {
            "title": "Two wishes at once",
            "body": {"text": "freeze my account, I think my card was stolen", "top_k": 5},
        },
        {
            "title": "Out of scope",
            "body": {"text": "why do cats knock glasses off the table", "top_k": 5},
        },
        {
            "title": "Mixed feelings",
            "body": {
                "text": "I am so nervous about tomorrow, but also a little excited",
                "model": "emotion",
                "top_k": 5,
            },
        },
        {
            "title": "Your own labels",
            "body": {
                "text": "The parcel arrived open and the charger is missing.",
                "labels": ["delivery problem", "invoice question", "praise", "cancellation"],
                "top_k": 4,
            },
        },
    ],
    "qa": [
        {
            "title": "From a manual",
            "body": {"question": "How long does the program take?", "context": MANUAL, "top_k": 3},
        },
        {
            "title": "From two documents",
            "body": {
                "question": "What does a repair cost without a receipt?",
                "context": [MANUAL, WARRANTY],
                "top_k": 3,
            },
        },
        {
            "title": "No answer there",
            "body": {
                "question": "Can I make cappuccino with it?",
                "context": MANUAL,
                "top_k": 3,
            },
        },
    ],
    "summarize": [
        {"title": "Incident report", "body": {"text": INCIDENT, "stream": True}},
        {
            "title": "Minutes, one sentence",
            "body": {"text": MINUTES, "max_sentences": 1, "stream": True},
        },
        {
            "title": "At most 40 words",
            "body": {"text": INCIDENT, "max_words": 40, "stream": True},
        },
    ],
    "compare": [
        {
            "title": "A label",
            "body": {
                "task": "classify",
                "input": {"text": "my suitcase did not arrive with my flight"},
            },
        },
        {
            "title": "An answer",
            "body": {
                "task": "qa",
                "input": {
                    "question": "What does a repair cost without a receipt?",
                    "context": WARRANTY,
                },
            },
        },
        {
            "title": "A summary",
            "body": {"task": "summarize", "input": {"text": INCIDENT, "max_sentences": 2}},
        },
    ],
}
