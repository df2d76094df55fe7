"""The named timelines: what happens, what must happen then, and why it is interesting.

One line of data each. ``expected`` has one digit for each tick, 1 where the downstream is
requested and e where it is requested early; with keys, such digits for each key ("x=01 y=00");
where the two paths differ by design it is "declarative/job path". To add a case, add a line,
which ``python -m tests`` writes, and ``make comparison``.
"""

from dataclasses import dataclass

from tests.support.clocks import Period
from tests.support.timeline import Firings, Kind, Timeline, parse, read_firings


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

    def firings(self, path: str) -> Firings:
        """Returns the expected firings, one for each tick, on a path."""
        declarative, _, job = self.expected.partition("/")
        return read_firings(declarative if path == "declarative" else job or declarative)

    @property
    def differs(self) -> bool:
        """True when the two paths see this timeline differently, as listed."""
        return "/" in self.expected

    @property
    def only_ours(self) -> bool:
        """True when only this project's mechanisms can express what the timeline asks for."""
        t = self.timeline
        period = isinstance(t.window, Period) or t.pace or t.not_before or t.deadline
        more = t.windows or t.when is not None or t.count or t.settle or t.idle or t.keys
        more = more or t.rollups
        lets_go = any(step.kind is Kind.LET_GO for step in t.steps)
        return bool(period or more or lets_go or t.ended or t.counts)


