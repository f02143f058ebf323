import { existsSync, readFileSync, rmSync } from "node:fs"
import { dirname } from "node:path"
import { isMainThread, type MessagePort, workerData } from "node:worker_threads"
import * as Protocol from "./protocol.js"
import * as Runner from "./runner.js"
import type { Task } from "./task.js"

// The entry of an executor's threads and of its child processes.

if (isMainThread) {
  const [, , asked = "", initializer = ""] = process.argv
  let looked = 0
  const send = process.send!.bind(process)
  // A job that used it would send messages that look like reports.
  delete (process as { send?: unknown }).send
  const runner = Runner.make(
    {
      post: (report) => void send(Protocol.encode(report)),
      control: undefined,
      // Read from a file that exists only once a job is asked to end; at most one look a millisecond.
      isAsked: (id, item) => {
        const now = performance.now()
        if (now - looked < 1 || !existsSync(asked)) {
          looked = now - looked < 1 ? looked : now
          return false
        }
        const [order, of] = readFileSync(asked, "utf8").split(" ").map(Number)
        return order === id && (of === -1 || of === item)
      },
      end: () => {
        // After all posted reports.
        send(Protocol.encode({ end: true }), () => process.exit(1))
      }
    },
    initializer === "" ? undefined : (JSON.parse(initializer) as Task)
  )
  process.on("message", (bytes: Uint8Array) => {
    let message: Protocol.Message
    try {
      message = Protocol.decode(bytes) as Protocol.Message
    } catch (error) {
      return runner.unread(error)
    }
    runner.receive(message)
  })
  process.on("disconnect", () => {
    rmSync(dirname(asked), { recursive: true, force: true })
    process.exit(0) // the executor's process is gone
  })
} else {
  const { initializer, memory, port } = workerData as {
    readonly memory: SharedArrayBuffer
    readonly port: MessagePort
    readonly initializer: Task | undefined
  }
  // Hidden from jobs: a job that closed the port could never report.
  for (const name of Object.keys(workerData as object)) Reflect.deleteProperty(workerData as object, name)
  const runner = Runner.make(
    {
      post: (report, transfer) => port.postMessage(report, transfer ?? []),
      control: Protocol.control(memory),
      isAsked: () => false,
      end: () => process.exit(1)
    },
    initializer
  )
  port.on("message", runner.receive)
  port.on("messageerror", runner.unread)
}
