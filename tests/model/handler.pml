/* A running job. A plain run is seen by others only when it ends, so that it is one step. A handler may do its work in
   a transaction whose commit also completes the job; that is seen while it is open. */

inline ran(w, l, j, as) {
  if
  :: as == OKAY && owner[l] == ME(w) -> ran_well[l] = ran_well[l] | BIT(j)
  :: else
  fi;
  K(w, l, j) = as
}

/* hold_lease: for key share, so that a reaper waits. Without a row, or when the job is done: LeaseLost. */
inline hold(w, l, j) {
  if
  :: owner[l] != ME(w) || ((done[l] | completed[l]) & BIT(j)) -> K(w, l, j) = TO_RETRY
  :: else ->
     K(w, l, j) = RUNS;
     tx[w] = HELD; tx_lease[w] = l; tx_job[w] = j;
#ifndef BUG_COMPLETE_WITHOUT_HOLD
     lease_share[l]++
#endif
  fi
}

inline transaction_ends(w) {
#ifndef BUG_COMPLETE_WITHOUT_HOLD
  lease_share[tx_lease[w]]--;
#endif
  tx[w] = NONE; tx_lease[w] = 0; tx_job[w] = 0
}

/* The handler's effects and `complete_job`: with them the job's outcome is accepted, once (I3), by the fence (I4). */
inline commit(w) {
  here_ = BIT(tx_job[w]);
  assert(I3 || !(accepted & here_));
  assert(I4 || (owner[tx_lease[w]] != NOBODY && worker_row[owner[tx_lease[w]]]));
  accepted = accepted | here_;
  completed[tx_lease[w]] = completed[tx_lease[w]] | here_;
  flush();
  check()
}

/* I6: no job is run again under a lease under which it ran well. */
#define STARTS(w, l, j) up[w] == RUNNING && tx[w] != HELD && K(w, l, j) == WAITS
#define TELL(l, j, how) printf("worker %d's job (lease %d, job %d) ", ME(w), l, j); printf(how)
#define RUN(l, j) \
  :: d_step { STARTS(w, l, j) -> assert(I6 || owner[l] != ME(w) || !(ran_well[l] & BIT(j))); \
       TELL(l, j, "ends well\n"); ran(w, l, j, OKAY) } \
  :: d_step { CAN(failures) && STARTS(w, l, j) -> \
       SPEND(failures); TELL(l, j, "fails, to be retried\n"); ran(w, l, j, TO_RETRY) } \
  :: d_step { CAN(failures) && STARTS(w, l, j) -> \
       SPEND(failures); TELL(l, j, "fails for good\n"); ran(w, l, j, TO_FAIL) } \
  :: d_step { STARTS(w, l, j) && tx[w] == NONE -> assert(I6 || owner[l] != ME(w) || !(ran_well[l] & BIT(j))); \
       TELL(l, j, "begins a transaction\n"); hold(w, l, j) }

/* The transaction that is open. */
#define TX_TELL(how) printf("worker %d's transaction (lease %d, job %d) ", ME(w), tx_lease[w], tx_job[w]); printf(how)
#define TX_RAN(as) ran(w, tx_lease[w], tx_job[w], as)

proctype Handler(byte w) {
end: do
  EACH(RUN)
  :: d_step { tx[w] == HELD -> TX_TELL("commits\n"); commit(w); TX_RAN(OKAY); transaction_ends(w) }
  :: d_step { CAN(failures) && tx[w] == HELD ->
       SPEND(failures); TX_TELL("is rolled back\n"); TX_RAN(TO_RETRY); transaction_ends(w) }
  :: d_step { CAN(cuts) && tx[w] == HELD -> SPEND(cuts); TX_TELL("is cut off\n"); TX_RAN(IS_UNSURE); tx[w] = LEFT }
  :: d_step { tx[w] == LEFT -> TX_TELL("commits late\n"); commit(w); transaction_ends(w) }
  :: d_step { tx[w] == LEFT -> TX_TELL("never commits\n"); transaction_ends(w) }
  od
}
