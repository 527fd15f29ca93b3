/* The jobs of one packet: taken in part, singled out, given back, reaped, acknowledged; and who deletes the packet. See
   docs/model.md.

   A row of ready or a lease that stands for neighbours is kept under its first job, as bits. What has a row of its own has
   its payload with it; everything else needs the packet. Each step is a statement at its commit; what it saw before that
   in its snapshot is a step of its own where somebody else may come between. */

#define JOBS    3
#define ALL     7
#define NOBODY  0
#define BIT(n)  (1 << (n))

byte waiting;              /* a row of scheduled: its jobs */
byte ready[JOBS];          /* rows of ready: their jobs */
bool locked[JOBS];         /* rows of ready: somebody is parting it */
byte lease[JOBS];          /* leases: their jobs that are not done */
byte owner[JOBS];          /* leases: whose */
byte single;               /* jobs that have a row of their own in ready */
byte mine[3];              /* jobs of their own that a worker holds */
byte ended, deleted;       /* jobs */
bool dead[3];              /* workers: 1 and 2 */
bool packet = true, cut;   /* the packet is there; its jobs do not go together any more */
byte crashes = 1, deletions = 1, failures = 2;

hidden byte I1, I8, I9;    /* always 0 */
hidden byte n_;

#define NAMED_READY  (ready[0] | ready[1] | ready[2])
#define NAMED_LEASE  (lease[0] | lease[1] | lease[2])
#define NAMED        (NAMED_READY | NAMED_LEASE | waiting)
#define OWN          (single | mine[1] | mine[2])
#define LOWEST(set)  ((set) & (~(set) + 1))
#define EACH(X)      X(0) X(1) X(2)
#define NEEDS        assert(I8 || packet)
#define ONCE(set)    assert(I1 || !((set) & (NAMED | OWN | ended | deleted)))

/* claim_jobs_if_worker_lives: the whole row, or its first job, the others being put back */
#define CLAIM_WHOLE(f) :: d_step { !dead[w] && ready[f] && !locked[f] && !lease[f] -> NEEDS; \
  lease[f] = ready[f]; owner[f] = w; ready[f] = 0 }
#ifdef BUG_PART_WITHOUT_CUT
#define CUT skip
#else
#define CUT cut = true
#endif
#define CLAIM_PART(f) :: d_step { !dead[w] && ready[f] && !locked[f] && !lease[f] && (ready[f] & ~BIT(f)) -> NEEDS; \
  ready[f + 1] = ready[f] & ~BIT(f); lease[f] = BIT(f); owner[f] = w; ready[f] = 0; CUT }
/* settle_jobs_if_leased: a job is to be tried again, or is given back */
#define RETURN(f) :: d_step { !dead[w] && !acks && failures && lease[f] && owner[f] == w -> NEEDS; failures--; \
  job = LOWEST(lease[f]); lease[f] = lease[f] & ~job; ONCE(job); single = single | job; job = 0 }
/* ack_leases: the snapshot, then the deletes, which look again at a packet that was changed meanwhile */
#define OTHERS(f) ((lease[f] && !(acks & BIT(f))) || ready[f])
#define ACK_ONE(f) :: d_step { !dead[w] && !acks && lease[f] && owner[f] == w -> acks = BIT(f); SEE }
#define SEE sole = !cut && !OTHERS(0) && !OTHERS(1) && !OTHERS(2) && !waiting
#define END(f) if :: (acks & BIT(f)) && owner[f] == w && lease[f] -> \
  ended = ended | lease[f]; lease[f] = 0; owner[f] = NOBODY; done = true :: else fi;

