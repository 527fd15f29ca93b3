/* The ring of segments: producers with an old head in mind, claims from a low-water mark, rotation. See docs/model.md.

   A position is taken before its row is inserted, and the row is seen when its transaction commits: so rows appear
   behind the mark, and in segments that are no longer the head. */

#ifndef JOBS
#define JOBS 3
#endif
#define SEGMENTS 3
#define NOWHERE  255
#define BIT(n)   (1 << (n))

byte head;
byte rows[SEGMENTS];        /* committed rows: jobs, in order of position */
bool space[SEGMENTS];       /* the segment has a size */
byte users[SEGMENTS];       /* transactions that hold a lock on the segment, as any insert or claim does */
bool excluded[SEGMENTS];    /* a rotation holds it access exclusive */
byte claimed, aborted, taken; /* jobs; taken: how many positions */

hidden byte I1, I7, first_, s_; /* I1, I7: always 0 */

#define LIVE (rows[0] | rows[1] | rows[2])
#define FIRST_OF(set) ((set) & (~(set) + 1))
#define EACH_SEGMENT(X) X(0) X(1) X(2)

proctype Producer(byte j) {
  byte mine = NOWHERE;
end:
  d_step { taken == j -> taken++; mine = head };           /* take_positions, or the first half of insert_jobs */
  d_step { !excluded[mine] -> users[mine]++; space[mine] = true };
  if
  :: d_step { rows[mine] = rows[mine] | BIT(j); users[mine]-- }
  :: d_step { aborted = aborted | BIT(j); users[mine]-- }
  fi
}

/* A claimer goes on behind the last row it took of a segment, until a claim gives nothing; then it looks again at all
   segments from the beginning. */
#ifdef BUG_CLAIM_FROM_HEAD_ONLY
#define MAY_LOOK(s) s == head
#else
#define MAY_LOOK(s) true
#endif
#ifdef BUG_NEVER_RESCAN
#define FROM(s) ~low[s]
#else
#define FROM(s) 255
#endif
#define DISCOVER(s) :: d_step { lane == NOWHERE && MAY_LOOK(s) && (rows[s] & FROM(s)) -> \
  lane = s; mark = (FIRST_OF(rows[s] & FROM(s)) - 1) }

proctype Claimer() {
  byte lane = NOWHERE, mark; /* mark: the positions it has passed, as bits */
  byte picked;
#ifdef BUG_NEVER_RESCAN
  byte low[SEGMENTS];
#endif
end: do
  EACH_SEGMENT(DISCOVER)
  :: d_step { lane != NOWHERE && !picked && !excluded[lane] && !(rows[lane] & ~mark) -> lane = NOWHERE; mark = 0 }
  :: d_step { lane != NOWHERE && !picked && !excluded[lane] && (rows[lane] & ~mark) -> /* for update skip locked */
       picked = FIRST_OF(rows[lane] & ~mark); users[lane]++ }
  :: d_step { picked ->
       if
       :: rows[lane] & picked ->
          assert(I1 || !(claimed & picked));
          rows[lane] = rows[lane] & ~picked;
          claimed = claimed | picked
       :: else /* another one was first */
       fi;
       mark = mark | picked | (picked - 1);
#ifdef BUG_NEVER_RESCAN
       low[lane] = mark;
#endif
       users[lane]--; picked = 0 }
  od
}

/* list_truncatable_tables; lock_out_writers, nowait; check_table_empty; lock_out_readers; truncate_table; and the head goes on.
   Readers that see an emptied segment or a truncated one see the same, so one lock stands for both. */
#define LOOK(s) :: d_step { stage == 0 && !rows[s] && space[s] && s != head -> segment = s; stage = 1 }

proctype Rotator() {
  byte segment, stage;
end: do
  EACH_SEGMENT(LOOK)
  :: d_step { stage == 1 && (users[segment] || excluded[segment]) -> segment = 0; stage = 0 }
  :: d_step { stage == 1 && !users[segment] && !excluded[segment] -> excluded[segment] = true; stage = 2 }
#ifndef BUG_NO_SECOND_LOOK
  :: d_step { stage == 2 && (rows[segment] || segment == head) -> excluded[segment] = false; segment = 0; stage = 0 }
  :: d_step { stage == 2 && !rows[segment] && segment != head -> stage = 3 }
#else
  :: d_step { stage == 2 -> stage = 3 }
#endif
  :: d_step { stage == 3 ->
       assert(I7 || !rows[segment]); /* I7: no row is truncated */
       rows[segment] = 0; space[segment] = false; excluded[segment] = false; segment = 0; stage = 0 }
  :: d_step { stage == 0 && space[head] && !space[(head + 1) % SEGMENTS] -> head = (head + 1) % SEGMENTS }
  od
}

/* When nothing can happen any more, every committed job was claimed. */
active proctype Judge() {
end:
  timeout -> assert(I1 || (!LIVE && taken == JOBS && (claimed | aborted) == BIT(JOBS) - 1))
}

init {
  atomic {
    for (s_ : 0 .. JOBS - 1) { run Producer(s_) }
    run Claimer(); run Claimer(); run Rotator(); run Rotator()
  }
}
