"""The named timelines: what happens, what must happen then, and why it is interesting.

One line of data each. ``expected`` has one digit for each tick, 1 where the downstream is
requested; where the two paths differ by design it is "declarative/job path". To add a case, add a
line: the referee checks the digits, both mechanisms are played, and the table grows by a row.
"""

from dataclasses import dataclass

from timeline import Timeline, parse


@dataclass(frozen=True)
class Named:
    """A timeline with a name, the firings that the rule demands, and a reason to look at it."""

    group: str
    name: str
    text: str
    expected: str
    why: str
    cold: bool = False
    """True when no tick comes before the first step: the mechanism was not running."""

    @property
    def timeline(self) -> Timeline:
        return parse(self.text)

    def firings(self, path: str) -> list[int]:
        """Returns the expected firings, one for each tick, on a path."""
        declarative, _, job = self.expected.partition("/")
        return [
            int(digit) for digit in (declarative if path == "declarative" else job or declarative)
        ]

    @property
    def differs(self) -> bool:
        """True when the two paths see this timeline differently, as listed."""
        return "/" in self.expected


CORE, WINDOW, STATE, DIFFERENCE = "Core", "Window", "State", "Listed differences"

# fmt: off
# ruff: noqa: E501 (one line of data each)
NAMED = (
    Named(CORE, "one batch", "A . B . .", "010", "The plain case: wait for the second, fire once."),
    Named(CORE, "one upstream is not a batch", "A . A . .", "000", "Many of one are not one of each."),
    Named(CORE, "repeats collapse", "A . A . B . .", "0010", "Two completions of A make one batch with one B."),
    Named(CORE, "both in one tick", "A B . .", "10", "Nothing is lost when both come between two ticks."),
    Named(CORE, "two batches", ". A B . D! A . B . .", "01010", "A whole batch, then another."),
    Named(CORE, "second batch with no idle tick between", "A B . D! A B . .", "110", "No tick sees an idle world, and the second batch counts all the same."),
    Named(CORE, "both before the first tick", "A B .@5 .", "10", "What completed before anyone looked counts, if it is young enough.", cold=True),
    Named(CORE, "late repeat counts next", "A B . A . D! . B . .", "10010", "A came while D ran: it belongs to the next batch."),
    Named(CORE, "both arrive while D runs, overlap allowed", "A B . A . B . D! . .", "10100", "A second batch need not wait when overlap is allowed."),
    Named(CORE, "both arrive while D runs, no overlap", "overlap=no: A B . A . B . D! . .", "10010", "It waits, and follows at the first tick after D has ended."),
    Named(CORE, "D fails", "A B . Dx . A . B . .", "10010", "A failed D has had its batch."),
    Named(CORE, "D never ends, overlap allowed", "A B . . . .", "1000", "A batch is requested once however long its run takes."),
    Named(CORE, "upstream fails and is repaired", "B . (A fails) . A . .", "0010", "The repair's completion counts, the failure does not."),
    Named(CORE, "storm", "A A A A . B B B B . . D! . A A A A . .", "010000", "Many completions of each are one batch, many of one are none."),
    Named(CORE, "one upstream alone is a set", "{A}: A . . A .", "101", "With a single upstream each tick with news fires."),
    Named(CORE, "three upstreams", "{A,B,C}: A B . C . B C . A .", "0101", "All of them, in any order, twice."),
    Named(CORE, "same tick as D ends", "A B . A D! B . .", "110", "What comes around the end of D is neither lost nor used twice."),
    Named(CORE, "overlapping upstream runs", "A+ A . A- . B . .", "0010", "A run that started first and ended last is the newest completion."),
    Named(CORE, "late finisher counts when it ends", "A+ B . A- . B . A .", "0101", "A completion is when the work ended, not when it began."),
    Named(CORE, "started before the batch, ended after it", "A+ A B . A- B . .", "110", "The older run is the newer completion, and no batch has used it."),
    Named(CORE, "seen late", "A@1 B@1.1 .@1.2 B@2 .@2.02 A@2.04<0.03 .@2.05 .", "1010", "A completion that becomes visible after a tick, though it ended before it, counts at the next."),
    Named(CORE, "same name elsewhere", "(A elsewhere) B . A . .", "010", "A job of another code location that is called the same does not count."),

    Named(WINDOW, "stale half is not paired", "A@1 . B@31 . .", "000", "Yesterday's A is no partner for today's B."),
    Named(WINDOW, "the late one is renewed", "A@1 . B@31 . A@32 . .", "0010", "A new A pairs with the B that waited."),
    Named(WINDOW, "exactly a day", "A@1 B@25 .@25", "0", "Exactly 24 hours old is too old."),
    Named(WINDOW, "just inside", "A@1 B@24.9 .@24.999", "1", "A moment less than 24 hours is not."),
    Named(WINDOW, "window slides per upstream", "A@0 A@20 B@30 .", "1", "The window is anchored at the tick, not at the first event."),
    Named(WINDOW, "daily rhythm", "A@1 . B@13 . D! .@14 A@25 . B@37 . D! .@38 A@49 . B@61 . D! .@62", "010010010", "One batch a day, for three days."),
    Named(WINDOW, "half over midnight", "A@23 B@25 .", "1", "A sliding day has no midnight."),
    Named(WINDOW, "back in step after a mid-cycle backfill", "A@0 B@2 . D!@3 B@80 . A@168 . B@170 . .", "10010", "Two weekly upstreams, one extra run: the next pair is whole again."),
    Named(WINDOW, "no window", "window=none: A@0 . B@1000 . .", "010", "Without a window any age counts."),
    Named(WINDOW, "an hour's window", "window=1h: A@0 B@1 .@1 A@1.5 .@1.9 .@2.5", "010", "Both halves must be in the window at the same tick."),
    Named(WINDOW, "waiting for D outlasts the window", "overlap=no: A@0 B@0 .@1 A@2 B@2 .@3 D!@27 .", "100", "A batch held back by a running D grows old like any other."),

    Named(STATE, "state lost after a batch", "A B . (lose state) . .", "100", "What was used is read back: it does not fire again."),
    Named(STATE, "state lost between halves", "A B . D! A . (lose state) . B . .", "10010", "The half that had arrived still counts, the used one does not."),
    Named(STATE, "evaluator off for 20 h over two batches", "A@1 B@2 A@5 B@6 .@20 .", "10", "What is still young collapses into one batch.", cold=True),
    Named(STATE, "evaluator off for 30 h", "A@1 B@2 .@31 .", "00", "What grew old meanwhile does not count.", cold=True),
    Named(STATE, "third upstream added between halves", "A . (C joins the set) B . C . .", "0010", "What had arrived stays, the newcomer is required."),
    Named(STATE, "upstream removed while waiting", "{A,B,C}: A B . (C leaves the set) . .", "010", "The rest is a whole batch."),
    Named(STATE, "condition wrapped in another one between halves", "A . (& ~in_progress added) . B . .", "0010", "A new deployment forgets nothing."),
    Named(STATE, "an upstream leaves and rejoins", "{A,B,C}: A B C . (C leaves the set) A B . (C joins the set) A B . C .", "1101", "Its used completion stays used, though the batch between did not ask for it."),
    Named(STATE, "a newcomer's earlier completion counts", "C A B . (C joins the set) A B . .", "110", "No batch has used it, since none had asked for it."),

    Named(DIFFERENCE, "upstream asset materialized by hand", "(a materialized outside its job) . B . .", "010/000", "An asset was updated, no job ran."),
    Named(DIFFERENCE, "upstream fails after materializing", "(A materializes a, then fails) . B . .", "010/000", "The asset is there, the run failed."),
    Named(DIFFERENCE, "upstream succeeds without materializing", "(A succeeds, a not materialized) . B . .", "000/010", "The run succeeded, the asset is as it was."),
    Named(DIFFERENCE, "downstream by hand between halves", "A . D? . B . .", "0000/0010", "For the asset that was its last materialization, for the job it was nobody's batch."),
)
# fmt: on
