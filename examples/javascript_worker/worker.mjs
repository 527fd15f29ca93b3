// A worker in JavaScript, beside workers in Python: it claims, runs, retries, fails, and drains at SIGTERM.
//
//   npm install pg
//   DATABASE_URL=postgresql://… node worker.mjs
//
// All that it does in the database are the functions of docs/protocol.md. One `fastq worker` has to run somewhere: its
// steward makes retries due, and gives back what a worker held that has died.

import os from "node:os";
import pg from "pg";

const LEASE_S = 10;
const RETRIES = 2;
const AT_ONCE = 10; // jobs of a claim; all of them run at the same time
const SEGMENTS = [0, 1, 2, 3];

const tasks = {
  "js.greet": async ({ name }) => console.log(`hello ${name}`),
  "js.nap": async ({ ms, name }) => {
    console.log(`napping ${name}`);
    await new Promise((done) => setTimeout(done, ms));
    console.log(`awake ${name}`);
  },
  "js.fail": async ({ name }) => {
    throw new TypeError(`no ${name} today`);
  },
};

const db = new pg.Pool({ connectionString: process.env.DATABASE_URL, max: 3 });
let worker; // our id
let stopping = false;
let wake = () => {};

async function call(name, params) {
  const named = Object.keys(params).map((key, n) => `p_${key} => $${n + 1}`);
  return (await db.query(`select * from fastq.${name}(${named.join(", ")})`, Object.values(params))).rows;
}

// Lease ids come in blocks of 65,536, and none is used twice.
const ids = { next: 0n, end: 0n };
async function takeIds(count) {
  if (ids.next + count > ids.end) {
    const [{ first }] = await call("take_lease_ids", {});
    [ids.next, ids.end] = [BigInt(first), BigInt(first) + 65536n];
  }
  ids.next += count;
  return ids.next - count;
}

function jobsOf(lease) {
  const found = JSON.parse(lease.batch);
  if (lease.packet === null) {
    return found.map(([, task, attempts, , args, , meta], ord) => ({ ord, task, attempts, args, meta }));
  }
  const start = Number(BigInt(lease.first) - BigInt(lease.packet));
  const meta = lease.meta === null ? undefined : JSON.parse(lease.meta);
  return found
    .slice(start, start + lease.jobs)
    .map((args, ord) => ({ ord, task: lease.task, attempts: 0, args, meta }));
}

// What becomes of a job that did not succeed: the columns of settle_jobs.
function settlement(lease, { ord, attempts, meta }, error) {
  const back = { goes: "ready", state: "ready", delay_s: null, attempt: attempts, meta: meta ?? null };
  const failed = () => {
    const at = new Date().toISOString();
    const told = { type: error.name, message: error.message, traceback: error.stack, attempt: attempts + 1, at };
    const kept = { ...meta, errors: [...(meta?.errors ?? []), told] };
    return attempts < (meta?.retries ?? RETRIES)
      ? { goes: "scheduled", state: "retrying", delay_s: 0.1 * 2 ** attempts, attempt: attempts + 1, meta: kept }
      : { goes: "finished", state: "failed", delay_s: null, attempt: attempts + 1, meta: kept };
  };
  const end = error === undefined ? back : failed();
  const none = { keep_s: null, task: null, payload: null, result: null, frees: Boolean(meta?.unique), advances: null };
  const rest = { anew: false, recalls: false, ran_ms: null };
  return { lease: lease.id, ord, ...end, meta: end.meta && JSON.stringify(end.meta), ...none, ...rest };
}

async function run(lease) {
  const settled = [];
  await Promise.all(
    jobsOf(lease).map(async (job) => {
      if (stopping) return settled.push(settlement(lease, job)); // not begun: somebody else's
      try {
        await tasks[job.task](job.args);
      } catch (error) {
        settled.push(settlement(lease, job, error));
      }
    }),
  );
  if (settled.length) {
    const columns = Object.keys(settled[0]).map((name) => [name, settled.map((row) => row[name])]);
    await call("settle_jobs", { shard: 0, worker, ...Object.fromEntries(columns) });
  }
  await call("ack_leases", { shard: 0, worker, acks: [lease.id] });
}

async function look() {
  const known = Object.keys(tasks);
  let claimed = 0;
  for (const n of SEGMENTS) {
    const where = { shard: 0, from_queue: "", from_group: "", exclude: [], hot: known, known: [], limit: 100 };
    for (const lane of await call(`discover_lanes_${n}`, where)) {
      if (lane.paused || stopping) continue;
      const { queue, priority, group_key } = lane;
      const from = { queue, priority, group_key, low: BigInt(lane.pos) - 1n };
      const most = { limit: AT_ONCE, most: AT_ONCE, rows: AT_ONCE, acks: [], max_bytes: 1 << 22, packet_bytes: 1 << 16 };
      const lease = await takeIds(BigInt(AT_ONCE + 1));
      const rows = await call(`claim_jobs_${n}`, { shard: 0, worker, lease, ...from, ...most, hot: known, known: [] });
      if (!rows[0].alive) throw new Error("this worker was given up by the others");
      const leases = rows.filter((row) => row.id !== null);
      await Promise.all(leases.map(run));
      claimed += leases.length;
    }
  }
  return claimed;
}

const about = JSON.stringify({ version: "javascript", concurrency: AT_ONCE });
const me = { host: os.hostname(), pid: process.pid, name: "javascript", lease_s: LEASE_S, shards: 1, about };
[{ id: worker }] = await call("register_worker", me);
const beating = setInterval(async () => {
  const alive = await call("renew_workers", { shard: 0, workers: [worker], counters: ["{}"], lease_s: LEASE_S });
  if (!alive.length) process.exit(1); // what we held is others' by now
}, (LEASE_S * 1000) / 4);

const ear = await db.connect();
ear.on("notification", () => wake());
await ear.query("listen fastq");
process.on("SIGTERM", () => { stopping = true; wake(); });
console.log(`worker ${worker} is ready`);

while (!stopping) {
  if (await look()) continue;
  await new Promise((done) => { wake = done; setTimeout(done, 1000); });
}
clearInterval(beating);
await call("delete_worker", { shard: 0, worker });
ear.release(true);
await db.end();
console.log("drained");
