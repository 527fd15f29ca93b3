/* The lease protocol: worker rows, leases, acknowledgements, settlements, reaping. See docs/model.md.

   Each step is one moment of PostgreSQL at READ COMMITTED: a statement has all the row locks that it waits for, has
   looked again at the rows it locked, and commits. Where a transaction holds locks from one statement to the next, or
   reads something before it waits, there are several steps. Sets are bits of a byte; what a run may go wrong with is
   counted, so that every run comes to an end. */

#ifndef JOBS
#define JOBS 2     /* or 3 */
#endif
#define IDS      4 /* identities: two worker processes, which may each be replaced once */
#define LEASES   6 /* ids are used again once no row, memory, statement or transaction has them */
#define NOBODY   255
#define ALL      ((1 << JOBS) - 1)
#define BIT(n)   (1 << (n))

/* How many faults one run may have, of all kinds and of each. */
#ifndef FAULTS
#define FAULTS 2
#endif
#ifndef CRASHES
#define CRASHES 1  /* a worker process dies */
#endif
#ifndef EXPIRIES
#define EXPIRIES 1 /* its heartbeat lapses: it was frozen or cut off, and may go on later, knowing nothing */
#endif
#ifndef BREAKS
#define BREAKS 1   /* a connection breaks: its statement has happened, happens later, or never */
#endif
#ifndef CUTS
#define CUTS 1     /* a handler is cancelled or cut off while its transaction commits */
#endif
#ifndef FAILURES
#define FAILURES 1 /* a handler raises */
#endif
#ifndef DRAINS
#define DRAINS 1   /* a worker is told to leave */
#endif
#ifndef OUTAGES
#define OUTAGES 0  /* the database crashes, and loses what was committed asynchronously since the last flush */
#endif

byte faults = FAULTS, crashes = CRASHES, expiries = EXPIRIES, breaks = BREAKS, cuts = CUTS, failures = FAILURES,
     drains = DRAINS, outages = OUTAGES;
#define CAN(kind)   (faults && kind)
#define SPEND(kind) faults--; kind--

/* -- the tables, as committed, and who holds locks on their rows */

byte ready, scheduled, accepted;          /* jobs; accepted: whose final outcome counts, in whatever way */
bool worker_row[IDS], lapsed[IDS];        /* lapsed: a steward may take it for dead */
byte owner[LEASES];                       /* an identity, or NOBODY: there is no such row */
byte jobs[LEASES], done[LEASES];
byte completed[LEASES];                   /* progress: jobs whose own transaction committed */
byte worker_share[IDS];                   /* claims that hold the worker's row for key share */
bool worker_locked[IDS];                  /* a reaper holds it for update */
byte lease_share[LEASES];                 /* handlers' transactions that hold the lease's row for key share */

/* -- what must always hold; the names stand in the checker's messages */

hidden byte I1, I2, I3, I4, I5, I6; /* always 0 */
hidden byte i_, n_, seen_, here_, acks_;
byte ran_well[LEASES];              /* jobs whose handler ended well under this lease */

/* I1: every job is in exactly one place, or its outcome was accepted. I5: every lease has its worker's row. */
inline check() {
  seen_ = 0;
  for (i_ : 0 .. LEASES - 1) {
    if
    :: owner[i_] != NOBODY ->
       assert(I5 || worker_row[owner[i_]]);
       here_ = jobs[i_] & ~(done[i_] | completed[i_]);
       assert(I1 || !(seen_ & here_));
       seen_ = seen_ | here_
    :: else
    fi
  }
  assert(I1 || !(seen_ & ready));
  seen_ = seen_ | ready;
  assert(I1 || !(seen_ & scheduled));
  seen_ = seen_ | scheduled;
  assert(I1 || !(seen_ & accepted));
  assert(I1 || (seen_ | accepted) == ALL)
}

/* I2: a job is done only if its handler ended well. I3: an outcome is accepted once. I4: while the worker is there. */
inline accept(l, those) {
  here_ = (those) & ~(done[l] | completed[l]);
  assert(I2 || !(here_ & ~ran_well[l]));
  assert(I3 || !(here_ & accepted));
  assert(I4 || worker_row[owner[l]]);
  accepted = accepted | here_
}

#if OUTAGES /* a lease may come back */
#define FORGET_RUNS(l) skip
#define FORGET_ACKED(w) acked[w] = 0;
#define NEW_LEASE(l) ran_well[l] = 0; acked[0] = acked[0] & ~BIT(l); acked[1] = acked[1] & ~BIT(l);
#else
#define FORGET_RUNS(l) ran_well[l] = 0
#define FORGET_ACKED(w)
#define NEW_LEASE(l)
#endif

inline drop(l) {
  owner[l] = NOBODY; jobs[l] = 0; done[l] = 0; completed[l] = 0;
  FORGET_RUNS(l)
}

#if defined(BUG_LIST_BEFORE_LOCK) || defined(BUG_REAP_WHAT_WAS_LISTED)
#define LISTS_EARLY
#endif
#include "memory.pml"
#include "outage.pml"
#include "statements.pml"
#include "worker.pml"
#include "handler.pml"
#include "steward.pml"

/* When nothing can happen any more, every job has had its outcome and no lease is left: nothing waits for ever. */
#define NO_ROW(l) owner[l] == NOBODY
active proctype Judge() {
end:
  timeout -> assert(I1 || accepted == ALL);
  assert(I1 || ALL_LEASES(NO_ROW))
}

init {
  d_step {
    ready = ALL;
    for (i_ : 0 .. LEASES - 1) { owner[i_] = NOBODY }
    worker_row[0] = true; up[0] = RUNNING;
    worker_row[1] = true; up[1] = RUNNING;
    flush(); skip
  }
  atomic {
    run Worker(0); run Late(0); run Handler(0); run Reaper(0);
    run Worker(1); run Late(1); run Handler(1); run Reaper(1);
    SERVER
  }
}
