// BullMQ from FOLDER on Redis: `worker PORT` runs tiny jobs until it is killed; `submit PORT N` prints the milliseconds in which
// N of them were added, in batches, and run; `latency PORT N` the p50 and p99 of the start of one job after the other.
import { createRequire } from "node:module"
import { join } from "node:path"

const [folder, mode, port, n] = process.argv.slice(2)
const { Queue, QueueEvents, Worker } = createRequire(join(folder, "package.json"))("bullmq")
const connection = { host: "127.0.0.1", port: Number(port), maxRetriesPerRequest: null }
const pause = (ms) => new Promise((resolve) => setTimeout(resolve, ms))

if (mode === "worker") {
  new Worker("bench", async (job) => (job.name === "now" ? Date.now() : undefined), {
    connection,
    concurrency: 10
  })
} else {
  const queue = new Queue("bench", { connection, defaultJobOptions: { removeOnComplete: true } })
  const done = async () => {
    while ((await queue.getJobCountByTypes("wait", "active", "prioritized", "delayed")) > 0) await pause(10)
  }
  await done()
  if (mode === "submit") {
    const begun = performance.now()
    for (let i = 0; i < Number(n); i += 500) {
      const size = Math.min(500, Number(n) - i)
      await queue.addBulk(Array.from({ length: size }, (_, at) => ({ name: "tiny", data: { n: i + at } })))
    }
    await done()
    console.log(performance.now() - begun)
  } else {
    const events = new QueueEvents("bench", { connection })
    await events.waitUntilReady()
    const starts = []
    for (let i = 0; i < Number(n); i++) {
      await pause(5)
      const asked = Date.now()
      const job = await queue.add("now", {}, { removeOnComplete: false })
      starts.push((await job.waitUntilFinished(events)) - asked)
    }
    starts.sort((a, b) => a - b)
    console.log(starts[Math.floor(starts.length / 2)], starts[Math.floor(starts.length * 0.99)])
    await events.close()
  }
  await queue.close()
}
