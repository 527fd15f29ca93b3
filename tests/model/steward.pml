/* What stewards do: renew who is alive, reap who is not, and promote what has become due.

   A reaper's transaction: lock_worker; lock_leases, waiting for each; list_leased_jobs; settle; delete_leases;
   delete_worker; commit. While it holds the worker's row nothing but acknowledgements and settlements can happen to the
   leases, and those wait for it or it for them; so it is as if all leases were locked at the moment of the commit. What
   was read before that moment is a step of its own. */

#define ROOM(l) (owner[l] != prey[r] || !lease_share[l])

#ifdef LISTS_EARLY
inline list_unfinished(r) {
  for (i_ : 0 .. LEASES - 1) {
    if
    :: owner[i_] == prey[r] -> unfinished[r * LEASES + i_] = jobs[i_] & ~(done[i_] | completed[i_])
    :: else
    fi
  }
}
#endif

#if defined(BUG_LIST_BEFORE_LOCK)       /* settle looked again at `done`, but not at what had been completed */
#define GOES_BACK(l) (unfinished[r * LEASES + l] & ~done[l])
#elif defined(BUG_REAP_WHAT_WAS_LISTED) /* the other way round */
#define GOES_BACK(l) (unfinished[r * LEASES + l] & ~completed[l])
#else
#define GOES_BACK(l) (jobs[l] & ~(done[l] | completed[l]))
#endif

inline let_go(r) {
#ifdef LISTS_EARLY
  for (i_ : 0 .. LEASES - 1) { unfinished[r * LEASES + i_] = 0 }
#endif
  worker_locked[prey[r]] = false; prey[r] = 0; stage[r] = 0
}

inline give_back(r) {
  for (i_ : 0 .. LEASES - 1) {
    if
    :: owner[i_] == prey[r] ->
       here_ = GOES_BACK(i_);
       assert(I3 || !(here_ & accepted));
       ready = ready | here_;
       drop(i_)
    :: else
    fi
  }
  worker_row[prey[r]] = false; lapsed[prey[r]] = false
}

/* The second reaper looks only while the first is at it: they are the same. */
#define FIND(id) \
  :: d_step { stage[r] == 0 && (r == 0 || stage[0]) && worker_row[id] && lapsed[id] -> prey[r] = id; stage[r] = 1 }

/* lock_worker waits for claims and for the other reaper, and then looks again: it may be gone, or renewed. */
#define ALONE (!worker_locked[prey[r]] && !worker_share[prey[r]])

proctype Reaper(byte r) {
end: do
  FIND(0) FIND(1) FIND(2) FIND(3)
  :: d_step { stage[r] == 1 && ALONE && !(worker_row[prey[r]] && lapsed[prey[r]]) -> prey[r] = 0; stage[r] = 0 }
  :: d_step { stage[r] == 1 && ALONE && worker_row[prey[r]] && lapsed[prey[r]] ->
       worker_locked[prey[r]] = true; printf("reaper %d: locks worker %d\n", r, prey[r]);
#ifdef LISTS_EARLY
       list_unfinished(r);
#endif
       stage[r] = 2 }
  :: d_step { stage[r] == 2 && ALL_LEASES(ROOM) ->
       printf("reaper %d: gives back what worker %d had\n", r, prey[r]); give_back(r); let_go(r); flush(); check() }
  :: d_step { CAN(crashes) && stage[r] == 2 -> SPEND(crashes); let_go(r) } /* or its lock_timeout passes */
  od
}

active proctype Promoter() {
end: do
  :: d_step { scheduled -> ready = ready | scheduled; scheduled = 0; check() }
  od
}
