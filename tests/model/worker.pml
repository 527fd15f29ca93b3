/* A worker process: what it asks of the database, one statement at a time, and what can go wrong with each.

   That an answer is lost after the commit, that a statement comes late or never, and that the process dies over it are
   three faults. After the first two the worker goes on as if it had not asked, and may ask again. */

/* The second worker waits until the first has done anything: till then they are the same. */
#define MAY(w) (w == 0 || ready != ALL || up[0] != RUNNING || faults < FAULTS)

#define SAY(what, how) \
  printf("worker %d: ", ME(w)); printf(what); printf(" (lease %d, job %d)", on_lease, on_job); printf(how)
#define STATEMENT(happens, heard, what) \
  :: d_step { SAY(#what, "\n"); happens; heard; picked() } \
  :: d_step { CAN(breaks) -> SPEND(breaks); SAY(#what, " and loses the answer\n"); happens; picked() } \
  :: d_step { CAN(breaks) && late[w] == NONE -> SPEND(breaks); SAY(#what, " breaks off\n"); leave(w, what); picked() } \
  :: d_step { CAN(crashes) && late[w] == NONE -> SPEND(crashes); SAY(#what, " and death\n"); \
       leave(w, what); die(w); picked() }

/* Which job it is about is chosen first. */
#define PICK_PART(l, j) :: FREE(w) && K(w, l, j) == OKAY && !FINISHED(w, l) -> on_lease = l; on_job = j
#define PICK_SETTLED(l, j) :: FREE(w) && PENDING(w, l, j) && SETTLEABLE(K(w, l, j), l, j) -> on_lease = l; on_job = j
#define PICKED K(w, on_lease, on_job)
inline picked() { on_lease = 0; on_job = 0 }

/* It claims when it has room and there is something; or when its row is gone, of which it then hears. */
#define WANTS(w) (up[w] == RUNNING && !ACKING(w) && OPEN_LEASES(w) < 2 && (ready || !worker_row[ME(w)]) && MAY(w))
#define SAFE(w) (worker_row[ME(w)] && !lapsed[ME(w)])
#define FIRST (ready & (~ready + 1))

/* Everything finished is acknowledged at once. */
#define TO_ACK(w) (FINISHED_SET(w) | ACKING(w))
#define FREE_TO_ACK(l) ((!FINISHED(w, l) && !(ACKING(w) & BIT(l))) || !lease_share[l])
#define CAN_ACK(w) ALL_LEASES(FREE_TO_ACK)
#define LATE_FREE(l) (!(late_acks[w] & BIT(l)) || !lease_share[l])
inline send_acks(w) {
  acks_ = TO_ACK(w);
  ack_leases(ME(w), acks_);
  check()
}
inline hear_acks(w) {
  acks_ = TO_ACK(w);
  remember(w, acks_);
  close_batches(w, acks_);
#ifdef BUG_ADOPT_WHAT_IS_BEING_ACKED
  acking[w] = 0
#else
  skip
#endif
}

inline send_claim(w, those) {
  acks_ = TO_ACK(w);
  claim(ME(w), claiming[w], acks_, those)
}
inline hear_claim(w) {
  seen_ = n_;
  hear_acks(w);
  if
  :: claiming[w] == REFUSED -> claiming[w] = 0; die(w)
  :: claiming[w] == FENCED && seen_ != NOBODY -> claiming[w] = 0; open_batch(w, seen_, 0)
  :: else -> claiming[w] = 0
  fi
}

/* What the database shows as its own and it does not know, a worker adopts, but for the jobs that are done. A lease
   that it has acknowledged, and that came back in an outage, it acknowledges again. */
#ifdef BUG_ADOPT_WHAT_IS_BEING_ACKED
#define STRANGE(w, l) (!KNOWN(w, l) || (acking[w] & BIT(l)))
#else
#define STRANGE(w, l) !KNOWN(w, l)
#endif
#define OVER(l) (done[l] | completed[l])
#define ADOPTS(l) (ADOPTABLE(ME(w), l) && STRANGE(w, l))
inline adopt(w) {
  for (n_ : 0 .. LEASES - 1) {
    if
    :: ADOPTS(n_) && (jobs[n_] & ~OVER(n_)) && !ACKED_BEFORE(w, n_) -> here_ = OVER(n_); open_batch(w, n_, here_)
    :: ADOPTS(n_) && (!(jobs[n_] & ~OVER(n_)) || ACKED_BEFORE(w, n_)) -> K(w, n_, 0) = SAID
    :: else
    fi
  }
}

/* Told to leave: what was not started goes back. */
inline drain(w) {
  for (i_ : 0 .. LEASES * JOBS - 1) {
    if
    :: known[w * LEASES * JOBS + i_] == WAITS -> known[w * LEASES * JOBS + i_] = TO_GIVE
    :: else
    fi
  }
  up[w] = DRAINING
}

proctype Worker(byte w) {
end: do
  /* claim: all of one lane, or its first job; in two parts where a reaper may come between */
  :: d_step { FREE(w) && WANTS(w) && SAFE(w) && CAN_ACK(w) ->
       printf("worker %d: acknowledges %d, claims %d\n", ME(w), TO_ACK(w), ready);
       lock_own_worker(ME(w), claiming[w]); send_claim(w, ready); hear_claim(w); skip }
  :: d_step { FREE(w) && WANTS(w) && SAFE(w) && CAN_ACK(w) && ready != FIRST ->
       printf("worker %d: acknowledges %d, claims %d\n", ME(w), TO_ACK(w), FIRST);
       lock_own_worker(ME(w), claiming[w]); send_claim(w, FIRST); hear_claim(w); skip }
  :: d_step { CAN(breaks) && FREE(w) && WANTS(w) && SAFE(w) && CAN_ACK(w) ->
       printf("worker %d: acknowledges %d, claims %d, and loses the answer\n", ME(w), TO_ACK(w), ready);
       SPEND(breaks); lock_own_worker(ME(w), claiming[w]); send_claim(w, ready); claiming[w] = 0 }
  :: d_step { FREE(w) && WANTS(w) && !SAFE(w) && !worker_locked[ME(w)] ->
       lock_own_worker(ME(w), claiming[w]);
       printf("worker %d: locks its row\n", ME(w)) }
  :: d_step { claiming[w] && CAN_ACK(w) ->
       printf("worker %d: then acknowledges %d, claims %d\n", ME(w), TO_ACK(w), ready);
       send_claim(w, ready); hear_claim(w); skip }
  :: d_step { claiming[w] && CAN_ACK(w) && ready != FIRST ->
       printf("worker %d: then acknowledges %d, claims %d\n", ME(w), TO_ACK(w), FIRST);
       send_claim(w, FIRST); hear_claim(w); skip }
  :: d_step { CAN(breaks) && claiming[w] && CAN_ACK(w) ->
       printf("worker %d: then acknowledges %d, claims %d, and loses the answer\n", ME(w), TO_ACK(w), ready);
       SPEND(breaks); send_claim(w, ready); claiming[w] = 0 }
  :: d_step { CAN(breaks) && FREE(w) && WANTS(w) && late[w] == NONE ->
       printf("worker %d: its connection breaks over a claim\n", ME(w)); SPEND(breaks); leave(w, CLAIM) }
  :: d_step { CAN(crashes) && FREE(w) && WANTS(w) && late[w] == NONE ->
       printf("worker %d: dies over a claim\n", ME(w)); SPEND(crashes); leave(w, CLAIM); die(w) }
  :: d_step { CAN(drains) && FREE(w) && WANTS(w) && late[w] == NONE ->
       printf("worker %d: drains over a claim\n", ME(w)); SPEND(drains); leave(w, CLAIM); drain(w) }

  /* acknowledge, in part too; settle; adopt */
  :: atomic { FREE(w) && TO_ACK(w) && CAN_ACK(w) -> if STATEMENT(send_acks(w), hear_acks(w), ACK) fi }
  :: atomic { if EACH(PICK_PART) fi; if STATEMENT(ack_job(ME(w), on_lease, on_job), PICKED = SAID, PART) fi }
  :: atomic { if EACH(PICK_SETTLED) fi;
       if STATEMENT(settle(ME(w), PICKED, on_lease, on_job), PICKED = SAID, SETTLE) fi }
  :: d_step { FREE(w) && up[w] == RUNNING && ANY_LEASE(ADOPTS) ->
       printf("worker %d: adopts\n", ME(w)); adopt(w); skip }
#ifdef BUG_ADOPT_WHAT_IS_BEING_ACKED
  :: d_step { FREE(w) && up[w] == RUNNING && FINISHED_SET(w) && !acking[w] ->
       acking[w] = FINISHED_SET(w); printf("worker %d: adopts, with acks %d on their way\n", ME(w), acking[w]);
       adopt(w); skip }
#endif
#ifdef BUG_FORGET_BEFORE_ACK
  EACH_LEASE(FORGET)
#endif

  /* the end: by death, by a lapsed heartbeat, or in good order; and the next one comes */
  :: d_step { CAN(crashes) && FREE(w) && MAY(w) -> printf("worker %d: dies\n", ME(w)); SPEND(crashes); die(w) }
  :: d_step { CAN(expiries) && up[w] != DOWN && worker_row[ME(w)] && !lapsed[ME(w)] && MAY(w) ->
       printf("worker %d: its heartbeat lapses\n", ME(w)); SPEND(expiries); lapsed[ME(w)] = true }
  :: d_step { up[w] != DOWN && worker_row[ME(w)] && lapsed[ME(w)] && !worker_locked[ME(w)] ->
       printf("worker %d: its heartbeat goes on\n", ME(w)); lapsed[ME(w)] = false }
  :: d_step { CAN(drains) && FREE(w) && up[w] == RUNNING && MAY(w) ->
       printf("worker %d: drains\n", ME(w)); SPEND(drains); drain(w) }
  :: d_step { FREE(w) && up[w] == DRAINING && !OPEN_LEASES(w) && !worker_locked[ME(w)] && !worker_share[ME(w)] ->
       unregister(w); printf("worker %d: signs off\n", ME(w)); die(w) }
  :: d_step { up[w] == DOWN && life[w] == 0 ->
       life[w] = 1; worker_row[ME(w)] = true; up[w] = RUNNING; printf("worker %d: starts\n", ME(w)) }
  od
}

/* What was left to the server. */
#define SAY_LATE(what) \
  printf("late, of worker %d: ", late_by[w]); printf(what); printf(" (lease %d, job %d)\n", late_lease[w], late_job[w])
proctype Late(byte w) {
end: do
  :: d_step { late[w] == CLAIM && late_phase[w] == SENT && !worker_locked[late_by[w]] ->
       lock_own_worker(late_by[w], late_phase[w]); SAY_LATE("LOCK") }
  :: d_step { late[w] == CLAIM && late_phase[w] != SENT && ALL_LEASES(LATE_FREE) ->
       SAY_LATE("CLAIM"); claim(late_by[w], late_phase[w], late_acks[w], ready); forget_late(w) }
  :: d_step { late[w] == ACK && ALL_LEASES(LATE_FREE) ->
       SAY_LATE("ACK"); ack_leases(late_by[w], late_acks[w]); check(); forget_late(w) }
  :: d_step { late[w] == PART -> SAY_LATE("PART"); ack_job(late_by[w], late_lease[w], late_job[w]); forget_late(w) }
  :: d_step { late[w] == SETTLE && SETTLEABLE(late_as[w], late_lease[w], late_job[w]) ->
       SAY_LATE("SETTLE"); settle(late_by[w], late_as[w], late_lease[w], late_job[w]); forget_late(w) }
  :: d_step { late[w] != NONE -> release_claim(late_by[w], late_phase[w]); forget_late(w) }
  od
}
