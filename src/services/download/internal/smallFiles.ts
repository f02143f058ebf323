import * as fsp from "node:fs/promises"
import { Worker } from "node:worker_threads"

// For many small files, passing each open, write, close and rename to Node's thread pool, whose threads wait for each
// other in one folder, costs more than the calls themselves. After the first few files a dedicated thread makes the
// calls, in batches (`npm run bench -- gather`).

/** Files that the thread pool writes before the thread is worth its start. */
const few = 16

interface Save {
  readonly temporary: string
  readonly final: string
  readonly body: Buffer
  /** The time that the file gets. */
  readonly modified: Date | undefined
  readonly done: (error: Error | undefined) => void
}

/** One for each file of a batch: nothing, or its error. */
type Answer = ReadonlyArray<{
  readonly message: string
  readonly code: string
  readonly syscall: string
} | null>

/** Names in pairs, temporary and final; lengths; times in seconds; and all bodies. */
type Batch = [Array<string>, Array<number>, Array<number | undefined>, ArrayBuffer]

// Runs in the thread; self-contained, because only its source is sent there.
const work = () => {
  const fs = require("node:fs") as typeof import("node:fs")
  const { parentPort } = require("node:worker_threads") as typeof import("node:worker_threads")
  parentPort!.on("message", ([names, lengths, times, bodies]: Batch) => {
    let offset = 0
    const answer = lengths.map((length, i) => {
      const body = new Uint8Array(bodies, offset, length)
      offset += length
      const temporary = names[2 * i]!
      let created = false
      try {
        const fd = fs.openSync(temporary, "wx")
        created = true
        try {
          for (let at = 0; at < length; ) at += fs.writeSync(fd, body, at)
          const time = times[i]
          try {
            if (time !== undefined) fs.futimesSync(fd, Date.now() / 1000, time)
          } catch {
            // a file system without times is no failure
          }
        } finally {
          fs.closeSync(fd)
        }
        fs.renameSync(temporary, names[2 * i + 1]!)
        return null
      } catch (error) {
        if (created) fs.rmSync(temporary, { force: true })
        const { code, message, syscall } = error as NodeJS.ErrnoException
        return { code, message, syscall }
      }
    })
    parentPort!.postMessage(answer)
  })
}

export class SmallFiles {
  #begun = 0
  #worker: Worker | undefined
  #waiting: Array<Save> = []
  #out: Array<Save> | undefined
  #idle: (() => void) | undefined

  /** Writes the body under its temporary name and renames it; removes the file after a failure. */
  async save(temporary: string, final: string, body: Buffer, modified: Date | undefined): Promise<void> {
    if (this.#begun++ < few) {
      try {
        await fsp.writeFile(temporary, body, { flag: "wx" })
        if (modified !== undefined) await fsp.utimes(temporary, new Date(), modified).catch(() => undefined)
        await fsp.rename(temporary, final)
      } catch (error) {
        // A file that existed before belongs to another program.
        if ((error as NodeJS.ErrnoException).syscall !== "open") await fsp.rm(temporary, { force: true })
        throw error
      }
      return
    }
    await new Promise<void>((resolve, reject) => {
      this.#waiting.push({
        temporary,
        final,
        body,
        modified,
        done: (error) => (error === undefined ? resolve() : reject(error))
      })
      if (this.#waiting.length === 1 && this.#out === undefined) setImmediate(() => this.#send())
    })
  }

  #send() {
    if (this.#out !== undefined || this.#waiting.length === 0) return
    const batch = this.#waiting
    this.#waiting = []
    this.#out = batch
    const bodies = new Uint8Array(batch.reduce((sum, { body }) => sum + body.length, 0))
    let offset = 0
    for (const { body } of batch) {
      bodies.set(body, offset)
      offset += body.length
    }
    const names = batch.flatMap(({ final, temporary }) => [temporary, final])
    const times = batch.map(({ modified }) => modified && modified.getTime() / 1000)
    const lengths = batch.map(({ body }) => body.length)
    this.#worker ??= this.#start()
    this.#worker.postMessage([names, lengths, times, bodies.buffer] satisfies Batch, [bodies.buffer])
  }

  #start(): Worker {
    const worker = new Worker(`(${work})()`, { eval: true, stdin: false })
    worker.on("message", (answer: Answer) => {
      this.#settle((i) => (answer[i] === null ? undefined : Object.assign(new Error(), answer[i])))
    })
    const lost = (error: unknown) => {
      if (this.#worker === worker) this.#worker = undefined
      this.#settle(() => new Error(`the thread that writes files ended: ${error}`))
    }
    worker.on("error", lost)
    worker.on("exit", lost)
    return worker
  }

  #settle(errorOf: (index: number) => Error | undefined) {
    const batch = this.#out ?? []
    this.#out = undefined
    for (let i = 0; i < batch.length; i++) batch[i]!.done(errorOf(i))
    this.#send()
    if (this.#out === undefined) this.#idle?.()
  }

  /** Waits for pending writes, then ends the thread. */
  async close(): Promise<void> {
    if (this.#out !== undefined || this.#waiting.length > 0) {
      await new Promise<void>((resolve) => {
        this.#idle = resolve
      })
    }
    await this.#worker?.terminate()
  }
}
