// graphile-worker from FOLDER on PostgreSQL: `worker URL` runs tiny jobs until it is killed; `submit URL N` prints the
// milliseconds in which N of them were added, in batches, and run; `latency URL N` the p50 and p99 of the start of one job after
// the other.
import { createRequire } from "node:module"
import { join } from "node:path"

const [folder, mode, connectionString, n] = process.argv.slice(2)
const require = createRequire(join(folder, "package.json"))
const { Logger, makeWorkerUtils, run } = require("graphile-worker")
const { Client } = require("pg")
const logger = new Logger(() => () => undefined)

if (mode === "worker") {
  const taskList = {
    tiny: async () => undefined,
    now: async (_, { query }) => {
      await query("INSERT INTO bench_starts VALUES ($1)", [Date.now()])
    }
  }
  await run({ connectionString, logger, concurrency: 10, maxPoolSize: 12, pollInterval: 2000, taskList })
} else {
  const utils = await makeWorkerUtils({ connectionString, logger })
  await utils.migrate()
  const client = new Client({ connectionString })
  await client.connect()
  const left = async () =>
    Number((await client.query("SELECT count(*) AS n FROM graphile_worker._private_jobs")).rows[0].n)
  const done = async () => {
    while ((await left()) > 0) await new Promise((resolve) => setTimeout(resolve, 10))
  }
  await done()
  if (mode === "submit") {
    const begun = performance.now()
    for (let i = 0; i < Number(n); i += 500) {
      await client.query(
        `SELECT graphile_worker.add_jobs(array_agg(('tiny', json_build_object('n', i), NULL, NULL, NULL, NULL, NULL, NULL)::graphile_worker.job_spec))
         FROM generate_series(1, $1::int) i`,
        [Math.min(500, Number(n) - i)]
      )
    }
    await done()
    console.log(performance.now() - begun)
  } else {
    await client.query("CREATE TABLE IF NOT EXISTS bench_starts (at BIGINT)")
    const starts = []
    for (let i = 0; i < Number(n); i++) {
      await client.query("DELETE FROM bench_starts")
      await new Promise((resolve) => setTimeout(resolve, 5))
      const asked = Date.now()
      await utils.addJob("now", {})
      await done()
      starts.push(Number((await client.query("SELECT at FROM bench_starts")).rows[0].at) - asked)
    }
    starts.sort((a, b) => a - b)
    console.log(starts[Math.floor(starts.length / 2)], starts[Math.floor(starts.length * 0.99)])
  }
  await client.end()
  await utils.release()
}
