"""What the words mean that the window uses: one table, for tips and help.

The words are those of the field; each meaning is a sentence or two, and says what to look for.
"""

TERMS: dict[str, str] = {
    "utilisation": "Busy time / elapsed time, of the busiest loop. Near 100 % its queue grows without end.",
    "throughput": "Items served a second, over the last second.",
    "service time": "Work alone for one item, without any waiting.",
    "waiting time": "Time in the queue before the stage. By Little's law: depth / throughput.",
    "queue": "Items that wait for the stage. A full one stops the stage before it: backpressure.",
    "tick queue": "It collects what changed until the tick, which serves all of it at once: full is no fault here.",
    "high-water mark": "The deepest that the queue was within the last second.",
    "limit": "What the queue can hold. At it the stage before stops, and at last TCP holds the senders back.",
    "drops": "Items discarded a second, each counted under its reason.",
    "brake": "Service time added on purpose, to watch the queue before the stage fill.",
    "bottleneck": "The stage that limits the run: the busiest, before which the queue grows.",
    "headroom": "How much more of the present load would still fit.",
    "load curve": "What the offered load is multiplied by as time goes on. Draw it with the mouse.",
    "fault": "Something done to the run on purpose, to see how it recovers.",
}


def explain(term: str) -> str:
    """A term and what it means, as two lines of a tip."""
    return f"{term}\n{TERMS[term]}"
