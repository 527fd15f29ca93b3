/* The jobs of one packet: taken in part, singled out, given back, reaped, acknowledged; and how the packet goes when nobody
   needs it any more. See docs/model.md.

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
bool in_ring;              /* it is in a segment of the ring, not in that of scheduled jobs */
bool packet;               /* it has been inserted and is still there */
bool open_;                /* the transaction that inserted it has not ended */
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
#define CLAIM_PART(f) :: d_step { !dead[w] && ready[f] && !locked[f] && !lease[f] && (ready[f] & ~BIT(f)) -> NEEDS; \
  ready[f + 1] = ready[f] & ~BIT(f); lease[f] = BIT(f); owner[f] = w; ready[f] = 0 }
/* settle_jobs_if_leased: a job is to be tried again, or is given back */
#define RETURN(f) :: d_step { !dead[w] && failures && lease[f] && owner[f] == w -> NEEDS; failures--; \
  job = LOWEST(lease[f]); lease[f] = lease[f] & ~job; ONCE(job); single = single | job; job = 0 }
/* ack_leases */
#define ACK(f) :: d_step { !dead[w] && lease[f] && owner[f] == w -> \
  ended = ended | lease[f]; lease[f] = 0; owner[f] = NOBODY }

proctype Worker(byte w) {
  byte job;
end: do
  EACH(CLAIM_WHOLE)
  CLAIM_PART(0) CLAIM_PART(1)
  :: d_step { !dead[w] && single && !mine[w] -> mine[w] = LOWEST(single); single = single & ~mine[w] }
  :: d_step { !dead[w] && mine[w] -> ended = ended | mine[w]; mine[w] = 0 }
  EACH(RETURN)
  EACH(ACK)
  :: d_step { crashes && !dead[w] -> crashes--; dead[w] = true }
  od
}

/* reap: in one transaction, behind the lock of the worker's row */
#define REAP(f) if :: lease[f] && owner[f] == w -> NEEDS; \
  n_ = lease[f]; lease[f] = 0; owner[f] = NOBODY; ONCE(n_); single = single | n_ :: else fi;

proctype Reaper(byte w) {
end:
  d_step { dead[w] -> REAP(0) REAP(1) REAP(2) single = single | mine[w]; mine[w] = 0 }
}

/* promote_due_jobs */
proctype Promoter() {
end:
  d_step { waiting -> ready[0] = waiting; waiting = 0 }
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
  single = single | job
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

/* A producer: the packet, then the row that names it, in one transaction. */
proctype Producer() {
  d_step { packet = true; open_ = true }
  d_step {
    if :: in_ring -> ready[0] = ALL :: else -> waiting = ALL fi;
    open_ = false }
}

/* sweep_packets: in one snapshot, which has no packets of open transactions; then the delete. */
proctype Sweeper() {
  byte stage;
end: do
#ifdef BUG_SWEEP_IN_TWO_LOOKS
  :: d_step { stage == 0 && packet && !open_ && !NAMED_LEASE && !waiting -> stage = 1 }
  :: d_step { stage == 1 -> stage = (NAMED_READY -> 0 : 2) }
#else
  :: d_step { stage == 0 && packet && !open_ && !NAMED -> stage = 2 }
#endif
  :: d_step { stage == 2 -> packet = false; stage = 0; assert(I8 || !NAMED) }
  od
}

/* list_truncatable_tables; lock_out_everybody, which an open insert keeps waiting; check_packets_unneeded; truncate_table */
#ifdef BUG_TRUNCATE_BESIDE_INSERTS
#define LOCKED_OUT true
#else
#define LOCKED_OUT !open_
#endif
#ifdef BUG_TRUNCATE_WITHOUT_LEASES
#define UNNEEDED (!NAMED_READY)
#else
#define UNNEEDED (!(NAMED_READY | NAMED_LEASE))
#endif
proctype Rotator() {
  byte stage;
end: do
  :: d_step { stage == 0 && packet && UNNEEDED -> stage = 1 }
#ifdef BUG_TRUNCATE_WHAT_WAS_LISTED
  :: d_step { stage == 1 && LOCKED_OUT -> packet = false; stage = 0; assert(I8 || (!NAMED && !open_)) }
#else
  :: d_step { stage == 1 && LOCKED_OUT && !UNNEEDED -> stage = 0 }
  :: d_step { stage == 1 && LOCKED_OUT && UNNEEDED -> packet = false; stage = 0; assert(I8 || (!NAMED && !open_)) }
#endif
  od
}

/* When nothing can happen any more, every job has ended or was deleted, and the packet is gone. */
active proctype Judge() {
end:
  timeout -> assert(I1 || ((ended | deleted) == ALL && !(ended & deleted) && !NAMED && !OWN)); assert(I9 || !packet)
}

init {
  atomic {
    if :: run Deleter(BIT(0)) :: run Deleter(BIT(1)) :: run Deleter(BIT(2)) fi;
    run Worker(1); run Worker(2); run Reaper(1); run Reaper(2); run Promoter(); run Producer();
    if :: in_ring = true; run Rotator() :: true fi;
    run Sweeper()
  }
}
