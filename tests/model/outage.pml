/* The crash of a database whose workers commit asynchronously: what was committed since the last flush is lost, the
   latest first. Synchronous commits (of handlers, of reapers, and of settlements) flush all that was before them. */

#if OUTAGES
byte d_ready = ALL, d_scheduled, d_accepted, d_owner[LEASES], d_jobs[LEASES], d_done[LEASES], d_completed[LEASES];
bool d_worker_row[IDS];
byte acked[2]; /* what a worker remembers to have acknowledged */
#ifdef BUG_FORGET_WHAT_WAS_ACKED
#define ACKED_BEFORE(w, l) false
#else
#define ACKED_BEFORE(w, l) (acked[w] & BIT(l))
#endif
#define DURABLE(l) (d_owner[l] != NOBODY)

inline flush() {
  if
  :: outages ->
     d_ready = ready; d_scheduled = scheduled; d_accepted = accepted;
     for (i_ : 0 .. LEASES - 1) {
       d_owner[i_] = owner[i_]; d_jobs[i_] = jobs[i_]; d_done[i_] = done[i_]; d_completed[i_] = completed[i_]
     }
     for (i_ : 0 .. IDS - 1) { d_worker_row[i_] = worker_row[i_] };
     acked[0] = 0; acked[1] = 0 /* these acks are safe */
  :: else
  fi
}

/* What is no longer needed is forgotten, so that states are not told apart by it. */
inline forget_durable() {
  d_ready = 0; d_scheduled = 0; d_accepted = 0;
  for (i_ : 0 .. LEASES - 1) { d_owner[i_] = NOBODY; d_jobs[i_] = 0; d_done[i_] = 0; d_completed[i_] = 0 }
  for (i_ : 0 .. IDS - 1) { d_worker_row[i_] = false }
  for (i_ : 0 .. LEASES - 1) {
    if
    :: owner[i_] == NOBODY -> acked[0] = acked[0] & ~BIT(i_); acked[1] = acked[1] & ~BIT(i_)
    :: else
    fi
  }
}

inline restore() {
  ready = d_ready; scheduled = d_scheduled; accepted = d_accepted;
  for (i_ : 0 .. LEASES - 1) {
    owner[i_] = d_owner[i_]; jobs[i_] = d_jobs[i_]; done[i_] = d_done[i_]; completed[i_] = d_completed[i_];
    lease_share[i_] = 0
  }
  for (i_ : 0 .. IDS - 1) {
    worker_row[i_] = d_worker_row[i_];
    lapsed[i_] = worker_row[i_] && (lapsed[i_] || !((i_ == ME(0) && up[0] != DOWN) || (i_ == ME(1) && up[1] != DOWN)));
    worker_share[i_] = 0; worker_locked[i_] = false
  }
}

inline remember(w, set) {
  for (i_ : 0 .. LEASES - 1) {
    if
    :: (set & BIT(i_)) && DURABLE(i_) -> acked[w] = acked[w] | BIT(i_)
    :: else
    fi
  }
}

inline cut_off(w) {
  claiming[w] = 0;
  forget_late(w);
  if
  :: tx[w] == HELD -> K(w, tx_lease[w], tx_job[w]) = TO_RETRY
  :: else
  fi;
  tx[w] = NONE; tx_lease[w] = 0; tx_job[w] = 0;
  stage[w] = 0; prey[w] = 0
}

proctype Server() {
end: do
  :: d_step { outages && (ready != d_ready || scheduled != d_scheduled || accepted != d_accepted) ->
       printf("the server flushes\n"); flush(); skip }
  :: d_step { CAN(outages) ->
       printf("the server crashes\n"); SPEND(outages);
       restore(); cut_off(0); cut_off(1); forget_durable(); check() }
  od
}
#define SERVER run Server()
#else
#define SERVER skip
#define DURABLE(l) false
#define ACKED_BEFORE(w, l) false
inline flush() { skip }
inline remember(w, set) { skip }
#endif