CORE, WINDOW, STATE, DIFFERENCE = "Core", "Window", "State", "Listed differences"
KEYS, WINDOWS, QUORUM, SETTLING = "Keys", "Windows", "Quorum", "Settling"
COUNT, HAND, DEADLINES, PACE = "Count", "By hand", "Deadlines", "Pace"
ROLLUP, COUNTING = "Rollup", "What counts"

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
    Named(CORE, "seen late, of a clock that is behind", "A@1 B@1.1 .@1.2 B@2.5 .@2.55 A@2.6<0.4 .@2.7 . B@30 .@30.1 A@30.2<1.5 .@30.3", "101001", "It ended long before what the last tick has read; it is found by the order in which it was stored."),
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
    Named(STATE, "a run by hand hides nothing", "overlap=no: A B . D? A B . D! . .", "1010", "Another run of the downstream still goes on, though a newer one has ended."),
    Named(STATE, "an upstream leaves and rejoins", "{A,B,C}: A B C . (C leaves the set) A B . (C joins the set) A B . C .", "1101", "Its used completion stays used, though the batch between did not ask for it."),
    Named(STATE, "a newcomer's earlier completion counts", "C A B . . (C joins the set) A B . .", "1010", "No batch has used it, since none had asked for it."),

    Named(DIFFERENCE, "upstream asset materialized by hand", "(a materialized outside its job) . B . .", "010/000", "An asset was updated, no job ran."),
    Named(DIFFERENCE, "upstream fails after materializing", "(A materializes a, then fails) . B . .", "010/000", "The asset is there, the run failed."),
    Named(DIFFERENCE, "upstream succeeds without materializing", "(A succeeds, a not materialized) . B . .", "000/010", "The run succeeded, the asset is as it was."),
    Named(DIFFERENCE, "downstream by hand between halves", "A . D? . B . .", "0000/0010", "For the asset that was its last materialization, for the job it was nobody's batch."),
    Named(DIFFERENCE, "by hand, for one key", "keys=x,y: A/x A/y D?/x B/x B/y . .", "x=00 y=10 / x=10 y=10", "For the asset, that was this partition's last materialization, and no other's."),
    Named(DIFFERENCE, "let go before it is seen", "B . D~@2 B@2.1 A@2.5<1 . .", "010/000", "For the asset it was stored after the report, for the job it had ended before the launch."),
    Named(DIFFERENCE, "a shared upstream stands for every key", "keys=x,y shared=C {A,B,C}: A/x B/x A/y B/y . C . C .", "x=010 y=010 / x=000 y=000", "An unpartitioned asset beside partitioned ones; on the job path a run without the key is ignored."),
    Named(DIFFERENCE, "a shared upstream is used up key by key", "keys=x,y shared=B: A/x B . A/y . A/x . B .", "x=1001 y=0100 / x=0000 y=0000", "The same completion serves each key once."),
    Named(DIFFERENCE, "counted by key, of a shared upstream", "keys=x,y shared=B count[B]=2: A/x B . B . A/y . B . A/y A/x .", "x=01000 y=00100 / x=00000 y=00000", "Each key uses up the same completions for itself."),
    Named(DIFFERENCE, "by hand in the midst of a count", "{A} count[A]=2: A . D? A . A .", "001/010", "For the asset the run by hand has used up the first."),
    Named(DIFFERENCE, "by hand before the deadline", "deadline=2h otherwise=1: A D?@1 .@2 . B@3 .", "000/e01", "For the asset the wait is over, for the job nobody's batch was requested."),
    Named(DIFFERENCE, "a shared upstream begins no wait", "deadline=2h otherwise=1 keys=x,y shared=B: A/x B@0.1 . B@1 .@4 A/x@5 .", "x=101 y=000 / x=0e0 y=000", "It counts for every partition, and none of them waits for it; on the job path it is ignored."),
    Named(DIFFERENCE, "by hand, it is no request for a job", "pace=2h: A B . D?@1 A@1.1 B@1.2 .@2.1 .@3 .", "1010/1100", "On the job path it uses up nothing, and so it holds nothing."),

    Named(DIFFERENCE, "a failure that was asked for", "ended[A]=failure: (A fails) B . A B . .", "010/100", "On the job path an end of a run may be asked for; a materialization has none."),
    Named(DIFFERENCE, "done, however it ended", "ended[A]=canceled,failure,success: B (A canceled) . B (A fails) . B A . .", "0010/1110", "Each end of A is a completion of the job; the asset has one at last."),
    Named(DIFFERENCE, "a failure that is retried is no end", "ended[A]=failure: B (A fails, to be retried) . (A retried) . .", "010/000", "The retry is a run of its own, and it succeeds: the job has not failed."),
    Named(DIFFERENCE, "a retry that never comes", "ended[A]=failure: (A fails, to be retried)@0.1 B@0.9 .@0.95 .@1.099999 .@1.1 .", "0000/0010", "After an hour without its retry, the failure is the end, though much was read since."),
    Named(DIFFERENCE, "a failure seen late, of a clock that is behind", "ended[A]=failure,success: A B . B@2.5 .@2.55 (A fails)@2.6<0.4 .@2.7 B@5 .@5.1 (A fails)@5.2<1.5 .@5.3", "10000/10101", "A failure is found by the order in which it was stored, as a success is."),
    Named(DIFFERENCE, "a cancellation seen late", "ended[A]=canceled: B@2.5 .@2.55 (A canceled)@2.6<0.4 .@2.7", "00/01", "So is a cancellation."),
    Named(DIFFERENCE, "ends by key", "keys=x,y ended[A]=failure,success: (A fails)/x B/x B/y . A/y (A fails)/y . .", "x=000 y=010 / x=100 y=010", "How a run of one key ended says nothing of another."),
    Named(DIFFERENCE, "a failure, and its state was lost", "ended[A]=failure,success: (A fails) B . (lose state) . B (A fails) (lose state) . .", "0000/1010", "What a failure made is read back like any batch, and an unused failure is found again."),
    Named(DIFFERENCE, "a failure begins the wait", "deadline=2h otherwise=1 ended[A]=failure: (A fails) .@1.9 .@2 B . (A fails) .", "0000/0e10", "It waits, and is counted late, as a success does."),
    Named(DIFFERENCE, "the wait for a retry that never comes", "deadline=1.5h otherwise=1 ended[A]=failure: (A fails, to be retried) .@0.9 .@1.4 .@1.5 .", "0000/00e0", "Once it is the end, the wait began when it failed."),
    Named(DIFFERENCE, "a count of ends", "count[A]=2 ended[A]=failure,success: A (A fails) B . A .", "01/10", "Two ends of A, whichever."),
    Named(DIFFERENCE, "a count of new data versions", "count[A]=2 counts=changed: A A= B . A . B .", "010/100", "A rebuild without change is no part of it."),
    Named(DIFFERENCE, "a run that would not count", "counts=prod idle=yes: A B A+~ . A- . A+ . A- .", "0100/1000", "The sensor asks of a running run whether it would count; the asset waits for whatever runs."),
    Named(DIFFERENCE, "a rebuild without change", "counts=changed: A B . A= B . A . .", "1010/1100", "An asset's data version tells that nothing has changed; a run has none."),
    Named(DIFFERENCE, "the version before is older than the window", "counts=changed window=2h: A@0 B@0.01 A=@5 B@5.01 . A@5.5 .", "01/10", "What is compared is the version before, however old.", cold=True),
    Named(DIFFERENCE, "a rebuild of one key", "counts=changed keys=x,y: A/x B/x A/y B/y . A=/x B/x A/y B/y . .", "x=100 y=110 / x=110 y=110", "Each partition has its own version before."),
    Named(COUNTING, "a rebuild between two changes", "counts=changed: A . A= B . A= . (a materialized outside its job) . B .", "01001", "What counted before a rebuild counts still; a version reported from outside is another one."),

    Named(COUNTING, "a newer success hides no failure", "ended[A]=failure: (A fails) A B . .", "10", "A success that was not asked for is as if it had not been."),
    Named(COUNTING, "an end that was not asked for", "ended[A]=failure,success: (A canceled) B . A . .", "010", "It is no completion."),
    Named(COUNTING, "one's ends are not another's", "ended[A]=failure,success: (B fails) A . B . .", "010", "B's failure is none."),
    Named(COUNTING, "a retry is the end", "ended[A]=failure,success: B (A fails, to be retried) . (A retried) . .", "010", "The failure before it is none, and the retry's success is one."),
    Named(COUNTING, "a completion that does not count", "counts=prod: A~ B . A . A~ B . .", "0100", "It is as if it had not been."),
    Named(COUNTING, "it hides nothing older", "counts=prod: A A~ B . .", "10", "The newest that counts is the newest."),
    Named(COUNTING, "it unsettles nothing", "counts=prod settle=1h: A@0 B@0.01 A~@0.5 .@1.01 .@1.5", "10", "The quiet period goes by what counts."),
    Named(COUNTING, "what does not count, by key", "counts=prod keys=x,y: A~/x B/x A/y B/y . A/x . .", "x=010 y=100", "Each key by itself."),
    Named(COUNTING, "what does not count, after its state was lost", "counts=prod: A B A~ . (lose state) . B A~ . A .", "1001", "It is asked again, and the answer is the same."),
    Named(COUNTING, "older than what does not count, seen late", "counts=prod: B@1 A~@2 .@2.1 A@2.2<0.5 .@2.3", "01", "It ended before A~, which hides nothing."),
    Named(COUNTING, "a quorum of what counts", "{A,B,C} counts=prod when=2: A~ B . C~ . C . A .", "0010", "Two of three, of those that count."),
    Named(COUNTING, "what does not count begins no wait", "deadline=2h otherwise=1 counts=prod keys=x,y: A~/x A/y@0.1 A/x@1 .@2 .@2.2 .@3 .", "x=00e0 y=0e00", "The wait begins with the first that counts."),
    Named(COUNTING, "a count of what counts", "count[A]=2 counts=prod: A A~ B . A . A~ A B . A .", "0101", "What does not count is no part of a count."),
    Named(COUNTING, "no sooner than two hours, of what counts", "counts=prod pace=2h: A B . A~@0.5 B@0.6 .@2.2 A@2.3 . .", "1010", "Pace lets go what counts."),
    Named(COUNTING, "a run that went on, and does not count", "counts=prod: A+~ B . A- . A+ . A- .", "0001", "Asked of what it ended as."),

    Named(KEYS, "a day pairs with its own day only", "keys=mon,tue: A/mon . B/tue . B/mon . A/tue .", "mon=0010 tue=0001", "Halves of two days are no batch, however young; each day is one of its own."),
    Named(KEYS, "two days at one tick", "keys=mon,tue: A/mon A/tue B/tue B/mon . .", "mon=10 tue=10", "One request for each, and each request has its day."),
    Named(KEYS, "one day after the other at one tick", "keys=mon,tue: A/mon B/mon A/tue B/tue . .", "mon=10 tue=10", "What the one used says nothing of the other."),
    Named(KEYS, "a backfill of one day", "keys=mon,tue: A/mon B/mon . D!/mon A/tue B/tue .@24 D!/tue A/mon@50 . B/mon . .", "mon=10010 tue=01000", "Monday again on Wednesday: the backfill is a batch of Monday's, and Tuesday hears nothing."),
    Named(KEYS, "weekly, back in step without a window", "window=none keys=w1,w2: A/w1@0 B/w1@2 . D!/w1@3 B/w1@80 . A/w2@168 . B/w2@170 . .", "w1=10000 w2=00010", "Two weekly upstreams, one extra run: the key keeps the weeks apart at any age."),
    Named(KEYS, "a run without the key", "keys=x: A/x B . B/x . A . .", "x=0100", "A run that belongs to no key is ignored, and spoils nothing."),
    Named(KEYS, "the same key twice", "keys=x,y: A/x B/x . D!/x A/x . B/x . .", "x=1010 y=0000", "A key is not done for good: its second batch is requested like its first."),
    Named(KEYS, "held back by key", "keys=x,y overlap=no: A/x B/x . A/x B/x A/y B/y . D!/x . .", "x=1010 y=0100", "A running downstream holds back its own key alone."),
    Named(KEYS, "both keys run, one ends", "keys=x,y overlap=no: A/x A/y B/x B/y . A/x A/y B/y B/x . Dx/y . D!/x .", "x=1001 y=1010", "Each key waits for its own run, failed or not."),
    Named(KEYS, "held back while another key goes on", "keys=x,y overlap=no: A/x B/x . A/x@1 B/x@1.1 . A/y@2 . D!/x@3 . .", "x=10010 y=00000", "What waits for a run to end is not forgotten, though nothing more is heard of its key."),
    Named(KEYS, "state lost, by key", "keys=x,y: A/x B/x . A/y D!/x (lose state) . B/y . A/x B/x .", "x=1001 y=0010", "What was used is read back key by key."),
    Named(KEYS, "whole before its state was lost", "keys=x,y: A/y . A/x B/x (lose state) . B/y .", "x=010 y=001", "What no tick has seen is read at the first that knows nothing."),
    Named(KEYS, "one key is late, the other is not", "keys=x,y: A/x@0 A/y@10 B/x@25 B/y@25.05 . .", "x=00 y=10", "Each key's halves have their own ages."),
    Named(KEYS, "an upstream of the key is repaired", "keys=x,y: A/x A/y B/x (B fails)/y . B/y .", "x=10 y=01", "A failure of one key delays no other."),
    Named(KEYS, "a newcomer is asked of every key", "keys=x,y: A/x B/x A/y B/y C/y (C joins the set) . C/x . .", "x=010 y=100", "What it had completed for a key counts for that key."),
    Named(KEYS, "same name elsewhere, with the key", "keys=x: A/x (B elsewhere)/x . B/x .", "x=01", "Another code location's run is no completion, whatever key it carries."),
    Named(KEYS, "a quorum of one key", "{A,B,C} when=2 keys=x,y: A/x B/y . C/y . C/x .", "x=001 y=010", "Two of three, of the same key."),
    Named(KEYS, "settled key by key", "keys=x,y settle=1h: A/x@0 B/x@0.01 A/y@0.5 B/y@0.51 .@1.01 .@1.51 .", "x=100 y=010", "What still comes for one key keeps no other waiting."),

    Named(WINDOWS, "a calendar day", "window=day/America/New_York: A@6 . B@28 . .", "010", "From just after one midnight to just before the next: 22 hours, one day."),
    Named(WINDOWS, "half over midnight is not paired", "window=day/America/New_York: A@28 B@30 . A . .", "010", "Two hours apart, and two days: what a sliding day pairs, a calendar day does not."),
    Named(WINDOWS, "at midnight the batch is gone", "window=day/America/New_York: A@28 B@28.5 .@29 A@29.1 B@29.2 . A@52.9 B@52.95 .@52.999999", "011", "Midnight in New York is 5:00 in UTC in winter: the tick at midnight is of the new day."),
    Named(WINDOWS, "completed exactly at midnight", "window=day/America/New_York: A@29 B@30 . .", "10", "It is the new day's."),
    Named(WINDOWS, "the day of 23 hours", "start=2026-03-08 window=day/America/New_York: A@5 B@27.9 .@27.999999 A@27.999999 B@28 .", "10", "On 2026-03-08 New York's day is 23 hours: from 5:00 to 4:00 in UTC."),
    Named(WINDOWS, "the day of 25 hours", "start=2026-11-01 window=day/America/New_York: A@4 B@28.9 .@28.999999 .@29", "10", "On 2026-11-01 it is 25 hours: a pair 24.9 hours apart is one day's."),
    Named(WINDOWS, "the day after 25 hours", "start=2026-11-01 window=day/America/New_York: A@28.9 B@29.1 . A@30 . .", "010", "And then it is the next."),
    Named(WINDOWS, "seen after midnight", "window=day/America/New_York: B@29.01 A@29.04<0.05 . A . .", "010", "A completion is of the day on which its work ended."),
    Named(WINDOWS, "an upstream with a window of its own", "window[A]=6h: A@0 B@7 . A@8 . B@20 A@21 . .", "0110", "A must be younger than 6 hours, B than a day."),
    Named(WINDOWS, "an upstream without a window", "window[A]=none: A@0 B@1000 . . B . A .", "1001", "A's age does not matter; B's does, and each still counts once."),
    Named(WINDOWS, "a calendar day beside a sliding one", "window[B]=day/Europe/Berlin: A@10 B@22.5 .@23 B@23.1 . .", "010", "B is of yesterday at midnight in Berlin, while A is young enough until the next morning."),
    Named(WINDOWS, "a newcomer with a window of its own", "window[C]=1h: C@0 A@2 B@2.1 (C joins the set) . C . .", "010", "Its earlier completion is too old for its own window, though not for the others'."),
    Named(WINDOWS, "a day from six to six", "window=day/Europe/Berlin@06:00: A@4 . B@5 . A@28.9 . .", "0010", "Berlin's six o'clock is 5:00 in UTC: what came before is of another day."),
    Named(WINDOWS, "a day from six to six, of 23 hours", "start=2026-03-28 window=day/Europe/Berlin@06:00: A@5 B@27.9 .@27.999999 A@27.999999 B@28 . .", "100", "On the night of 2026-03-29 Berlin's clocks go forward."),
    Named(WINDOWS, "a day that starts at a time that is skipped", "start=2026-03-29 window=day/Europe/Berlin@02:30: A@0.9 B@1 . A@1.2 . .", "010", "Half past two never is: the day starts when the clocks have jumped to three."),
    Named(WINDOWS, "a day that starts at a time that comes twice", "start=2026-10-25 window=day/Europe/Berlin@02:30: A@0.4 B@0.6 . A@1.4 . .", "010", "It starts the first time that it is half past two."),
    Named(WINDOWS, "a day whose midnight is skipped", "start=2026-03-28 window=day/Asia/Beirut: A@21.9 B@22 . A@44.9 . .", "010", "Beirut's clocks jump from midnight to one: the day starts at one, and has 23 hours."),
    Named(WINDOWS, "the same hour", "window=hour/UTC: A@10.83 B@11.17 . A@11.5 .@11.999999 .", "010", "Twenty minutes apart, and two hours: only what is of the tick's own hour counts."),
    Named(WINDOWS, "an hour that comes twice", "start=2026-11-01 window=hour/America/New_York: A@5.1 B@6.9 . A@6.98 B@7 . .", "100", "From one to two, and once more from one to two, is one hour of two."),
    Named(WINDOWS, "hours of a zone that is half an hour off", "window=hour/Asia/Kolkata: A@0.6 B@1.4 . A@1.48 B@1.51 . .", "100", "India's hours start at half past in UTC."),
    Named(WINDOWS, "a calendar week", "window=week/UTC: A@1 B@167.9 . A@167.98 B@168 . .", "100", "From Monday to Sunday: what is of last week is no partner on Monday."),
    Named(WINDOWS, "a week that starts on Sunday", "window=week/UTC@sunday: A@1 B@143.9 . A@143.98 B@144 . .", "100", "The same a day earlier."),
    Named(WINDOWS, "a calendar month", "window=month/Europe/Berlin: A@0 B@646.9 . A@646.98 B@647 . .", "100", "Berlin's February starts at 23:00 of 31 January in UTC."),
    Named(WINDOWS, "weeks, key by key", "keys=x,y window=week/UTC: A/x@1 A/y@100 B/y@167 . B/x@168.5 . A/x . .", "x=0010 y=1000", "On Monday the half of last week is none of this one, whatever its key."),
    Named(WINDOWS, "a month after its state was lost", "window=month/UTC: A@0 B@1 . A@500 (lose state) . B@600 .", "101", "What the month has seen, used or not, is read again."),

    Named(QUORUM, "two of three", "{A,B,C} when=2: A . B . . C . A .", "01001", "Fires with the second; the third counts for the next batch."),
    Named(QUORUM, "all three at one tick are one batch", "{A,B,C} when=2: A B C . . A . C .", "1001", "The third is used up with the two."),
    Named(QUORUM, "two of three, in the window", "{A,B,C} when=2: A@0 B@25 . C@26 . A . .", "0100", "The stale one is none of the two."),
    Named(QUORUM, "optional and absent", "{A,B,C} when=A&B: A . B . A B . .", "0110", "C need not be there."),
    Named(QUORUM, "optional and present", "{A,B,C} when=A&B: C A . B . C . A B . .", "01010", "And it is no reason to fire when it is."),
    Named(QUORUM, "one and either of two", "{A,B,C} when=A&(B|C): B . C . A . A . C . .", "001010", "Whichever of B and C comes, and both are used up."),
    Named(QUORUM, "one without the other", "when=A&~B: A . B . A . B@30 A@54 . .", "10010", "A fires unless B is there; B stops being there when it is too old."),
    Named(QUORUM, "any upstream", "{A,B,C} when=A|B|C: A . B C . . (A fails) .", "1100", "Each tick with news fires, and nothing never does."),
    Named(QUORUM, "a newcomer in a quorum", "when=2: A . (C joins the set) . C . B .", "0010", "It is one of the set from then on."),
    Named(QUORUM, "a quorum after its state was lost", "{A,B,C} when=2: A B . C (lose state) . A . .", "1010", "The third's completion is still there, the other two are still used."),
    Named(QUORUM, "a quorum held back", "{A,B,C} when=2 overlap=no: A B . C A . B . D! . .", "10010", "What came while D ran is one batch."),

    Named(SETTLING, "a burst", "settle=1h: A@0 B@0.01 .@0.5 A@0.6 . B@1.2 .@1.61 .@2.2 .", "00010", "One request when the last of a burst has been quiet for an hour."),
    Named(SETTLING, "either of two, settled", "when=A|B settle=1h: A@0 .@0.5 .@1 B@1.5 .@2 .@2.5", "0101", "One of them is enough, and is waited for as well."),
    Named(SETTLING, "exactly settled", "settle=1h: A@0 B@1 .@1.999999 .@2", "01", "An hour is an hour."),
    Named(SETTLING, "settled before it is too old", "window=2h settle=1h: A@0 B@0.9 .@1.8 .@1.9 A@4 B@5.1 .@6.05 .@6.1", "0100", "Settled halves must still be young: the second pair never is."),
    Named(SETTLING, "what was used holds back, too", "settle=1h: A@0 B@0.01 .@1.01 A@1.1 B@1.5 .@2.2 .@2.5", "101" , "The next burst counts from its own last completion."),
    Named(SETTLING, "one upstream chatters", "settle=1h: B@0 A@1 .@1.5 A@1.9 .@2.5 A@2.8 .@3.5 .@3.8", "0001", "The other has long settled; the batch waits for both."),
    Named(SETTLING, "a running upstream", "{A,B,C} when=A&B idle=yes: A+ A- C+ B . C- . .", "010", "C need not be there, and is at work all the same: the batch waits for its end."),
    Named(SETTLING, "a running upstream in the midst", "idle=yes: A B A+ . . A- . .", "0010", "The repeat is part of the batch, since nothing fires while it runs."),
    Named(SETTLING, "an older run of an upstream", "idle=yes: A B+ B . B- .", "01", "A newer one has ended; the older one is still at work."),
    Named(SETTLING, "idle and settled", "idle=yes settle=1h: A@0 B@0.01 A+@0.5 .@1.5 A-@2 .@2.5 .@3 .", "0010", "First it ends, then it is quiet for an hour."),
    Named(SETTLING, "settled after its state was lost", "settle=1h: A@0 B@0.01 .@1.01 A@1.1 B@1.2 (lose state) .@1.5 .@2.2 .", "1010", "What has settled is read from the facts, and not remembered."),

    Named(PACE, "no sooner than two hours", "pace=2h: A@0 B@0.01 .@0.05 A@1 B@1.01 .@1.1 .@2.049999 .@2.05 .", "10010", "The second batch is held until two hours after the first was requested, exactly."),
    Named(PACE, "a held batch collapses", "pace=6h: A B . A B . A@3 . B@5 .@6.1 . A . B@12.1 .", "1001001", "What comes while it is held is part of it."),
    Named(PACE, "once a day does not drift", "pace=day/UTC: A B . A@20 B@20.1 .@23.999999 .@24 . A B . .@48 .", "1010010", "At midnight, whenever it was requested the day before."),
    Named(PACE, "once an hour", "pace=hour/UTC: A@0.5 B@0.51 .@0.55 A@0.6 B@0.7 .@0.8 .@1 A@1.1 B@1.2 .@1.5 .@2 .", "101010", "One request in each hour of the clock."),
    Named(PACE, "once a day, from six", "pace=day/Europe/Berlin@06:00: A@4 B@4.1 . A@5 B@5.1 . A@6 B . .@28.999999 .@29", "11001", "Two requests an hour apart are of two days; the third waits for the next six o'clock."),
    Named(PACE, "held until it is too old", "window=6h pace=day/UTC: A@1 B@1.1 .@2 A@10 B@10.1 .@12 .@16 .@24 A@24.5 . B . .", "1000010", "A held batch grows old like any other."),
    Named(PACE, "once a month, of day-old completions", "pace=month/UTC: A B . (lose state)@400 A@401 B@401.1 . .@425 A@648 B@648.1 . . A@700 B .", "100100", "The last request is found though it is much older than any completion that counts."),
    Named(PACE, "a key that was long forgotten", "keys=x,y pace=week/UTC: A/x B/x . A/y@50 B/y . A/x@60 B/x . . A/x@168 . B/x . .", "x=1000010 y=0100000", "Nothing else is remembered of the key; its last request still holds."),
    Named(PACE, "a key that was long forgotten, after its state was lost", "keys=x,y pace=week/UTC: A/x B/x . A/y@50 B/y . (lose state) A/x@60 B/x . . A/x@168 . B/x . .", "x=1000010 y=0100000", "A request of another key since is not taken for its own."),
    Named(PACE, "by hand, long before its state was lost", "manual_runs=consume pace=month/UTC: A B D? . (lose state)@400 A B@401.1 . A@648 B@648.1 . .", "0010", "A run by hand is found again as far back as pace asks for."),
    Named(PACE, "pace, key by key", "keys=x,y pace=2h: A/x B/x . A/y@1 B/y . A/x B/x . .@2.1 .@3.05", "x=10010 y=01000", "A request of one key holds no other."),
    Named(PACE, "pace after its state was lost", "pace=6h: A B . A B (lose state) . .@6.1 . A@7 B (lose state) . .@12.1", "101001", "When the last batch was requested is read back, too."),
    Named(PACE, "pace after an upstream has left", "{A,B,C} when=1 pace=6h: C . (C leaves the set) A . .@6.05 .", "1010", "The last request was of an upstream that is no longer in the set, and holds all the same."),
    Named(PACE, "by hand, it counts as a request", "manual_runs=consume pace=2h: A B . D?@1 A@1.1 B@1.2 .@2.1 .@3 .", "1010", "What uses up a batch is followed no sooner."),
    Named(PACE, "pace and settling", "pace=2h settle=1h: A@0 B@0.1 .@1.1 A@2 B@2.5 .@3.1 .@3.5 .", "1010", "It waits for both."),
    Named(PACE, "pace and a running downstream", "overlap=no pace=2h: A B . A@1 B@1.1 .@2.1 D!@3 . . A B . D!@5 .@5.049999 .@5.05", "1010001", "It waits for the end of the run, and then for its pace."),
    Named(PACE, "pace of an expression", "when=A&~B pace=2h: A . A . .@2.05 . B .", "10100", "Whatever makes the batch."),
    Named(PACE, "not before nine", "notbefore=09:00/UTC: A@7 B@8 .@8.5 .@8.999999 .@9 . A@10 B . .", "001010", "Complete in the night, it is requested at nine; complete later in the day, at once."),
    Named(PACE, "the evening is not the night", "notbefore=09:00/Europe/Berlin: A@20 B@21 . A@22.9 B@22.95 .@22.999999 A@22.999999 B@23 .@23 . .@32 .", "110010", "Berlin's midnight is 23:00 in UTC: until then it goes at once, from then on at nine."),
    Named(PACE, "too old by nine", "window=10h notbefore=09:00/UTC: A@22 B@24.5 .@25 .@33 A . .", "0010", "The half of the evening before is too old in the morning."),
    Named(PACE, "not before a time that is skipped", "start=2026-03-29 notbefore=02:30/Europe/Berlin: A@0.1 B@0.2 .@0.999999 .@1 .", "010", "Half past two never is: it is requested when the clocks have jumped to three."),
    Named(PACE, "not before a time that comes twice", "start=2026-10-25 notbefore=02:30/Europe/Berlin: A@0.1 B@0.2 .@0.499999 .@0.5 .", "010", "It is requested the first time that it is half past two."),
    Named(PACE, "once a day, and not before six", "pace=day/UTC notbefore=06:00/UTC: A@7 B@7.1 . A@8 B@8.1 . .@24 .@29.999999 .@30 .", "100010", "The day is new at midnight, and begins at six."),
    Named(PACE, "the run ends in the night", "overlap=no notbefore=09:00/UTC: A@10 B@10.1 . A@20 B@20.1 .@22 D!@26 . .@33 .", "10010", "What waited in the evening for a run to end waits for the morning when it has."),
    Named(PACE, "an early request is held, and does not count", "pace=6h deadline=2h otherwise=1: A B . A@1 .@3 .@6.099999 .@6.1 B@7 . .", "100e10", "Past its deadline it waits for its pace as any batch; the whole one that follows need not wait for another six hours."),
    Named(PACE, "an early request in the morning", "notbefore=09:00/UTC deadline=2h otherwise=1: A@5 .@7 .@8.999999 .@9 B .", "00e1", "The deadline passes in the night, and its request comes at nine."),
    Named(PACE, "past its deadline it need not settle, but is held", "pace=6h settle=2h deadline=3h: A@0 B@2 .@2.9 .@3 A@4 B@6.9 .@7 .@8.999999 .@9 .", "010010", "A deadline ends the wait for a quiet period, not that for its pace."),
    Named(PACE, "held early requests, key by key", "keys=x,y pace=6h deadline=2h otherwise=1: A/x B/x . A/x@1 A/y@1.1 .@3.1 .@6.1 .", "x=10e0 y=0e00", "The key that has its deadline and no request behind it goes at once."),
    Named(PACE, "a held early request, and its state lost", "pace=6h deadline=2h otherwise=1: A B . A@1 (lose state) .@3 (lose state) .@6.1 (lose state) . B . (lose state) .", "10e010", "The whole request and the early one are both read back."),
    Named(PACE, "not before nine, key by key", "keys=x,y notbefore=09:00/UTC: A/x@7 B/x . A/y@8 .@9 B/y . .", "x=0100 y=0010", "Each key is held in the morning by itself."),

    Named(COUNT, "three of one, one of the other", "count[A]=3: A A . B . A . . A .", "00100", "A is ready with its third completion."),
    Named(COUNT, "three of one upstream alone", "{A} count[A]=3: A . A . A . . A . A . A .", "0010001", "And after three more again."),
    Named(COUNT, "more than the count", "count[A]=2: A A A A . B . A . B . A .", "01001", "The request uses up what its tick knew, also above the number."),
    Named(COUNT, "all at one tick", "{A} count[A]=3: A A A A A . . A A . A .", "1001", "Five at one tick are one batch."),
    Named(COUNT, "an old one is none of them", "count[A]=3: A@0 A@12 B@20 A@24.5 .@24.6 A@25 . .", "010", "All of them must be inside the window."),
    Named(COUNT, "exactly as old as the window", "{A} count[A]=2: A@1 A@24.9 .@25 A@25.1 .@48.899999 .@48.9", "010", "The first is too old at exactly 24 hours; so the third makes two."),
    Named(COUNT, "a count grows old while it waits", "count[A]=2: A@0 A@10 .@11 B@24.5 .@24.6 A@25 .", "001", "Ready at 10 hours, not at 24, when the other comes, and again with the next."),
    Named(COUNT, "a count in an hour", "window=1h {A} count[A]=3: A@0 A@0.9 A@1.5 .@1.6 A@1.8 .@1.85 .", "010", "The window slides: three in an hour, whichever hour."),
    Named(COUNT, "a count of a calendar day", "window=day/America/New_York {A} count[A]=3: A@6 A@7 A@28 .@28.9 A@29.5 A@30 .@31 A@32 .", "101", "Midnight in New York begins the count anew."),
    Named(COUNT, "two counts", "count[A]=2 count[B]=2: A B . A . B . A A B . B .", "00101", "Each has its own."),
    Named(COUNT, "a count over a lost state", "{A} count[A]=3: A A . (lose state) A . (lose state) A A . (lose state) . A .", "01001", "What came before the state was lost is counted, and what was used is not."),
    Named(COUNT, "the state is lost while a count waits for the other", "count[A]=2: A A . (lose state) . B . (lose state) A . B . A .", "001001", "All of it is read again."),
    Named(COUNT, "a count while D runs", "{A} count[A]=2 overlap=no: A A . A A A . D! . A . A D! .", "10101", "What came meanwhile is one batch, and what is left over is used up with it."),
    Named(COUNT, "a failed run does not count", "{A} count[A]=2: A (A fails) . A .", "01", "Only completions are counted."),
    Named(COUNT, "counted though seen late", "{A} count[A]=3: A@1 A@2 .@2.1 A@3.1<2.5 .@3.2 .", "010", "A completion that becomes visible later and ended before the others is one of them."),
    Named(COUNT, "older than what was used", "{A} count[A]=2: A@1 A@2 .@2.1 A@3.1<2.5 A@3.15 .@3.2 A@3.3 .", "101", "What ended before a used one does not count, whenever it is seen."),
    Named(COUNT, "any age", "window=none {A} count[A]=3: A@0 A@100 .@101 A@1000 . . (lose state) .", "0100", "Without a window the first waits for ever."),
    Named(COUNT, "a count in a quorum", "{A,B,C} when=2 count[A]=2: A B . A . C A . A .", "0101", "An upstream with too few is none of the two; it is used up with them all the same."),
    Named(COUNT, "an optional upstream with a count", "{A,B,C} when=A&B count[C]=2: A B C . C . A B .", "101", "It need not be ready."),
    Named(COUNT, "settled with a count", "settle=1h {A} count[A]=2: A@0 A@0.5 .@1 .@1.5 A@2 .@3.1 A@3.2 .@4.2", "0101", "The last of them begins the quiet hour."),
    Named(COUNT, "counted by key", "keys=x,y count[A]=2: A/x A/y B/x B/y . A/x . A/y . .", "x=0100 y=0010", "One of each is no two of either."),
    Named(COUNT, "counted by key, its state lost", "keys=x,y count[A]=2: A/x B/x . A/y (lose state) A/x . B/y (lose state) A/y . . A/x .", "x=01000 y=00100", "The count of each key is read again."),

    Named(HAND, "a half batch is let go", "A . D~ . B . A .", "0001", "What is let go is used up: it waits for nothing, and the next batch is whole."),
    Named(HAND, "let go before anything came", "D~ . A B . .", "010", "What comes after it counts."),
    Named(HAND, "let go and state lost", "A . D~ (lose state) B . A . (lose state) .", "0010", "It is read back like a request."),
    Named(HAND, "a whole batch is let go before a tick", "A B D~ . . A . B .", "0001", "Nothing is left of it to request."),
    Named(HAND, "let go while D runs", "overlap=no: A B . A B . D~ . D! . A B .", "10001", "What waits for D's end is not requested any more."),
    Named(HAND, "let go, whatever runs by hand do", "manual_runs=consume: A . D~ . B . A .", "0001", "It is the same where a run by hand uses up, too."),
    Named(HAND, "let go twice", "A . D~ B . D~ A . B .", "0001", "Each lets go what came before it."),
    Named(HAND, "one key is let go", "keys=x,y: A/x A/y D~/x . B/x B/y . A/x .", "x=001 y=010", "And no other."),
    Named(HAND, "one key is let go, its state lost", "keys=x,y: A/x A/y . D~/y (lose state) B/x B/y . (lose state) A/y .", "x=010 y=001", "Each is read back by itself."),
    Named(HAND, "let go in the midst of a count", "count[A]=3: A A D~ A B . A . A .", "001", "The count begins anew."),
    Named(HAND, "let go by a quorum's rest", "{A,B,C} when=2: A B . C D~ . A . B .", "1001", "What a met quorum left over is let go, too."),
    Named(HAND, "let go after it had settled", "settle=1h: A@0 B@0.1 D~@0.5 .@1.2 A@1.3 B@1.4 .@2.5", "01", "Settled or not, it is used up."),
    Named(HAND, "let go, and seen late", "A@1 .@1.1 D~@2 B@3 .@3.05 A@3.1 .@3.2", "001", "The A before it is used up, the A after it is not."),

    Named(DEADLINES, "past the deadline with what is there", "deadline=2h otherwise=1: A .@1.999 .@2 .@2.5 B@3 .", "0e01", "An early request at exactly two hours, once; it uses up nothing, so that the whole batch follows."),
    Named(DEADLINES, "nothing is enough past the deadline", "deadline=2h: A .@2 .@3 B@3.1 .", "001", "Without otherwise, the deadline requests nothing: it is told."),
    Named(DEADLINES, "nothing came at all", "deadline=2h otherwise=1: .@1 .@30 .", "000", "No wait, no deadline."),
    Named(DEADLINES, "complete at the same tick as the deadline", "deadline=2h otherwise=1: A B@2 .@2 .", "10", "It is whole, and nothing is early."),
    Named(DEADLINES, "the evaluator was off at the deadline", "deadline=2h otherwise=1: A .@10 .", "e0", "What is past its deadline is past it at the first tick."),
    Named(DEADLINES, "one early request in a wait", "{A,B,C} deadline=2h otherwise=1: A .@2 A@3 .@5.5 C@6 .@9 B .", "e001", "What comes later is of the same wait, until all are there."),
    Named(DEADLINES, "another wait, another early request", "deadline=2h otherwise=1: A .@2 A@24.5 .@26 .@26.5 .", "e0e0", "The first A is too old, and the wait that is now began with the second, after the early request."),
    Named(DEADLINES, "the wait begins with the oldest", "{A,B,C} deadline=2h otherwise=A&B: A A@1.5 B@1.9 .@1.999 .@2 .", "0e0", "A repeat does not begin it anew."),
    Named(DEADLINES, "a whole batch ends the wait", "deadline=2h otherwise=1: A A@0.5 B@1 . A@1.5 .@2.5 .@3.5 .", "10e0", "What came before the batch is used up with it; the next wait begins after it."),
    Named(DEADLINES, "a late one that is seen late", "deadline=2h otherwise=1: A@3.5<2 .@3.5 .@3.6 .", "e00", "The wait began when the work had ended."),
    Named(DEADLINES, "past the deadline it need not settle", "settle=1h deadline=2h: A B@1.5 .@1.999 .@2 .", "010", "A quiet period holds a batch no longer than to its deadline."),
    Named(DEADLINES, "past the deadline no running upstream holds it", "deadline=2h idle=yes: A A+@0.5 B@1 .@1.999 .@2 A- .", "010", "Nor does a run of an upstream."),
    Named(DEADLINES, "its own run holds it past the deadline", "deadline=2h otherwise=1 overlap=no: A B . A@1 .@3.5 D!@4 . Dx B .", "10e1", "The downstream's own run does; and an early request that failed has been made."),
    Named(DEADLINES, "otherwise an expression", "{A,B,C} window[B]=3h deadline=2h otherwise=A&~B: A B@0.5 .@2 .@3.5 .", "0e0", "B is there, and so it is not enough; then B is too old."),
    Named(DEADLINES, "otherwise another than came", "{A,B,C} deadline=2h otherwise=A|B: C .@2 B@3 . A .", "0e1", "C waits for more than its deadline; B is enough as soon as it comes."),
    Named(DEADLINES, "an optional upstream begins no wait", "{A,B,C} when=A&B deadline=2h otherwise=A|C: C .@3 A@4 .@5.9 .@6 B .", "00e1", "The wait is that for A and B."),
    Named(DEADLINES, "what a met quorum left over begins no wait", "{A,B,C} when=2 deadline=2h otherwise=1: A B@0.1 . C@1 .@5 C@30 .@31.9 .@32 .", "100e0", "The third came too late for the two; a day later it is the first of the next."),
    Named(DEADLINES, "an early request, and its state lost", "deadline=2h otherwise=1: A .@2 (lose state) . .@5 B .", "e001", "That it was made is read back."),
    Named(DEADLINES, "a newcomer's earlier completion begins the wait", "deadline=2h otherwise=1: C . (C joins the set) .@1.9 .@2 A B .", "00e1", "No batch has used it."),
    Named(DEADLINES, "at midnight the wait is over", "window=day/America/New_York deadline=2h otherwise=1: A@28 .@29 .@30 .", "000", "What waited is of yesterday, and nothing is there."),
    Named(DEADLINES, "by nine", "deadline=09:00/Europe/Berlin otherwise=1: A@6 .@7.999999 .@8 B@8.5 . .@32 .", "0e100", "Nine in Berlin is eight in UTC in winter."),
    Named(DEADLINES, "begun after nine", "deadline=09:00/Europe/Berlin otherwise=1: A@9 .@12 .@31.999999 .@32 .", "00e0", "What comes after nine has until nine on the next day."),
    Named(DEADLINES, "a re-run after today's batch", "window=36h deadline=09:00/Europe/Berlin otherwise=1: A@0.9 B@1 . A@2 .@8.1 .@31.9 .@32 .", "100e0", "Today had its batch, so that the re-run has until tomorrow."),
    Named(DEADLINES, "yesterday's late batch", "deadline=09:00/Europe/Berlin otherwise=1: A@20 B@20.1 . A@30 .@31.9 .@32 .", "10e0", "It does not stand for today's."),
    Named(DEADLINES, "days that had their batch", "window=none deadline=09:00/UTC otherwise=1: A@7 B . C@8 A@30 B . (C joins the set) . .@56.999999 .@57 .", "1100e0", "C is older than both batches, and its deadline is on the first day without one."),
    Named(DEADLINES, "a day between that had none", "window=none deadline=09:00/UTC otherwise=1: A@7 B . C@8 A@54 B . (C joins the set) . .", "11e0", "The deadline of C was on the second day, whatever was requested on the third."),
    Named(DEADLINES, "a deadline that the clocks skip", "start=2026-03-29 deadline=02:30/Europe/Berlin otherwise=1: A .@0.999999 .@1 .@1.5 .", "0e00", "Half past two is skipped: the deadline is three."),
    Named(DEADLINES, "a deadline that comes twice", "start=2026-10-25 deadline=02:30/Europe/Berlin otherwise=1: A@0.1 .@0.499999 .@0.5 .@1.5 .", "0e00", "It is the first of the two."),
    Named(DEADLINES, "each key has its own deadline", "deadline=2h otherwise=1 keys=x,y: A/x B/y@1 .@2 .@3 B/x . A/y .", "x=e010 y=0e01", "One key's wait says nothing of another's."),
    Named(DEADLINES, "a day has until it is over", "window=48h deadline=2h otherwise=1 keys=mon,tue daily=yes: A/mon@1 .@4 A/tue@25 .@25.9 .@26 .@27 B/mon@28 .", "mon=00e01 tue=00000", "A time partition's deadline counts from its end."),
    Named(DEADLINES, "a day that began late", "window=48h deadline=2h otherwise=1 keys=mon,tue daily=yes: A/mon@30 .@31.9 .@32 .", "mon=0e0 tue=000", "Or from its first completion, if that is later."),
    Named(DEADLINES, "a day that is repaired", "window=48h deadline=2h otherwise=1 keys=mon daily=yes: A/mon@1 B/mon@2 . A/mon@30 .@40 (lose state) . B/mon .", "mon=1001", "It was requested, so what comes later is a repair and has no deadline."),
    Named(DEADLINES, "a day that was requested early and is repaired", "window=48h deadline=2h otherwise=1 keys=mon daily=yes: A/mon@1 .@26 A/mon@80 .@90 (lose state) . B/mon .", "mon=e001", "Requested early is requested, too."),
    Named(DEADLINES, "a day has until nine", "window=48h deadline=09:00/Europe/Berlin otherwise=1 keys=mon daily=yes: A/mon@1 .@8.1 .@31.9 .@32 .", "mon=00e0", "The first nine after its end."),
    Named(DEADLINES, "the oldest leaves its wait", "deadline=10h otherwise=1: A .@10 A@20 .@20.1 .@29.9 .@30 .", "e00e0", "When the first A is too old, the wait is that of the second, with a deadline of its own."),
    Named(DEADLINES, "a day that was requested long ago", "deadline=2h otherwise=1 keys=mon daily=yes: A/mon@1 B/mon@2 . A/mon@100 (lose state) .@103 B/mon .", "mon=101", "Longer ago than any window: it is a repair all the same."),

    Named(ROLLUP, "a key once its partitions are there", "rollup[A]=3: A:1 . B A:3 . A:2 . .", "0010", "Each of the three must be there, in whatever order."),
    Named(ROLLUP, "one partition is repaired", "rollup[A]=2: A:1 A:2 B . A:1 . B . .", "1010", "All are there and one is new; it waits for something new of B."),
    Named(ROLLUP, "one partition alone, again and again", "rollup[A]=2: A:1 B . A:1 A:1 . B .", "000", "Two of the first are no second."),
    Named(ROLLUP, "partitions of any age", "rollup[A]=2: A:1 A:2@30 B .@31 A:1@31.1 .", "10", "One of them is to be new; the others may be older than the window."),
    Named(ROLLUP, "partitions of any age, the state lost", "rollup[A]=3 keys=x: A:1/x A:2/x@40 . (lose state) A:3/x@80 (lose state) B/x . .", "x=010", "However old, they are read again."),
    Named(ROLLUP, "a key of any age is forgotten in between", "rollup[A]=2 keys=x: A:1/x A:2/x B/x . .@50 A:2/x@100 B/x . .", "x=1010", "What is forgotten is read again when something new comes."),
    Named(ROLLUP, "no partition is young", "rollup[A]=2: A:1 A:2 .@24.05 B . A:2 .", "001", "Whole, and nothing new inside the window."),
    Named(ROLLUP, "a partition that comes late", "{A,B,C} when=B rollup[A]=2: A:1@1 B . A:2@1.2<0.5 .@1.3 B .", "101", "What was not there when the first was used is used with the next."),
    Named(ROLLUP, "a late clock's partition is new", "rollup[A]=2: A:1@1 A:2@2 B@2.1 .@2.2 A:1@2.3<0.8 B@2.4 .@2.5 .", "110", "It is newer than the first that was used, whatever was used of the second."),
    Named(ROLLUP, "a late clock's partition is old", "rollup[A]=2: A:1@1 A:2@2 B@2.1 .@2.2 A:2@2.3<0.8 B@2.4 .@2.5 .", "100", "It is older than the second that was used."),
    Named(ROLLUP, "late, and its state lost", "rollup[A]=2: A:1@1 A:2@2 B@2.1 .@2.2 (lose state) A:1<0.8 B@2.4 .@2.5 (lose state) .", "110", "How far each was used is read back from the request."),
    Named(ROLLUP, "two rollups", "rollup[A]=2 rollup[B]=3: A:1 A:2 B:1 B:3 . B:2 . A:1 . B:1 .", "0101", "Each is whole by itself."),
    Named(ROLLUP, "a rollup by key", "rollup[A]=2 keys=x,y: A:1/x A:2/y B/x B/y . A:1/y . A:2/x . . A:2/y . (lose state) B/y .", "x=001000 y=010001", "A partition of one key says nothing of another's."),
    Named(ROLLUP, "a rollup of days", "window=48h rollup[A]=3 keys=mon,tue daily=yes: A:1/mon@8 A:2/mon@16 A:1/tue@32 . A:3/mon@33 B/mon . B/tue A:3/tue@49 . A:2/tue .", "mon=0100 tue=0001", "By the time that they lie in."),
    Named(ROLLUP, "a failed partition is repaired", "rollup[A]=2: A:1 (A fails):2 B . A:2 .", "01", "Only a completion is there."),
    Named(ROLLUP, "a rollup while D runs", "rollup[A]=2 overlap=no: A:1 A:2 B . A:1 B . D! . A:2 . D! .", "10100", "What came meanwhile is of the next batch; one partition alone waits for B."),
    Named(ROLLUP, "a rollup that is let go", "rollup[A]=2: A:1 A:2 . D~ B . A:1 .", "001", "What is let go stays there, and one is to be new."),
    Named(ROLLUP, "rolled up, and used by hand", "rollup[A]=2 manual_runs=consume: A:1 A:2 D? B . A:2 .", "01", "A run by hand uses up every partition."),
    Named(ROLLUP, "nothing new of a rollup", "rollup[A]=2: A:1 A:2 B . B . A:1 .", "101", "All of it is there, and waits for one that is made again."),
    Named(ROLLUP, "an optional rollup", "{A,B,C} when=A&B rollup[C]=2: C:1 A B . C:2 . A B . C:1 A B .", "1011", "Ready or not, all that is known of it is used."),
    Named(ROLLUP, "a rollup in a quorum", "{A,B,C} when=2 rollup[A]=2: A:1 B . A:2 . C .", "010", "It is one of the two once it is whole."),
    Named(ROLLUP, "a rollup that settles", "rollup[A]=2 settle=1h: A:1 A:2@0.5 B .@1.4 .@1.6", "01", "The last of its partitions begins the quiet hour."),
    Named(ROLLUP, "a rollup no sooner than", "rollup[A]=2 pace=6h: A:1 A:2 B . A:1@1 B .@5 .@6.5", "101", "A repair waits for its time."),
    Named(ROLLUP, "an hour of 24 begins the wait", "rollup[A]=3 deadline=2h otherwise=B: A:1@1 .@2.9 .@3 B@3.1 .@3.2 A:2 A:3 . .", "00e10", "Ready or not, the oldest of its partitions begins it."),
    Named(ROLLUP, "some may be missing past the deadline", "rollup[A]=3 missing=1 deadline=2h: A:1 A:2 B .@1.999 .@2 .@2.5 A:3 . .", "0e010", "An early request, which uses up nothing: whole, it is requested again."),
    Named(ROLLUP, "more are missing than may be", "rollup[A]=3 missing=1 deadline=2h: A:1 B .@2 A:3@3 . . A:2 .", "0e01", "As soon as no more are missing than may be."),
    Named(ROLLUP, "all of the others must be there", "{A,B,C} rollup[A]=2 missing=1 deadline=2h: A:1 B .@2 C . A:2 .", "0e1", "Partitions may be missing; an upstream may not."),
    Named(ROLLUP, "some may be missing, or something else is enough", "{A,B,C} rollup[A]=3 missing=1 deadline=2h otherwise=A: A:1 .@2 A:2 . B C . A:3 .", "0e01", "What is enough past the deadline is asked of what is ready then."),
    Named(ROLLUP, "what is missing is of another request", "rollup[A]=2 missing=1 deadline=2h: A:2 B .@2 A:2@2.5 .@5 A:1 .", "e01", "Of a wait there is one early request."),
    Named(ROLLUP, "an early rollup, its state lost", "rollup[A]=3 missing=1 deadline=2h: A:1 A:2 B .@2 (lose state) . A:3 (lose state) . .", "e010", "That it was made is read back."),
    Named(ROLLUP, "some of a day may be missing", "window=48h rollup[A]=3 missing=1 deadline=2h keys=mon daily=yes: A:1/mon@8 A:2/mon@16 B/mon .@25.9 .@26 A:3/mon@30 . A:1/mon@31 B/mon .", "mon=0e11", "From two hours after its end."),
    Named(ROLLUP, "a young one is to be there past the deadline", "rollup[A]=3 missing=1 deadline=2h: A:1 A:2@1 .@25.05 B .@27.2 A:1@28 .", "00e", "Nothing of A is inside the window; then something is."),
)
