"""The named timelines over graphs: each with what is right, and the sentence that says why.

``fires`` is written by hand, and held against the referee and against the condition.
"""

from dataclasses import dataclass

from tests.graphs.notation import GraphTimeline, Requests, parse, read_requests

LAUNCH = "one launch"
OVER = "over, started, given back"
AGAIN = "re-executions and order"
PARTS = "parts of an expression"
MAPPED = "mappings and sources"
ROLLED = "rollups"
MANY = "many downstreams"
HELD = "held back"
COUNT = "counts"
HAND = "let go by hand"
LATE = "deadlines"
PACE = "pace"


@dataclass(frozen=True)
class Named:
    """A timeline over a graph worth a name."""

    group: str
    name: str
    text: str
    fires: str
    why: str

    @property
    def timeline(self) -> GraphTimeline:
        return parse(self.text)

    @property
    def expected(self) -> Requests:
        timeline = self.timeline
        return read_requests(self.fires, timeline.graph)


# fmt: off
# ruff: noqa: E501 (one line of data each)
NAMED = (
    # --- a run, or a backfill, that holds an upstream and its downstream ---------------------
    Named(LAUNCH, "one run makes all three", "d(a, b) = all >> [a b d] . .", "00", "What the run completed before it made d is used up by it, though it planned d first."),
    Named(LAUNCH, "the run goes on", "d(a, b) = all >> 1[a b d] . 1+a . 1+b . 1! . .", "00000", "While the run still has d to make, what it completed is nobody else's."),
    Named(LAUNCH, "a chain in one run", "s(a) = all; t(s) = all; d(t) = all >> 1[a s t d] 1+a . 1+s . 1+t . 1! . .", "00000", "No link asks for the next while the run goes on, nor after it."),
    Named(LAUNCH, "a chain link by link", "s(a) = all; t(s) = all; d(t) = all >> a . s! . t! . d! . .", "s=10000 t=01000 d=00100", "Each link follows the one before, once."),
    Named(LAUNCH, "a diamond in one run", "b(a) = all; c(a) = all; d(b, c) = all >> [a b c d] . a . b! . d! . .", "b=01000 c=01000 d=00100", "Nothing after the joint run; then b and c share a tick, and a run."),
    Named(LAUNCH, "a shortcut", "b(a) = all; d(a, b) = all >> a . b! . d! . .", "b=1000 d=0100", "d needs both a and what is made of it."),
    Named(LAUNCH, "a shortcut at one tick", "b(a) = all; d(a, b) = all >> a . b! a . d! . .", "b=1100 d=0100", "Both are ready: Dagster makes b and d in one run, and the b of that run is used up."),
    Named(LAUNCH, "joint, then apart", "d(a, b) = all >> [a b d] . a . b . .", "0010", "The next batch is whole with what comes after."),
    Named(LAUNCH, "a half before the joint run", "d(a, b) = all >> a . [b d] . b . a .", "0001", "A run by hand uses up the half that came before it."),
    Named(LAUNCH, "an upstream completes beside the joint run", "d(a, b, c) = all >> 1[a b d] 1+a c 1! . a b . .", "010", "c came after the run had planned d: it belongs to the next batch."),
    Named(LAUNCH, "the same upstream completes beside the joint run", "d(a, b) = all >> 1[a b d] a . 1+a . 1! . .", "0000", "The run's own a is newer, and stands for both."),
    Named(LAUNCH, "an upstream completes after the run has passed it", "d(a, b) = all >> 1[a b d] 1+a a . 1! . b . .", "0010", "This a is newer than the run's, which did not make it: it counts."),
    Named(LAUNCH, "a range run", "[x,y]; d(u) = all >> [u d]/x..y . u/x . .", "d/x=010", "Both partitions of both assets are made, though the run has no partition tag."),
    Named(LAUNCH, "a range run goes on", "[x,y,z]; d(u) = all >> 1[u d]/x..y 1+u u/z . 1! . .", "d/z=100", "Only the partitions of the range are the run's."),
    Named(LAUNCH, "assets with and without partitions in one run", "[x,y]; c[]; d(u, c) = all >> [u c d]/x . u/y . .", "d/y=010", "For x all is used up; for y c counts, since the run did not make d there."),
    Named(LAUNCH, "without partitions below one with", "[x,y]; d[](u) = all >> 1[u d]/x 1+u . 1! . u/y . .", "0010", "The run makes d of u/x; u/y comes later."),
    Named(LAUNCH, "planned for a partition that it has not", "z[daily]; c[](z) = all >> 1[z c]/d1 1+z . 1! .", "00", "A run for a day plans assets without partitions for that day, too, if the step that is last by its name has some."),
    Named(LAUNCH, "planned for a partition that it has not, and made", "[daily]; w[]; c[](y, w) = all; z(c) >> y/d1 [c z]/d1 w . y/d1 .", "01", "The y before the run was used up by it."),
    Named(LAUNCH, "a backfill by hand", "[x,y]; d[](u) = all >> B{u d}/x,y * . u/x! * . u/y! * . d! * . .", "00000", "The backfill has d to make, also before d has a run of its own."),
    Named(LAUNCH, "a backfill between its runs", "[x,y]; d[](u) = all >> B{u d}/x,y * u/x! u/y! . * . d! . * . .", "00000", "All its runs have ended, and the backfill daemon has not had its turn."),
    Named(LAUNCH, "a backfill by hand, by partition", "[x,y]; r[]; u[](r); d(u) = all >> B{u d}/x * . u! * . d/x! * . .", "d/y=0100", "For y, which is not the backfill's, u counts at once."),
    Named(LAUNCH, "a tick that becomes a backfill", "[x,y]; u(r) = all; d[](u) = all >> u/x r/x r/y . * . u/x! . u/y! * . d! * . .", "d=100000 u/x=100000 u/y=100000", "One tick requests u and d; Dagster makes one backfill, which makes u and then d."),
    Named(LAUNCH, "the same, without backfills", "[x,y]; u(r) = all; d[](u) = all; backfills=no >> u/x r/x r/y . u/x! u/y! . . d! d! .", "d=1100 u/x=1000 u/y=1000", "Three runs of three launches: the new u is the next batch."),
    Named(LAUNCH, "a tick that becomes one run", "u(r) = all; d(u) = all >> u r . u+ . d! . .", "u=1000 d=1000", "The u that the run makes is d's, which it makes next."),
    Named(LAUNCH, "a backfill that makes one range run", "[x,y]; d!(a) = all >> a/x a/y . * . d/x! * . a/y . .", "d/x=10000 d/y=10010", "With a single-run policy the backfill is one run, for both partitions."),
    Named(LAUNCH, "outputs that can only be built together", "{raw(a, b) = all; clean(raw) = all} >> a b . . raw! . .", "raw=1000 clean=1000", "They are not upstreams of one another."),
    Named(LAUNCH, "outputs built together, each with upstreams", "{raw(a) = all; clean(raw, c) = all} >> c . raw! a . raw! . .", "raw=1100 clean=1100", "Whichever is complete is requested with the other, and nothing follows."),
    Named(LAUNCH, "built together, by hand with an upstream", "{raw(a) = all; clean(raw) = all}; d(clean) = all >> [a raw] . d! . .", "d=100", "The run has made raw and clean of a, and not d."),

    # --- over, never started, given back -----------------------------------------------------
    Named(OVER, "d fails in the joint run", "d(a, b) = all >> 1[a b d] 1+a 1+b . 1# . .", "000", "It was started, and failed on this batch."),
    Named(OVER, "an upstream fails in the joint run", "d(a, b) = all >> 1[a b d] 1#b . b . .", "010", "d was never started: what the run did complete counts."),
    Named(OVER, "the joint run is cancelled", "d(a, b) = all >> 1[a b d] 1+a 1+b . 1^ . .", "010", "A run by hand that never started d has used up nothing."),
    Named(OVER, "the joint run is cancelled half way", "d(a, b) = all >> 1[a b d] 1+a 1^ . b . .", "010", "What it completed counts."),
    Named(OVER, "d is not yielded", "d(a) = all >> 1[a d] 1!-d . a .", "01", "An optional output that its run did not yield was started, and is not asked for again."),
    Named(OVER, "a run by hand is cancelled", "d(a, b) = all >> a b 1[d] . 1^ . .", "010", "While it goes on it has the batch; cancelled, it has used up nothing."),
    Named(OVER, "a run by hand fails", "d(a, b) = all >> a b 1[d] . 1# . .", "000", "It was started."),
    Named(OVER, "it will be retried", "d(a, b) = all >> 1[a b d] 1#b~ . 2=1[b d] . 2! . .", "0000", "A launch whose failed run Dagster will retry is not over."),
    Named(OVER, "it will be retried, and is repaired meanwhile", "d(a, b) = all >> 1[a b d] 1#b~ b . 2=1[b d] 2! . .", "000", "The a that was completed is the retry's."),
    Named(OVER, "the retry fails, too", "d(a, b) = all >> 1[a b d] 1#b~ . 2=1[b d] 2#b b . .", "010", "Now it is over, and d was never started."),
    Named(OVER, "a backfill is cancelled before d", "[x,y]; d[](u) = all >> B{u d}/x,y * u/x! . B^ * * . .", "010", "It completed u/x, and never started d."),
    Named(OVER, "a request in between", "d(u, v) = u | v; u(r) >> 1[u r d] 1+r 1+u . v . 1^ . .", "0100", "It uses up what the run withholds, too."),
    Named(OVER, "a partition that a backfill has given up", "[x,y]; d(u, v) = all >> B{u v d}/x,y * v/x# v/x . d/y! * . * . .", "d/x=0100", "Its batch waits for the backfill's end."),
    Named(OVER, "given back by a run", "u(r) = all; d(u) = all >> u r . u# . d! . .", "u=1000 d=1100", "u's step failed and d was skipped: d is requested alone, with its batch."),
    Named(OVER, "given back by a backfill", "[x,y]; u(r) = all; d[](u) = all >> u/x r/x r/y . * u/x# u/y! * * . d! . .", "d=1100 u/x=1000 u/y=1000", "The backfill ended without d."),
    Named(OVER, "given back by a backfill that made nothing", "[x,y]; u(r) = all; d[](u) = all >> u/x r/x r/y . * u/x# u/y# * * . d! . u/y . .", "d=11010 u/x=10000 u/y=10000", "d is requested with the u/x that it had."),
    Named(OVER, "given back, and repaired", "u(r) = all; d(u, w) = all >> w u r . u# [u] . d! . .", "u=1000 d=1100", "The other half was not lost."),
    Named(OVER, "given back to a tick that requests an upstream", "u(r) = all; d(u, w) = all >> w u r . u# r . u! . d! . .", "u=11000 d=10100", "Not with u again, or it could be lost the same way."),
    Named(OVER, "given back along a chain", "u(r) = all; d(u) = all; e(d) = all >> d u r . u# . d! . e! . .", "u=10000 d=11000 e=10100", "One tick requested all three; e waits while d is requested."),
    Named(OVER, "a request that is cancelled", "u(r) = all; d(u) = all >> u r . d^ . u . .", "u=1000 d=1010", "Somebody did not want it: it stays used."),
    Named(OVER, "what its condition alone names fails beside it", "b(a) = all; c(a) = all; d(b, c); e(d) = any_deps(b) & any_deps(c) >> b c a . c# . .", "b=100 c=100 e=100", "e does not depend on c: Dagster starts it whatever becomes of c."),
    Named(OVER, "a run of a request is cancelled", "a[x,y]; s[x,y](a) = all; d[x,y](s, a) = any_deps(a) >> a/x a/y . * s/x! s/y^ * . .", "d/x=100 d/y=100 s/x=100 s/y=100", "Somebody did not want y, though the backfill went on: it stays used."),
    Named(OVER, "a re-execution without it is cancelled", "u(r) = all; d(u) = all >> u r . u# 2=u[u] 2^ . d! . .", "u=1000 d=1100", "d's own run was not cancelled: its batch is given back."),
    Named(OVER, "a request that fails by itself", "d(a, b) = all >> a b . d# . a . b . .", "10010", "There was nothing of an upstream in its run."),
    Named(OVER, "the run of a request is deleted", "d(a, b) = all >> a b . d! (delete d) . a . b . .", "10010", "What was requested stays requested."),
    Named(OVER, "a request is deleted while it runs", "d(a, b) = all >> a b . (delete d) (lose state) . a b . .", "1010", "The same, for a process that is new."),

    # --- re-executions, and what comes before what -------------------------------------------
    Named(AGAIN, "from failure", "d(u, v, w) = all >> 1[u v d] 1#v 2=1[v d] 2! w . u v . .", "010", "The u of the first run was used by d's in the second."),
    Named(AGAIN, "from failure, with what came in between", "d(u, v, w) = all >> 1[u v d] 1#v w 2=1[d v] . 2! . u v . .", "0010", "The launch began before w, which is the next batch's."),
    Named(AGAIN, "from failure, of an optional one", "d(u, v, w) = all(optional=v) >> 1[u v d] 1#v 2=1[v d] 2! w . u .", "01", "The second run made d of the first one's u: w waits for another."),
    Named(AGAIN, "from failure, while it goes on", "d(u, v) = all >> 1[u v d] 1#v 2=1[v d] . 2+v . 2! . .", "0000", "Both are the launch's."),
    Named(AGAIN, "of the downstream alone", "d(a, b) = all >> a b . d# a b =d[d] . .", "110", "It uses up nothing that came in between."),
    Named(AGAIN, "of a joint run's downstream alone", "d(a, b) = all >> 1[a b d] 1#d a b =1[d] . .", "10", "The a and b of the run are used, those in between are not."),
    Named(AGAIN, "of a joint run's upstream alone", "d(a) = all >> 1[a d] 1! =1[a] . .", "10", "Nothing of the launch has made d of this a."),
    Named(AGAIN, "of a joint run's upstream alone, while it goes on", "d(a) = all >> 1[a d] 1! 2=1[a] 2+a . 2! . .", "100", "The launch goes on, and has no d to make any more."),
    Named(AGAIN, "of the whole joint run", "d(a, b) = all >> 1[a b d] 1! 2=1[a b d] 2+a . 2! . .", "000", "It makes d again."),
    Named(AGAIN, "of a request that was given back", "u(r) = all; d(u) = all >> u r . u# 2=u[u d] . 2! . .", "u=1000 d=1000", "The launch goes on, and makes d after all."),
    Named(AGAIN, "after the batch was given back and used", "u(r) = all; d(u) = all >> u r . u# . d! =u[u] . .", "u=1000 d=1110", "The re-execution made another u, and no d."),
    Named(AGAIN, "of a backfill's run", "[x,y]; d[](u) = all >> B{u d}/x,y * u/x! u/y# 2=u/y[u] . 2! * . d! * . .", "0000", "A retry within a backfill is the backfill's."),
    Named(AGAIN, "a late clock", "d(a, b) = all(within=0.2) >> a@1 a@1.02<0.3 b@1.04 . .", "10", "The newest is the newest by its own date, whatever was stored last."),
    Named(AGAIN, "a late clock in another partition", "[x,y]; d(a, b) = all(within=0.2) >> a/x@1 b/x@1.02 a/y@1.04<0.3 . .", "d/x=10", "A partition's own dates are all that counts for it."),
    Named(AGAIN, "a late clock after a run by hand", "d(a) = all >> [d]@2 a@2.1<0.5 . .", "10", "It was stored after the run had been made, whatever its date."),
    Named(AGAIN, "a late clock after a request", "d(a, b) = a | b >> a@1 .@2 b@2.1<0.5 . .", "110", "The tick did not know of it."),
    Named(AGAIN, "a late clock before what was used", "d(a) = all >> a@2 . a@2.2<0.5 . a .", "101", "What is older than something used never counts."),
    Named(AGAIN, "a window made longer", "d(a, b, c) = all(at_least=2, within=1) >> a@1 b@3 c . (d = all(at_least=2)) b . a .", "101", "What was too old, and known, was used up all the same."),
    Named(AGAIN, "a window made longer, by partition", "[x]; d(a, b, c) = all(at_least=2, within=1) >> a/x@1 b/x@3 c/x . (d = all(at_least=2)) b/x . a/x .", "d/x=101", "The same with partitions."),
    Named(AGAIN, "a window made longer, after its state was lost", "[x,y]; d(a, b, c) = all(at_least=2, within=1) >> a/x@1 a/y b/x@4 c/x (lose state) . (d = all(at_least=2)) b/x . a/x .", "d/x=101", "A tick that no longer knew of it has used it up all the same."),
    Named(AGAIN, "a window made shorter", "d(a, b) = all >> a@1 . (d = all(within=1)) b@3 . a . .", "0010", "The new window holds from then on."),
    Named(AGAIN, "the state is lost in a joint run", "d(a, b) = all >> 1[a b d] 1+a . (lose state) 1+b . 1! (lose state) . .", "0000", "All of it is read back from what is stored."),

    # --- expressions -------------------------------------------------------------------------
    Named(PARTS, "either, or both of two", "[x]; d(a, b, c) = a | (b & c) >> c/x a/x . b/x . .", "d/x=100", "The request uses up c, which the true part did not name."),
    Named(PARTS, "two, or another", "[x]; d(a, b, c) = (a & c) | b >> c/x b/x . a/x .", "d/x=10", "c is used, though only the other part was true."),
    Named(PARTS, "a quorum, or one that has settled", "d(a, b, c, e) = all(at_least=3) | (a & settled(1)) >> a@1 b@1.1 .@2.2 c@3 e@3.1 .@3.2", "10", "The second part's request uses up b, of which it did not speak."),
    Named(PARTS, "an optional one that is enough", "d(a, b, vip) = all(optional=vip) | vip >> a vip . b . a .", "101", "The first request used up a."),
    Named(PARTS, "none of both", "[x]; d(a, b, c) = a & ~(b & c) >> c/x a/x . b/x a/x .", "d/x=11", "c was used up, though Dagster did not let that part look."),
    Named(PARTS, "any dep's own", "u(x); d(u) = all | any_deps(x) >> x . . d! u . .", "1010", "A condition inside of any_deps_match speaks of the downstream's history."),
    Named(PARTS, "any dep's own, by the dep's mapping", "a[x,y]; r[x,y]; s[x,y](a:x); d[x,y](r, s) = any_deps(a) >> a/x . . a/y . a/x .", "d/x=1001 d/y=1001", "What counts is mapped through the first dependency that has it as its own."),
    Named(PARTS, "any dep's own, of a dep that is mapped", "a[x,y]; b[x,y](a); c[x,y](a); d[x,y](b, c:x) = any_deps(a) >> a/x . a/y .", "d/x=10 d/y=01", "It is asked of b alone, since c/x stands for every partition."),
    Named(PARTS, "any dep's own, of a dep without partitions", "c[x,y]; e[](c); d[x,y](e) = any_deps(c) | e >> c/x . e . .", "d/x=010 d/y=010", "What e says of c is said of no partition of d: e alone counts."),
    Named(PARTS, "any dep's own, of the same days", "a[daily]; b[daily](a); d[daily](b:time) = any_deps(a) >> a/d3 . a/d4 .", "d/d3=10 d/d4=01", "A time window of the same days is one to one."),
    Named(PARTS, "any dep's own uses up the rest", "u(x); d(u, v) = all | any_deps(x) >> u x . d! v . u .", "101", "u is used, though it was the other part that was true."),
    Named(PARTS, "a part that is Dagster's", "d(a, b) = all | (a & cron) >> a@0.1 .@0.2 .@1.1 b@1.2 .@1.3 a .", "0101", "The hour passed, and the request used up a."),
    Named(PARTS, "missing, or whole", "d(a, b) = all | missing >> a . d! b . a .", "101", "Dagster's own part fired, and used up a."),
    Named(PARTS, "two windows for one upstream", "d(a, b, c) = (a & b) | (up(a, 1) & c) >> a@1 c@2.5 .@2.6 b . .", "010", "a is too old for one part and young enough for the other."),
    Named(PARTS, "not while another is new, after a joint run", "d(a, b) = a & ~b >> [b d] a . b . a .", "100", "The run has used up its b; the next one stands in the way." ),
    Named(PARTS, "settled, beside a joint run", "d(a, b) = all & settled(1) >> [a b d]@0 a@1 b@1.5 .@2 .@2.5 .", "010", "What the run made settles like anything else."),

    # --- mappings, sources, other locations --------------------------------------------------
    Named(MAPPED, "one partition of many", "s[de,us]; d(s:de) = all >> s/us . s/de . .", "010", "The mapping names the partition that counts, also for a downstream without any."),
    Named(MAPPED, "the last partition", "s[daily]; d(s:last) = all >> s/d3 . s/d14 . .", "010", "A backfill of old days is no completion for it."),
    Named(MAPPED, "one partition of many, beside a joint run", "s[de,us]; d(s:de, b) = all >> 1[s d]/us 1+s b . 1! . s/de . b .", "0010", "The b that came beside the run is the next batch's; s/us is no half of any."),
    Named(MAPPED, "any partition", "s[x,y]; d(s) = all >> s/x . s/y . .", "110", "Without a mapping each partition counts."),
    Named(MAPPED, "a source observed by partition", "s~[x,y]; d(s) = all >> s/x~1 s/y~2 . s/x~1 s/y~2 . s/x~1 . s/y~3 . .", "10010", "Data versions are compared within a partition."),
    Named(MAPPED, "a source observed by partition, for partitions", "[x,y]; s~; c[]; d(s) = all; e[](c) = all >> s/x~1 c . s/x~1 s/y~1 . .", "d/x=100 d/y=010 e=100", "Each partition completes by itself, and another downstream of the sensor fires, too."),
    Named(MAPPED, "a source without partitions", "s~; d(s, a) = all >> s~1 a . s~1 a . s~2 . .", "1010", "The same version again is no completion."),
    Named(MAPPED, "partitioned elsewhere", "a?; b?; d[daily](a, b) = all >> a/d3? b/d3? . .", "00", "The graph knows no partitions of them: nothing says which of d's this is."),
    Named(MAPPED, "known by key only", "a?; d(a, b) = all >> a? . b . a? .", "010", "An asset of another location counts like any."),
    Named(MAPPED, "an upstream that begins later", "[daily]; b[daily@3]; d(a, b:time?) = all >> a/d1 a/d3 . b/d3 . .", "d/d1=100 d/d3=010", "Of d1 b is no upstream."),
    Named(MAPPED, "days and their week", "h[daily]; w[weekly](h:time) = all >> h/d1 . h/d8 h/d2 . .", "w/w1=110 w/w2=010", "Each day is a completion of its week."),
    Named(MAPPED, "a week and its days", "w[weekly]; h[daily]; d[daily](h, w:time) = all >> w/w1 h/d1 h/d8 . h/d2 . w/w2 . .", "d/d1=1000 d/d2=0100 d/d8=0010", "A week counts once for each of its days."),
    Named(MAPPED, "an upstream without partitions", "[x,y]; lookup[]; d(rows, lookup) = all >> lookup rows/x . rows/y . lookup . rows/x . .", "d/x=10010 d/y=01000", "It counts for each partition, and is used up in each by itself."),
    Named(MAPPED, "an upstream without partitions that has not settled", "[x,y]; b[]; t(s, b) = b & settled(0.5) >> b@1.1 .@1.2 .@1.7 s/x@2 b@2.1 .@2.2 .@2.7", "t/x=0101 t/y=0101", "It has not settled for any partition, also where nothing else is known."),
    Named(MAPPED, "nothing but an upstream without partitions", "[x,y]; lookup[]; d(lookup) = all >> lookup . * . d/x! d/y# * . .", "d/x=1000 d/y=1000", "All partitions at one tick: one backfill."),

    # --- rollups -----------------------------------------------------------------------------
    Named(ROLLED, "a week once its days are there", "h[daily]; w[weekly](h) = all(rollup=h) >> h/d1..d6? . h/d7? . .", "w/w1=010", "Each day that the mapping enumerates must be there."),
    Named(ROLLED, "one day is repaired", "h[daily]; w[weekly](h) = all(rollup=h) >> h/d1..d7? . h/d3? . .", "w/w1=110", "All are there, and one is new."),
    Named(ROLLED, "a late day", "h[daily]; b[weekly]; w[weekly](h, b) = all(rollup=h, optional=b) | b >> h/d1..d6?@2 b/w1@2.1 .@2.2 h/d7?@2.3<1 . .", "w/w1=110", "d7 came after d6 was used, and is new, though it is dated before it."),
    Named(ROLLED, "a late clock repairs a day", "h[daily]; w[weekly](h) = all(rollup=h) >> h/d3?@1 h/d1,d2,d4,d5,d6,d7?@2 .@2.1 h/d3?@2.3<0.8 . .", "w/w1=110", "It is newer than the d3 that was used, whatever was used of other days."),
    Named(ROLLED, "a late clock before the same day", "h[daily]; w[weekly](h) = all(rollup=h) >> h/d1..d7?@2 . h/d3?@2.3<0.8 . .", "w/w1=100", "What is older than the d3 that was used never counts."),
    Named(ROLLED, "days of any age", "h[daily]; w[weekly](h) = all(rollup=h) >> h/d1..d6?@0 h/d7?@30 . .", "w/w1=10", "One of them is to be new; the others may be older than the window."),
    Named(ROLLED, "none of the days is young", "h[daily]; w[weekly](h) = all(rollup=h) >> h/d1..d7?@0 .@30 h/d1? . .", "w/w1=010", "Whole, and nothing new inside of the window."),
    Named(ROLLED, "a week beside its days", "h[daily]; b[weekly]; w[weekly](h, b) = all(rollup=h) >> h/d1..d7? b/w1 . h/d3? . b/w1 . .", "w/w1=1010", "A repair waits for something new of the other upstream."),
    Named(ROLLED, "two rollups", "h[daily]; g[daily]; w[weekly](h, g) = all(rollup=True) >> h/d1..d7? g/d1..d6? . g/d7? . h/d1? . g/d2? . .", "w/w1=01010", "Each is whole by itself."),
    Named(ROLLED, "one of two is rolled up", "h[daily]; g[daily]; w[weekly](h, g) = all(rollup=h) >> h/d1..d7? . g/d2? . .", "w/w1=010", "Of the other, any day counts for its week."),
    Named(ROLLED, "a day in two weeks' rollups", "h[daily]; w[weekly](h:time-1) = all(rollup=h) >> h/d1..d7? . h/d8..d14? . h/d3? . .", "w/w1=1010 w/w2=0110", "The second week needs the first one's days, too."),
    Named(ROLLED, "every region", "s[us,eu,apac]; d(s:all) = all(rollup=s) >> s/us . s/eu s/apac . s/eu . .", "0110", "All partitions make the asset that has none."),
    Named(ROLLED, "some of many regions", "s[us,eu,apac]; d(s:us+eu) = all(rollup=s) >> s/us . s/apac . s/eu . s/apac . .", "00100", "Those that the mapping names."),
    Named(ROLLED, "no mapping is named", "s[us,eu]; d(s) = all(rollup=True); e(s) = all >> s/us s/eu . .", "e=10", "Nothing says which partitions make d whole; it is false, and its line says so."),
    Named(ROLLED, "before the first day", "h[daily@3]; w[weekly](h) = all(rollup=h) >> h/d3..d7? . h/d8..d14? . .", "w/w2=010", "The first week's d1 and d2 will never be: it can never be complete."),
    Named(ROLLED, "before the first day, which may be", "h[daily@3]; w[weekly](h:time?) = all(rollup=h) >> h/d3..d6? . h/d7? . .", "w/w1=010", "The mapping allows them to be missing, since they are none."),
    Named(ROLLED, "the day before, too", "h[daily]; d[daily](h:time-1) = all(rollup=h) >> h/d2 . h/d3 . h/d1 . .", "d/d1=0010 d/d2=0010 d/d3=0100", "A day needs itself and the day before."),
    Named(ROLLED, "the same partitions", "[x,y]; d(u) = all(rollup=True) >> u/x . u/y . .", "d/x=100 d/y=010", "One makes one: nothing is to be rolled up."),
    Named(ROLLED, "a backfill makes all of it", "s[x,y]; d(s:all) = all(rollup=s) >> B{s d}/x,y * . s/x! * . s/y! * . d! * . s/x . .", "000010", "What it made is used up by it; a repair is new."),
    Named(ROLLED, "one part is withheld", "s[x,y]; d(s:all) = all(rollup=s) >> s/x? s/y? . 1[s d]/x 1+s . s/y . 1! . .", "10100", "The request of the other part uses up the withheld one, too."),
    Named(ROLLED, "rolled up, and by hand", "s[x,y]; d(s:all) = all(rollup=s) >> s/x? s/y? [d] . s/x? . .", "010", "A run by hand uses up every part that came before it."),
    Named(ROLLED, "rolled up, and lost state", "h[daily]; w[weekly](h) = all(rollup=h) >> h/d1..d7? . (lose state) . h/d3? . (lose state) . .", "w/w1=10100", "What was used of each day is read back."),
    Named(ROLLED, "a half is used", "h[daily]; b[weekly]; w[weekly](h, b) = all(rollup=h, optional=b) | b >> h/d1..d3? b/w1 . h/d4..d7? . h/d1? . .", "w/w1=1110", "The request by b used up three days; the others made it whole."),
    Named(ROLLED, "new code rolls up", "h[daily]; w[weekly](h) = all >> h/d1? . (w = all(rollup=h)) h/d2..d6? . h/d7? . .", "w/w1=1010", "What was used stays used, and counts as there."),
    Named(ROLLED, "new code rolls up no more", "h[daily]; w[weekly](h) = all(rollup=h) >> h/d1..d7? . (w = all) . h/d2? . .", "w/w1=1010", "What was used stays used."),
    # --- what a hand lets go ------------------------------------------------------------------
    Named(HAND, "a reported downstream", "d(a, b) = all >> a . d? . b . a .", "0001", "A reported d uses up what came before it."),
    Named(HAND, "let go, its state lost", "d(a, b) = all >> a . d? (lose state) b . . a .", "0001", "It is read back like any run."),
    Named(HAND, "one partition is let go", "[x,y]; d(a, b) = all >> a/x a/y . d/x? . b/x b/y . a/x .", "d/x=0001 d/y=0010", "And no other."),
    Named(HAND, "let go, of an upstream without partitions", "[x,y]; c[]; d(a, c) = all >> c . d/x? . a/x a/y . c .", "d/x=0001 d/y=0010", "It is used up in that partition alone."),
    Named(HAND, "let go without partitions, below one with", "s[x,y]; d(s, b) = all >> s/x . d? s/y . b . .", "0010", "What came after it counts."),
    Named(HAND, "let go, and dated before it", "d(a, b) = all >> a@1 d?@2 a@2.1<0.5 b . .", "10", "It was stored after the report, whatever its date."),
    Named(HAND, "let go while a launch withholds", "d(a, b) = all >> 1[a b d] 1+a . d? . 1#b . b . a .", "00001", "What the launch had completed is let go with the rest."),
    Named(HAND, "a report of an upstream", "s(a) = all; d(s) = all >> s? . a . s! . .", "s=0100 d=1010", "Of s it lets go what came before, for d it is a completion."),
    Named(HAND, "what was given back is let go", "u(r) = all; d(u, w) = all >> w u r . u# d? . u . .", "u=1000 d=1000", "There is nothing left of it to request."),
    Named(HAND, "let go with a count", "d(a) = all(count={a: 2}) >> a d? a . a . .", "010", "The count begins anew."),

    # --- counts ------------------------------------------------------------------------------
    Named(COUNT, "so many of any partition", "s[x,y]; d(s) = all(count={s: 3}) >> s/x s/y . s/x . . s/y s/y . s/y .", "01001", "Each materialization of each partition is one."),
    Named(COUNT, "so many of the same partition", "[x,y]; d(a) = all(count={a: 2}) >> a/x a/y . a/x . . a/y . a/x .", "d/x=01000 d/y=00010", "Each partition has its own."),
    Named(COUNT, "so many of an upstream without partitions", "[x,y]; c[]; d(a, c) = all(count={c: 2}) >> c a/x . c . a/y . c a/x . c .", "d/x=01001 d/y=00100", "They count for every partition, and are used up in each by itself."),
    Named(COUNT, "a count of what is mapped", "h[daily]; w[weekly](h:time) = all(count={h: 2}); e(b) = all >> h/d1 h/d2 b . .", "e=10", "A number of days says nothing of a week: w is false, and stops nobody."),
    Named(COUNT, "a count of what is rolled up", "s[x,y]; d(s:all) = all(count={s: 2}, rollup=s); e(b) = all >> s/x s/y b . .", "e=10", "Each of them once says nothing of how many there are: d is false, and stops nobody."),
    Named(COUNT, "a count of all partitions", "s[x,y]; d(s:all) = all(count={s: 2}) >> s/x . s/x . . s/y s/x . s/y .", "01010", "The mapping says what is so without one: each materialization of any partition is one."),
    Named(COUNT, "a count, and a rollup of what has no partitions", "d(a, b) = all(count={a: 2}, rollup=True) >> a b . a . .", "010", "There is nothing to roll up."),
    Named(COUNT, "a count of one partition of many", "s[x,y]; d(s:x) = all(count={s: 2}); e(b) = all >> s/x s/x b . .", "e=10", "The mapping names it: that is no count of s."),
    Named(COUNT, "a count of days by day", "[daily]; d(a:time) = all(count={a: 2}) >> a/d1 a/d2 . a/d2 . .", "d/d2=010", "A time window of the same days is one to one."),
    Named(COUNT, "a count of data versions", "s~; d(s) = all(count={s: 2}) >> s~1 s~1 . s~2 . .", "010", "The same version again is none."),
    Named(COUNT, "a count and a late clock", "d(a) = all(count={a: 2}) >> a@2 a@2.2<0.5 . . a@3 a@3.2<1.3 . a .", "1001", "One that is dated before another is one of them, and before a used one none."),
    Named(COUNT, "a count beside a launch", "d(a) = all(count={a: 2}) >> 1[a d] 1+a a . 1! . a . .", "0010", "What the launch withholds is none of the number."),
    Named(COUNT, "the newest of a count is withheld", "d(a) = all(count={a: 2}) >> a a 1[a d]@1 1+a . 1#d . a . a .", "0001", "A run by hand that starts uses up what came before it; the launch has made d of its own a."),
    Named(COUNT, "a count that a launch gives back", "u(r) = all; d(u) = all(count={u: 2}) >> u u r . u# . d! . u . u .", "u=10000 d=11001", "Both are requested again, and then two more are needed."),
    Named(COUNT, "a count after a launch that never started it", "d(a, b) = all(count={a: 2}) >> 1[a b d] 1+a a . 1#b . b . .", "0010", "What the launch completed is one of them."),
    Named(COUNT, "one object with a count", "d(a, c) = all(count={a: 2}); e(b, c) = all(count={a: 2}) >> b c a . a . .", "d=010 e=100", "Of e, a is no upstream: it says nothing for it."),
    Named(COUNT, "one object with a count of what nobody knows", "d(a) = all(count={nope: 2}); e(b) = all >> a a b . .", "e=10", "d's fan-in is false; e fires."),
    Named(COUNT, "a count beside a part without one", "d(a, b) = all(count={a: 2}) | b >> a b . a . a . b .", "1001", "b alone is enough for the other part, and uses up the a that there is."),
    Named(COUNT, "a count by hand, its state lost", "[x,y]; d(a) = all(count={a: 2}) >> a/x a/y (lose state) [d]/x a/x . (lose state) a/x a/y . .", "d/x=010 d/y=010", "The run by hand uses up what came before it, of its partition."),
    Named(COUNT, "a count made greater", "d(a) = all(count={a: 2}) >> a a . a . (d = all(count={a: 3})) a . a . .", "10010", "What was used stays used, and the others count."),

    # --- many downstreams, one sensor --------------------------------------------------------
    Named(MANY, "shared upstreams", "d(a, b) = all; e(a, c) = all >> a b . c . a b c . .", "d=1010 e=0110", "Each downstream uses up for itself."),
    Named(MANY, "one joint run, another downstream", "d(a) = all; e(a) = all >> [a d] . .", "e=10", "For e, which the run did not make, a is new."),
    Named(MANY, "one object on many assets", "d(a, c) = all(optional=c); e(b) = all(optional=c) >> a b . .", "d=10 e=10", "Of e, c is no upstream: it says nothing for it."),
    Named(MANY, "one object with windows of single upstreams", "d(a, b) = all(within={a: 1}); e(b, c) = all(within={a: 1}) >> a@0 b@2 c . a . .", "d=010 e=100", "For d, a must be younger than an hour; for e that says nothing."),
    Named(MANY, "one object with a window of what nobody knows", "d(a) = all(within={nope: 1}); e(b) = all >> a b . .", "e=10", "d's fan-in is false; e fires."),
    Named(MANY, "one object names what nobody knows", "d(a) = all(optional=nope); e(b) = all >> a b . .", "e=10", "d's fan-in is false; e fires."),
    Named(MANY, "a quorum of more than there are", "d(a) = all(at_least=2); e(b, c) = all(at_least=2) >> a b c . .", "e=10", "d's can never be met, and stops nobody."),
    Named(MANY, "on a root", "r = all; e(b) = all >> b . .", "e=10", "An asset without upstreams is never complete."),
    Named(MANY, "by default", "default=all; d(a); e(d) >> a . d! . e! . .", "d=1000 e=0100", "The sensor's default condition is each one's own."),
    Named(MANY, "by default, in one run", "default=all; d(a); e(d) >> [a d e] . . a . (lose state) . d! .", "d=00100 e=00001", "And holds what a condition of their own holds."),

    # --- while it runs -----------------------------------------------------------------------
    Named(HELD, "waits for its run", "d(a, b) = all(wait=True) >> a b . a b . d! . .", "1010", "A whole batch waits for the run before it."),
    Named(HELD, "a run by hand hides nothing", "d(a, b) = all(wait=True) >> a b . [d] a b . d! . .", "1010", "The older run still goes on."),
    Named(HELD, "waits by partition", "[x,y]; d(a) = all(wait=True) >> a/x . a/x a/y . d/x! . .", "d/x=1010 d/y=0100", "Each partition waits for its own run."),
    Named(HELD, "waits for a range run", "[x,y,z]; d(a) = all(wait=True) >> 1[d]/x..y a/x a/z . 1! . .", "d/x=010 d/z=100", "x is in the range, z is not."),
    Named(HELD, "waits for a backfill that has not come to it", "[x,y]; c[]; d(c, a) = all(wait=True) >> B{c d}/x * c a/x a/y . c! * . d/x! * * . .", "d/y=1000", "The backfill has d/x among its targets, though no run of it yet; d/y is free."),
    Named(HELD, "not while it runs", "d(a, b) = all & ~running >> a b 1[d] a b . 1! . .", "010", "The same as a part of an expression."),
    Named(HELD, "not while an upstream runs", "d(a, b) = all & ~upstreams_running >> a b 1[a] . 1! . .", "010", "The batch has the newest a."),
    Named(HELD, "not for a re-execution that leaves it out", "e(a); d(e) = all(wait=True) >> 2[e d] 2! 3=2[e] 3+e . d! 3! . .", "100", "It has the selection of the run before it, and plans e alone."),
    Named(HELD, "waits for its retry", "d(a, b) = all(wait=True) >> a b . d#~ a b . 2=d[d] . 2! . .", "10010", "Dagster is about to run it again."),
    # --- deadlines ---------------------------------------------------------------------------
    Named(LATE, "one upstream, two deadlines", "d(a, b) = all(deadline=2, otherwise=1); e(a, c) = all(deadline=1, otherwise=c) >> a@0 .@1 .@2 c@2.5 . b . .", "d=01010 e=00100", "Each downstream has a wait of its own, and another enough."),
    Named(LATE, "enough past the deadline, and whole by another part", "d(a, b, c) = a | all(deadline=2, otherwise=b) >> b@0 a@2 .@2.1 . c . b .", "1000", "It is a whole request by a, whatever the other part says: it uses up b, too."),
    Named(LATE, "early by one part, then whole by another", "d(a, b, c) = a | all(deadline=2, otherwise=b) >> b@0 .@2 . a . b c . .", "10100", "The early request used up nothing; a's uses up b."),
    Named(LATE, "what is withheld begins a wait", "d(a, b) = all(deadline=2, otherwise=1) >> 1[a d]@0 1+a .@2 b . . 1! . a . b .", "010010", "It is not ready; b is, and two hours after a it is enough."),
    Named(LATE, "what is withheld comes late", "d(a, b) = all(deadline=2, otherwise=1) >> 1[a d]@0 1+a .@2 b@2.1 .@2.2 1^ . .", "0110", "The launch never started d: with its a the batch of the early request is whole."),
    Named(LATE, "one of two that are built together is late", "{r(a, b) = all(deadline=2, otherwise=1); c(r, x) = all} >> a@0 .@2 r! b . x@3 . .", "r=1110 c=1110", "They are requested together, of r early: it used up nothing."),
    Named(LATE, "its launch makes what was missing", "u(r) = all; d(u, w) = all(deadline=2, otherwise=w) >> w@0 r@2 . u! . d! u . w . .", "u=10000 d=10010", "One run makes u and then d: a whole request, which uses up w."),
    Named(LATE, "its launch makes some of what was missing", "u(r) = all; d(u, w, v) = all(deadline=2, otherwise=w) >> w@0 r@2 . u! d! v . . u .", "u=1000 d=1001", "v is missing all the same: w stays, and the u of the run is used."),
    Named(LATE, "a backfill makes what was missing", "[x,y]; w[]; u(r) = all; d[](u, w) = all(deadline=2, otherwise=w) >> w@0 r/x@2 r/y . * u/x! u/y! * d! * u/x . w .", "u/x=100 u/y=100 d=101", "It is a whole request, and the w of it is used."),
    Named(LATE, "two parts are missing, and one is made", "[us,eu,de,fr]; b[]; s(r) = all; d[](s:all, b) = all(rollup=s, missing_at_most=2, deadline=2) >> s/us,eu? b@0.1 r/de@2 r/us . * s/de! s/us! * d! * . s/fr . b .", "s/de=1000 s/us=1000 d=1010", "The backfill makes one of the two: an early request, and b is not used up."),
    Named(LATE, "early, and given back", "u(r) = all; d(u, w) = all(deadline=2, otherwise=w) >> w@0 r@2 .@2.1 u#@2.2 . d! u . .", "u=1000 d=1110", "u failed, and d was never started: it is requested early once more, and alone."),
    Named(LATE, "an upstream without partitions begins no wait", "[x,y]; c[]; d(a, c) = all(deadline=2, otherwise=1) >> c@0 .@3 a/x@4 . a/y@30 .@32 .", "d/x=0100 d/y=0010", "Or each partition would be late for ever."),
    Named(LATE, "most of a week", "h[daily]; w[weekly](h) = all(rollup=h, missing_at_most=1, deadline=2) >> h/d1..d6?@0 .@2 h/d8..d12?@3 .@5 h/d7?@6 . . h/d3? .", "w/w1=10101", "Six days are enough past the deadline, five are not; the seventh makes it whole."),
    Named(LATE, "days that can never be are not missing", "h[daily@3]; w[weekly](h) = all(rollup=h, missing_at_most=1, deadline=2) >> h/d4..d7?@0 .@1 .@2 .", "w/w1=010", "Of those that there are, one is missing."),
    Named(LATE, "all may be missing", "s[us,eu]; d(s:all) = all(rollup=s, missing_at_most=2, deadline=2); e(s:all) = all(rollup=s, missing_at_most=1, deadline=2) >> s/us@0 .@2 s/eu@3 . .", "e=110", "Then none is asked for: d is false, and its line says so."),
    Named(LATE, "a day that was requested has no deadline", "[daily]; d(a, b) = all(deadline=2, otherwise=1) >> a/d1@0 b/d1 a/d2 .@1 a/d1@1.5 .@2.2 .@4 b/d1 . .", "d/d1=10010 d/d2=01000", "What comes later is a repair; another day has its own wait."),
    Named(LATE, "a deadline of any dep", "u(x, y); v(y, z); d(u, v) = any_deps(all(deadline=2, otherwise=x)) >> x@0 .@2 . z@3 . y . .", "10010", "Of u it is early, and uses up nothing, whatever v has."),
    Named(LATE, "a deadline of any dep, and all of them", "u(x, y); d(u, v) = all | any_deps(all(deadline=2, otherwise=x)) >> u@0 x . .@2.05 v . y . .", "01100", "A whole batch by the other part uses up x."),
    Named(LATE, "two parts have a deadline", "d(a) = all(deadline=1) | all(deadline=2); e(a) = all(deadline=1) & all >> a . .", "e=10", "A condition has one: d is false, and stops nobody."),
    Named(LATE, "one object with too long a deadline", "d(a, b) = all(within={a: 48}, deadline=30); e(a) = all(within={a: 48}, deadline=30) >> a@0 b . .", "e=10", "What waits for b has a day: d is false, and its line says so."),
    Named(LATE, "new code brings the deadline nearer", "d(a, b) = all(deadline=2, otherwise=1) >> a@0 . (d = all(deadline=1, otherwise=1))@1.2 . . b . .", "01010", "The wait goes on, and is past it at the first tick."),
    Named(LATE, "an early request is deleted", "d(a, b) = all(deadline=2, otherwise=1) >> a@0 .@2 (delete d) . (lose state) . b .", "1001", "It was made, and used up nothing."),
    Named(LATE, "a late clock of a used part begins no wait", "s[x,y]; d(s:all, b) = all(rollup=s, deadline=0.5, otherwise=b) >> s/x,y?@2 b . s/x?@2.3<0.8 b@2.4 .@2.5 .@2.91", "101", "It is older than the s/x that was used; the wait began with b."),

    # --- deadlines that are a time of day, and keys that are not over ------------------------
    Named(LATE, "by nine, of an asset", "d(a, b) = all(deadline='9:00', otherwise=1) >> a@7 .@8.99 .@9 . b@9.5 . .", "01010", "Past exactly nine what is there is enough, once; the whole batch follows."),
    Named(LATE, "begun at nine", "d(a, b) = all(within=48, deadline='9:00', otherwise=1) >> a@9 .@12 .@32.99 .@33 .", "0010", "It has until nine on the next day."),
    Named(LATE, "today's batch, and its state lost", "d(a, b) = all(within=48, deadline='9:00', otherwise=1) >> a@1 b . (lose state) a@2 .@9 (lose state) .@32.9 (lose state) .@33 b . .", "100110", "What comes after today's batch has until tomorrow."),
    Named(LATE, "today's batch, and its run deleted", "d(a, b) = all(deadline='9:00', otherwise=1) >> a b . (delete d) a@5 .@9 (lose state) .@28.9 .", "1000", "What was requested stays requested, also longer ago than the window."),
    Named(LATE, "today's batch of another partition", "[x,y]; d(a, b) = all(within=48, deadline='9:00', otherwise=1) >> a/x@1 b/x . a/x@2 a/y .@9 .@33 .", "d/x=1010 d/y=0100", "Each partition has a day of its own."),
    Named(LATE, "today's batch by another part", "d(a, b, c) = a | all(within=48, deadline='9:00', otherwise=b) >> a@1 . b@2 .@9 .@33 .", "1010", "A whole request is one, whatever part made it."),
    Named(LATE, "today's batch by hand", "[x]; d(a, b) = all(within=48, deadline='9:00', otherwise=1); e(a, b) = all(within=48, deadline='9:00', otherwise=1); f(a, b) = all(within=48, deadline='9:00', otherwise=1) >> [d]/x@1 e/x? a/x@2 .@9 .@33 .", "d/x=010 e/x=010 f/x=100", "A run by hand and a report use up what was there, and stand for today's."),
    Named(LATE, "each day had its batch", "d(a, b) = a >> a@7 . b@8 a@30 .@30.1 (d = all(within=None, deadline='9:00', otherwise=1)) . .@33 .@56.99 .@57 .", "1100010", "b is older than both batches, of which neither was without it: its deadline is on the first day without one."),
    Named(LATE, "a day between had none", "d(a, b) = a >> a@7 . b@8 a@54 .@54.1 (d = all(within=None, deadline='9:00', otherwise=1)) . . a .", "11101", "The deadline of b was on the second day, whatever was requested on the third."),
    Named(LATE, "today's batch at midnight", "d(a, b) = all(within=48, deadline='9:00', otherwise=1); e(a, c) = all(within=48, deadline='9:00', otherwise=1) >> a@23 c .@23.99 b@24 .@24 a@25 .@33 .@57 .", "d=01010 e=10100", "At midnight it is the next day's; a moment before, it was not."),
    Named(LATE, "until midnight", "d(a, b) = all(deadline='0:00', otherwise=1) >> a@1 .@23.99 .@24 b@24.5 . a .@47.99 .@48 .", "011010", "Midnight is the first moment of a day that had no batch."),
    Named(LATE, "by two, and not before nine", "d(a, b) = all(deadline='2:00', not_before=9, otherwise=1) >> a@1 .@2 .@8.99 .@9 . b .", "00101", "Past its deadline it waits for nine as any batch."),
    Named(LATE, "by nine, of a calendar day", "d(a, b) = all(within='day', deadline='9:00', otherwise=1) >> a@10 .@23.99 .@33 a@33.5 .@47.99 a@48 .@56.99 .@57", "00001", "What comes after nine is let go at midnight."),
    Named(LATE, "an hour has until it is over", "[hourly]; d(a, b) = all(deadline=0.5, otherwise=1) >> a/h2@0.5 a/h1@1.2 .@1.69 .@1.7 .@2.49 .@2.5 b/h2 . a/h2@4 .@4.5", "d/h1=010000 d/h2=000110", "A time partition's deadline counts from its end, or from its first completion if that is later; requested, it has none."),
    Named(LATE, "an hour has until half past", "[hourly]; d(a, b) = all(within=48, deadline='1:30', otherwise=1) >> a/h1@0.5 a/h2 .@1.49 .@1.5 .@25.49 .@25.5 .", "d/h1=01000 d/h2=00010", "The first such time after its end."),

    # --- pace --------------------------------------------------------------------------------
    Named(PACE, "too soon after a joint run", "d(a, b) = all(no_sooner_than=2) >> 1[a d]@0 1+a b . 1! . a .@1.9 .@2 .", "00010", "A run by hand that uses up counts, from its beginning."),
    Named(PACE, "a partition too soon after its run", "[x,y]; a[]; d!(a) = all(no_sooner_than=2) >> a@0 . * [d]/x@1 a .@2 .@2.05 .@3 .", "d/x=10010 d/y=10100", "One backfill made both, and a hand one of them again."),
    Named(PACE, "given back, and not too soon", "u(r) = all; d(u) = all(no_sooner_than=2) >> u@0 r . u# . d! u@1 .@1.9 .@2.2 .", "u=10000 d=11010", "What was given back was no request."),
    Named(PACE, "an early request is no request for pace", "d(a, b) = all(no_sooner_than=1, deadline=2, otherwise=1) >> a@0 b . a@0.1 .@2.1 b . .", "1110", "Or the late one would wait for it."),
    Named(PACE, "too soon for one part", "d(a, b, c) = a | all(at_least=2, no_sooner_than=2) >> a@0 . b c . a . b c .@2.2 .@2.3", "10101", "Pace holds its own part, and counts what the other requested."),
    Named(PACE, "not before nine, by asset", "d(a) = all(not_before=9); e(a) = all >> a@7 .@8.9 .@9 a@12 . a@23 .@24.5 .@33", "d=01101 e=10110", "Later in the day it goes at once, and in the night it waits."),
    Named(PACE, "once a day, by partition", "[x,y]; d(a) = all(no_sooner_than='day') >> a/x@20 . a/x@22 a/y . .@24", "d/x=101 d/y=010", "At midnight the partition that waited may go."),
    Named(PACE, "the same hour, and the same day", "d(a, b) = all(within='hour'); e(a, b) = all(within='day') >> a@0.5 .@0.9 b@1.1 . a@1.5 .", "d=001 e=010", "For d the first a is of another hour."),
    Named(PACE, "a joint run over midnight", "d(a, b) = all(within='day', deadline=2, otherwise=1) >> 1[a d]@23 1+a b@23.5 .@24.5 1# . a@25 .@26.9 .@27", "0001", "What it withheld is of yesterday, and the wait is today's."),
)
# fmt: on