proctype Worker(byte w) {
  byte acks, job;
  bool sole, done;
end: do
  EACH(CLAIM_WHOLE)
  CLAIM_PART(0) CLAIM_PART(1)
  :: d_step { !dead[w] && single && !mine[w] -> mine[w] = LOWEST(single); single = single & ~mine[w] }
  :: d_step { !dead[w] && mine[w] -> ended = ended | mine[w]; mine[w] = 0 }
  EACH(RETURN)
  EACH(ACK_ONE)
  :: d_step { !dead[w] && !acks && owner[0] == w && owner[2] == w && lease[0] && lease[2] -> acks = BIT(0) | BIT(2); SEE }
  :: d_step { acks && !dead[w] -> done = false;
       END(0) END(1) END(2)
#ifdef BUG_ACK_TAKES_THE_PACKET
       if :: done -> packet = false :: else fi;
#else
       if :: done && sole && !cut -> packet = false :: else fi;
#endif
       assert(I8 || packet || !NAMED);
       acks = 0; sole = false }
  :: d_step { crashes && !dead[w] -> crashes--; dead[w] = true; acks = 0; sole = false }
  od
}

/* reap: in one transaction, behind the lock of the worker's row */
#ifdef BUG_REAP_WITHOUT_CUT
#define REAPED skip
#else
#define REAPED cut = true
#endif
#define REAP(f) if :: lease[f] && owner[f] == w -> NEEDS; \
  n_ = lease[f]; lease[f] = 0; owner[f] = NOBODY; ONCE(n_); single = single | n_; REAPED :: else fi;

proctype Reaper(byte w) {
end:
  d_step { dead[w] -> REAP(0) REAP(1) REAP(2) single = single | mine[w]; mine[w] = 0 }
}

/* promote_due_jobs */
proctype Promoter() {
end:
  d_step { waiting -> ready[0] = waiting; waiting = 0; cut = true }
}

/* single_out, then the deletion of the row; or of the job of its own that it has become. The row is locked first, and it
   is looked again whether the job is still in it. */
#define FIND(f) :: d_step { row == JOBS && (ready[f] & job) && !locked[f] -> row = f; LOCK(f) }
#ifdef BUG_PART_WITHOUT_LOCK
#define LOCK(f) skip
#else
#define LOCK(f) locked[f] = true
#endif
#ifdef BUG_DELETE_THE_ROW
#define PART deleted = deleted | job; ready[row] = 0
#else
#define PART \
  BEFORE(0) BEFORE(1) BEFORE(2) \
  ready[row] = before; \
  if :: after -> ready[row + (before != 0) + (before == 3) + 1] = after :: else fi; \
  single = single | job; cut = true
#endif
#define BEFORE(n) if :: (all & BIT(n)) && BIT(n) < job -> before = before | BIT(n) \
  :: (all & BIT(n)) && BIT(n) > job -> after = after | BIT(n) :: else fi;

proctype Deleter(byte job) {
  byte row = JOBS, all, before, after;
end: do
  :: d_step { deletions && (single & job) -> deletions--; single = single & ~job; deleted = deleted | job }
  EACH(FIND)
  :: d_step { row < JOBS -> NEEDS; all = ready[row] | job;
       PART;
       locked[row] = false; row = JOBS; all = 0; before = 0; after = 0 }
  od unless { ((ended | deleted) & job) && row == JOBS }
}

/* sweep_packets: in one snapshot; then the delete */
proctype Sweeper() {
  byte stage;
end: do
#ifdef BUG_SWEEP_IN_TWO_LOOKS
  :: d_step { stage == 0 && packet && cut && !NAMED_LEASE && !waiting -> stage = 1 }
  :: d_step { stage == 1 -> stage = (NAMED_READY -> 0 : 2) }
#else
  :: d_step { stage == 0 && packet && cut && !NAMED -> stage = 2 }
#endif
  :: d_step { stage == 2 -> packet = false; stage = 0; assert(I8 || !NAMED) }
  od
}

/* When nothing can happen any more, every job has ended or was deleted, and the packet is gone. */
active proctype Judge() {
end:
  timeout -> assert(I1 || ((ended | deleted) == ALL && !(ended & deleted) && !NAMED && !OWN)); assert(I9 || !packet)
}

init {
  atomic {
    if :: ready[0] = ALL :: waiting = ALL fi;
    if :: run Deleter(BIT(0)) :: run Deleter(BIT(1)) :: run Deleter(BIT(2)) fi;
    run Worker(1); run Worker(2); run Reaper(1); run Reaper(2); run Promoter(); run Sweeper()
  }
}
