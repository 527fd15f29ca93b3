/* What the worker processes know. All of it dies with them, but for what they have already sent to the server. */

#define DOWN     0
#define RUNNING  1
#define DRAINING 2
byte up[2], life[2];
#define ME(w) (w + 2 * life[w])

/* What a worker knows of each job of each lease. From TO_RETRY to IS_UNSURE it has to be settled. */
#define NOTHING   0
#define WAITS     1
#define RUNS      2
#define TO_RETRY  3
#define TO_FAIL   4
#define TO_GIVE   5
#define IS_UNSURE 6  /* it failed, but its transaction may have committed */
#define OKAY      7  /* it ended well */
#define SAID      8  /* and the database knows; or it was settled */
byte known[2 * LEASES * JOBS];
#define K(w, l, j) known[((w) * LEASES + (l)) * JOBS + (j)]
#define PENDING(w, l, j) (K(w, l, j) >= TO_RETRY && K(w, l, j) <= IS_UNSURE)
#define ENDED(w, l, j) (K(w, l, j) == NOTHING || K(w, l, j) >= OKAY)

/* Choices and sums over all leases, and over all jobs of them. */
#define EACH_LEASE(X) X(0) X(1) X(2) X(3) X(4) X(5)
#define ANY_LEASE(X) (X(0) || X(1) || X(2) || X(3) || X(4) || X(5))
#define ALL_LEASES(X) (X(0) && X(1) && X(2) && X(3) && X(4) && X(5))
#define SUM_OF_LEASES(X) (X(0) + X(1) + X(2) + X(3) + X(4) + X(5))
#define EACH_JOB(X, l) X(l, 0) X(l, 1)
#define EACH(X) EACH_JOB(X, 0) EACH_JOB(X, 1) EACH_JOB(X, 2) EACH_JOB(X, 3) EACH_JOB(X, 4) EACH_JOB(X, 5)
#define KNOWN(w, l) (K(w, l, 0) || K(w, l, 1))
#define FINISHED(w, l) (KNOWN(w, l) && ENDED(w, l, 0) && ENDED(w, l, 1))
#if JOBS == 3
#undef EACH_JOB
#undef KNOWN
#undef FINISHED
#define EACH_JOB(X, l) X(l, 0) X(l, 1) X(l, 2)
#define KNOWN(w, l) (K(w, l, 0) || K(w, l, 1) || K(w, l, 2))
#define FINISHED(w, l) (KNOWN(w, l) && ENDED(w, l, 0) && ENDED(w, l, 1) && ENDED(w, l, 2))
#endif
#define IF_KNOWN(l) KNOWN(w, l)
#define IF_FINISHED(l) (FINISHED(w, l) -> BIT(l) : 0)
#define OPEN_LEASES(w) SUM_OF_LEASES(IF_KNOWN)
#define FINISHED_SET(w) SUM_OF_LEASES(IF_FINISHED)

/* Its connection: free, or in a claim that has its worker's row (FENCED) or did not find it (REFUSED). */
#define SENT    1
#define FENCED  2
#define REFUSED 3
byte claiming[2];
#define FREE(w) (up[w] != DOWN && !claiming[w])
#ifdef BUG_ADOPT_WHAT_IS_BEING_ACKED
byte acking[2]; /* leases that were taken out to be acknowledged, but are not yet */
#define ACKING(w) acking[w]
#else
#define ACKING(w) 0
#endif

/* The statement that it left to a connection that is no longer its own: it happens later, or never. */
#define CLAIM  1
#define ACK    2
#define PART   3
#define SETTLE 4
byte on_lease, on_job; /* what a statement is about, while it is being chosen */
byte late[2], late_phase[2], late_by[2], late_lease[2], late_job[2], late_as[2], late_acks[2];

/* The transaction of a running handler: HELD by it, or LEFT to a server that may yet commit it. */
#define NONE 0
#define HELD 1
#define LEFT 2
byte tx[2], tx_lease[2], tx_job[2];

/* The reapers' transactions. */
byte stage[2], prey[2];
#ifdef LISTS_EARLY
byte unfinished[2 * LEASES];
#endif

inline forget_late(w) {
  late[w] = NONE; late_phase[w] = 0; late_by[w] = 0; late_lease[w] = 0; late_job[w] = 0;
  late_as[w] = 0; late_acks[w] = 0
}

inline leave(w, what) {
  late[w] = what; late_phase[w] = SENT; late_by[w] = ME(w); late_lease[w] = on_lease; late_job[w] = on_job;
  if
  :: what == SETTLE -> late_as[w] = K(w, on_lease, on_job)
  :: what == CLAIM || what == ACK -> late_acks[w] = FINISHED_SET(w) | ACKING(w)
  :: else
  fi
}

inline release_claim(who, phase) {
#ifndef BUG_CLAIM_WITHOUT_FENCE
  if
  :: phase == FENCED -> worker_share[who]--
  :: else
  fi
#else
  skip
#endif
}

/* The process is gone; a transaction that was being committed is the server's now. */
inline die(w) {
  for (i_ : 0 .. LEASES * JOBS - 1) { known[w * LEASES * JOBS + i_] = NOTHING }
#ifdef BUG_ADOPT_WHAT_IS_BEING_ACKED
  acking[w] = 0;
#endif
  if
  :: tx[w] == HELD -> tx[w] = LEFT
  :: else
  fi;
  FORGET_ACKED(w)
  lapsed[ME(w)] = worker_row[ME(w)];
  up[w] = DOWN
}

inline close_batches(w, set) {
  for (i_ : 0 .. LEASES * JOBS - 1) {
    if
    :: (set & BIT(i_ / JOBS)) && known[w * LEASES * JOBS + i_] >= OKAY -> known[w * LEASES * JOBS + i_] = NOTHING
    :: else
    fi
  }
}

inline open_batch(w, l, but) {
  for (i_ : 0 .. JOBS - 1) {
    if
    :: (jobs[l] & ~(but)) & BIT(i_) -> K(w, l, i_) = WAITS
    :: else
    fi
  }
}
