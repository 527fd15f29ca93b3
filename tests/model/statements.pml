/* The statements of fastq/sql that workers send, each at the moment of its commit; `who` is the identity in it. */

/* claim_jobs_if_worker_lives, first part: the worker's row, for key share. Reading it is not enough. */
inline lock_own_worker(who, phase) {
  if
  :: worker_row[who] -> phase = FENCED;
#ifndef BUG_CLAIM_WITHOUT_FENCE
     worker_share[who]++
#endif
  :: else -> phase = REFUSED
  fi
}

/* ack_leases; also part of a claim. */
inline ack_leases(who, set) {
  for (n_ : 0 .. LEASES - 1) {
    if
    :: ((set) & BIT(n_)) && owner[n_] == who -> accept(n_, jobs[n_]); drop(n_)
    :: else
    fi
  }
}

/* A lease id as good as one from a sequence. */
#define LATE_HAS(w, l) (late[w] != NONE && ((late_acks[w] & BIT(l)) || (late[w] != CLAIM && late_lease[w] == l)))
#define TX_HAS(w, l) (tx[w] != NONE && tx_lease[w] == l)
#ifdef BUG_LEASE_ID_AGAIN
#define REMEMBERED(l) (!OUTAGES || outages) && (KNOWN(0, l) || KNOWN(1, l))
#else
#define REMEMBERED(l) (KNOWN(0, l) || KNOWN(1, l))
#endif
#define UNUSED(l) (owner[l] == NOBODY && !DURABLE(l) && !(REMEMBERED(l)) && !LATE_HAS(0, l) && !LATE_HAS(1, l) \
  && !TX_HAS(0, l) && !TX_HAS(1, l) && !((ACKING(0) | ACKING(1)) & BIT(l)))

/* … second part: acks, picks the first jobs in line, makes the lease. Leaves its id or NOBODY in n_. */
inline claim(who, phase, set, those) {
  ack_leases(who, set);
  n_ = NOBODY;
  if
  :: phase == FENCED && (those) ->
     n_ = 0;
     do
     :: n_ < LEASES && !UNUSED(n_) -> n_++
     :: else -> break
     od;
     assert(n_ < LEASES); /* or this model is too small */
     drop(n_);
     NEW_LEASE(n_)
     owner[n_] = who; jobs[n_] = those; ready = ready & ~(those)
  :: else
  fi;
  release_claim(who, phase);
  check()
}

/* ack_jobs, for one job. */
inline ack_job(who, l, j) {
  if
  :: owner[l] == who -> accept(l, BIT(j)); done[l] = done[l] | BIT(j)
  :: else
  fi;
  check()
}

/* settle_jobs_if_leased, for one job. One that is in doubt is first looked up, when its transaction has ended. */
#define IN_DOUBT(l, j) ((TX_HAS(0, l) && tx_job[0] == j) || (TX_HAS(1, l) && tx_job[1] == j))
#if defined(BUG_SETTLE_TWICE)
#define SETTLEABLE(as, l, j) (as != IS_UNSURE || !IN_DOUBT(l, j))
#define UNSETTLED(l) true
#elif defined(BUG_SETTLE_IN_DOUBT)
#define SETTLEABLE(as, l, j) true
#define UNSETTLED(l) !(done[l] & here_)
#else
#define SETTLEABLE(as, l, j) (as != IS_UNSURE || !IN_DOUBT(l, j))
#define UNSETTLED(l) !((done[l] | completed[l]) & here_)
#endif
inline settle(who, as, l, j) {
  here_ = BIT(j);
  if
  :: owner[l] == who && UNSETTLED(l) ->
     assert(I3 || !(accepted & here_));
     assert(I4 || worker_row[who]);
     done[l] = done[l] | here_;
     if
     :: as == TO_GIVE -> ready = ready | here_
     :: as == TO_FAIL -> accepted = accepted | here_
     :: else -> scheduled = scheduled | here_
     fi;
#ifdef BUG_SETTLE_ASYNCHRONOUSLY
     skip
#else
     flush()
#endif
  :: else
  fi;
  check()
}

/* list_leases: which of them a worker may adopt. */
#ifdef BUG_ADOPT_UNTOUCHED_ONLY
#define ADOPTABLE(who, l) (owner[l] == who && !done[l])
#else
#define ADOPTABLE(who, l) (owner[l] == who)
#endif

/* unregister: lock_worker, delete_worker. One that still has leases is left to the reaper. */
#define NOT_OURS(l) owner[l] != ME(w)
#ifdef BUG_SIGN_OFF_WITH_LEASES
#define OWNS_NOTHING true
#else
#define OWNS_NOTHING ALL_LEASES(NOT_OURS)
#endif
inline unregister(w) {
  if
  :: OWNS_NOTHING -> worker_row[ME(w)] = false
  :: else
  fi;
  check()
}

#ifdef BUG_FORGET_BEFORE_ACK
/* delete_progress of a lease whose jobs are finished but not acknowledged. */
#define FORGET(l) :: d_step { FREE(w) && FINISHED(w, l) && completed[l] -> completed[l] = 0; check() }
#endif
