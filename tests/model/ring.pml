/* The ring of segments: producers with an old head in mind, claims from a low-water mark, rotation. See docs/model.md.

   A position is taken before its row is inserted, and the row is seen when its transaction commits: so rows appear
   behind the mark, and in segments that are no longer the head. A claim moves its job into the lease table of the job's
   segment, which is truncated in the same way; the ack deletes it there. */

#ifndef JOBS
#define JOBS 3
#endif
#define SEGMENTS 3
#define NOWHERE  255
#define BIT(n)   (1 << (n))

#define TABLES   6          /* of each segment its jobs, then of each segment its leases */
#define LEASE(s) ((s) + SEGMENTS)
#define SEGMENT(t) ((t) % SEGMENTS)

byte head;
byte rows[TABLES];          /* committed rows: jobs, in order of position; leases of one job each */
bool space[TABLES];         /* the table has a size */
byte users[TABLES];         /* transactions that hold a lock on the table, as any insert, claim or ack does */
bool excluded[TABLES];      /* a rotation holds it access exclusive */
byte claimed, aborted, acked, taken; /* jobs; taken: how many positions */

hidden byte I1, I7, first_, s_; /* I1, I7: always 0 */

#define LIVE (rows[0] | rows[1] | rows[2])
#define FIRST_OF(set) ((set) & (~(set) + 1))
#define LEASED (rows[3] | rows[4] | rows[5])
#define EACH_SEGMENT(X) X(0) X(1) X(2)
#define EACH_TABLE(X) EACH_SEGMENT(X) X(3) X(4) X(5)

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
  byte picked, mine, table;  /* mine: the job that it holds, by a lease in `table` */
  bool leasing, acking;
#ifdef BUG_NEVER_RESCAN
  byte low[SEGMENTS];
#endif
end: do
  EACH_SEGMENT(DISCOVER)
  :: d_step { lane != NOWHERE && !picked && !excluded[lane] && !(rows[lane] & ~mark) -> lane = NOWHERE; mark = 0 }
  :: d_step { lane != NOWHERE && !picked && !mine && !excluded[lane] && (rows[lane] & ~mark) -> /* for update skip locked */
       picked = FIRST_OF(rows[lane] & ~mark); users[lane]++ }
  :: d_step { picked && !leasing && !excluded[LEASE(lane)] -> /* the statement's second table */
       users[LEASE(lane)]++; space[LEASE(lane)] = true; leasing = true }
  :: d_step { picked && leasing ->
       if
       :: rows[lane] & picked ->
          assert(I1 || !(claimed & picked));
          rows[lane] = rows[lane] & ~picked;
          claimed = claimed | picked;
          mine = picked; table = LEASE(lane);
          rows[table] = rows[table] | mine
       :: else /* another one was first */
       fi;
       mark = mark | picked | (picked - 1);
#ifdef BUG_NEVER_RESCAN
       low[lane] = mark;
#endif
       users[lane]--; users[LEASE(lane)]--; picked = 0; leasing = false }
  :: d_step { mine && !acking && !excluded[table] -> users[table]++; acking = true }
  :: d_step { acking ->
       assert(I7 || (rows[table] & mine)); /* its lease is still there: nobody else could have taken it */
       rows[table] = rows[table] & ~mine; acked = acked | mine;
       users[table]--; mine = 0; acking = false }
  od
}

/* list_truncatable_tables; probe_writers, nowait; lock_out_everybody; check_table_empty; truncate_table; and the head goes on.
   Readers that see an emptied segment or a truncated one see the same, so one lock stands for both. */
#ifdef BUG_LEASES_GO_WITH_THEIR_JOBS
#define EMPTY(t) (rows[SEGMENT(t)] == 0)
#else
#define EMPTY(t) (rows[t] == 0)
#endif
#define LOOK(t) :: d_step { stage == 0 && EMPTY(t) && space[t] && SEGMENT(t) != head -> table = t; stage = 1 }

proctype Rotator() {
  byte table, stage;
end: do
  EACH_TABLE(LOOK)
  :: d_step { stage == 1 && (users[table] || excluded[table]) -> table = 0; stage = 0 }
  :: d_step { stage == 1 && !users[table] && !excluded[table] -> excluded[table] = true; stage = 2 }
#ifndef BUG_NO_SECOND_LOOK
  :: d_step { stage == 2 && (!EMPTY(table) || SEGMENT(table) == head) -> excluded[table] = false; table = 0; stage = 0 }
  :: d_step { stage == 2 && EMPTY(table) && SEGMENT(table) != head -> stage = 3 }
#else
  :: d_step { stage == 2 -> stage = 3 }
#endif
  :: d_step { stage == 3 ->
       assert(I7 || !rows[table]); /* I7: no row is truncated */
       rows[table] = 0; space[table] = false; excluded[table] = false; table = 0; stage = 0 }
  :: d_step { stage == 0 && space[head] && !space[(head + 1) % SEGMENTS] -> head = (head + 1) % SEGMENTS }
  od
}

/* When nothing can happen any more, every committed job was claimed and acknowledged. */
active proctype Judge() {
end:
  timeout -> assert(I1 || (!LIVE && !LEASED && taken == JOBS && acked == claimed && (claimed | aborted) == BIT(JOBS) - 1))
}

init {
  atomic {
    for (s_ : 0 .. JOBS - 1) { run Producer(s_) }
    run Claimer(); run Claimer(); run Rotator(); run Rotator()
  }
}
