"""The skeleton of a tick, on facts that are a list of what was asked."""

from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta

import pytest

from project.fan_in.evaluate import evaluate
from project.fan_in.rule import Completion, Holds, Used, decide

AT = datetime(2026, 1, 5, 12, tzinfo=UTC)


@dataclass
class ListedFacts:
    """Facts of upstreams a and b, by key.

    Args:
        completed: For each key, which upstreams have completed.
        written: For each key, which upstreams' completions the storage says are used.
        held: What holds a key back.
        asked: The questions, in order.
    """

    completed: dict[str, str]
    written: dict[str, str] = field(default_factory=dict)
    held: dict[str, Holds] = field(default_factory=dict)
    asked: list[str] = field(default_factory=list)
    known: dict[str, str] = field(default_factory=dict)

    def decide(self, keys=None):
        self.asked.append(f"decide {' '.join(keys)}" if keys is not None else "decide")
        return {key: self._decision(key) for key in (self.completed if keys is None else keys)}

    def holds(self, complete):
        self.asked.append(f"holds {' '.join(complete)}")
        return {key: self.held[key] for key in complete if key in self.held}

    def read_used(self, keys):
        self.asked.append(f"used {' '.join(keys)}")
        self.known |= {key: self.written.get(key, "") for key in keys}

    def _decision(self, key):
        completed_at = AT - timedelta(hours=1)
        completions = [
            Completion(upstream=name, id=f"{key} {name}", completed_at=completed_at, key=key)
            for name in self.completed[key]
        ]
        return decide(
            at=AT,
            upstreams=["a", "b"],
            completions=completions,
            used={
                c.upstream: Used(position=c.position)
                for c in completions
                if c.upstream in self.known.get(key, "")
            },
            key=key,
        )


def test_what_holds_is_asked_before_what_was_used():
    """Whoever evaluates no longer when it is looked for has left its requests to be read."""
    facts = ListedFacts({"x": "ab"})
    assert evaluate(facts)["x"].fires
    assert facts.asked == ["decide", "holds x", "used x", "decide x"]


def test_of_keys_that_are_not_complete_nothing_more_is_asked():
    """They may be many, and each question is a statement."""
    facts = ListedFacts({"x": "a", "y": "b"})
    assert not any(d.fires for d in evaluate(facts).values())
    assert facts.asked == ["decide"]


def test_a_key_that_is_held_back_is_not_asked_what_it_used():
    """Nothing is requested for it, whatever the answer."""
    held = {"x": Holds(running=("a run",)), "z": Holds(evaluating=AT)}
    facts = ListedFacts({"x": "ab", "y": "ab", "z": "ab", "w": "a"}, held=held)
    decisions = evaluate(facts)
    assert {key: d.fires for key, d in decisions.items()} == {
        "x": False,
        "y": True,
        "z": False,
        "w": False,
    }
    assert decisions["x"].running == ("a run",)
    assert decisions["z"].evaluating == AT
    assert facts.asked == ["decide", "holds x y z", "used y", "decide y"]


def test_what_is_written_down_as_used_does_not_fire_again():
    """What was believed to be unused is asked for again before it is requested."""
    facts = ListedFacts({"x": "ab", "y": "ab"}, written={"x": "a"})
    decisions = evaluate(facts)
    assert {key: d.fires for key, d in decisions.items()} == {"x": False, "y": True}
    assert [s.upstream for s in decisions["x"].missing] == ["a"]


@pytest.mark.parametrize(
    "holds",
    [
        Holds(running=("a run",)),
        Holds(busy=("a",)),
        Holds(impossible="not a partition"),
        Holds(evaluating=AT),
    ],
    ids=lambda holds: ", ".join(name for name, value in vars(holds).items() if value),
)
def test_each_hold_alone_holds_a_complete_batch_back(holds):
    """And the decision says what it was."""
    (decision,) = evaluate(ListedFacts({"x": "ab"}, held={"x": holds})).values()
    assert decision.complete
    assert not decision.fires
    assert {name: getattr(decision, name) for name in vars(holds)} == vars(holds)
