import { spawnSync } from "node:child_process"
import { readFileSync, symlinkSync, writeFileSync } from "node:fs"
import { join } from "node:path"
import { fileURLToPath } from "node:url"
import { afterAll, describe, expect, it } from "vitest"
import * as Aio from "./support/Aio.js"

afterAll(Aio.removeFolders)

const root = fileURLToPath(new URL("..", import.meta.url))
const { exports } = JSON.parse(readFileSync(`${root}package.json`, "utf8")) as {
  exports: Record<string, string | { readonly default: string }>
}
const modules = Object.entries(exports).flatMap(([name, to]) => {
  if (name === "./watch") return [] // it watches at once
  const file = typeof to === "string" ? to : to.default
  return file.endsWith(".js") ? [new URL(file, new URL("../", import.meta.url)).href] : []
})

// In a process of a user's own, whose dependencies are loaded already: what is there, then `body`, then what is other.
const changes = (body: string): unknown => {
  const script = `
    import * as effect from "effect"
    import * as platform from "@effect/platform"
    import * as node from "@effect/platform-node"
    import * as undici from "undici"
    import EventEmitter from "node:events"
    import * as stream from "node:stream"
    import * as net from "node:net"
    import * as http from "node:http"
    const { Effect } = effect
    const ids = new Map()
    const shown = (value) => {
      if (typeof value === "symbol") return String(value)
      if (value === null || (typeof value !== "object" && typeof value !== "function")) return JSON.stringify(value)
      if (!ids.has(value)) ids.set(value, ids.size)
      return "#" + ids.get(value)
    }
    const kept = {
      globalThis, process, "process.stdout": process.stdout, "process.stderr": process.stderr,
      Error, Promise, Math, Date, JSON, Reflect, Symbol,
      "Supervisor.none": effect.Supervisor.none, "Logger.defaultLogger": effect.Logger.defaultLogger
    }
    for (const type of [
      Object, Function, Array, String, Number, Symbol, Map, Set, WeakMap, Promise, Error, RegExp, Date, Uint8Array, Buffer,
      AbortSignal, EventTarget, EventEmitter, stream.Readable, stream.Writable, net.Socket, http.Server, undici.Dispatcher,
      undici.Client, undici.Pool, undici.Agent, URL
    ]) Object.assign(kept, { [type.name]: type, [type.name + ".prototype"]: type.prototype })
    for (const [name, module] of Object.entries(effect)) kept["effect." + name] = module
    // Properties that Node sets on first use, such as a handle or a count of its own.
    const nodes = (name, key) => name.startsWith("process") && /^_|^Symbol\\(|^(stdin|exitCode|report)$/.test(String(key))
    const look = () => {
      const state = { env: JSON.stringify(process.env), cwd: process.cwd(), umask: process.umask() }
      for (const [name, value] of Object.entries(kept)) {
        for (const key of Reflect.ownKeys(value)) {
          // A key of the library's own, under its name.
          if (nodes(name, key) || String(key).startsWith("Symbol(effect-asyncio/")) continue
          const { get, set, value: is, ...flags } = Reflect.getOwnPropertyDescriptor(value, key)
          state[name + " " + String(key)] = [shown(get), shown(set), shown(is), JSON.stringify(flags)].join()
        }
      }
      for (const [name, emitter] of Object.entries({ process, stdout: process.stdout, stderr: process.stderr })) {
        for (const event of emitter.eventNames()) state[name + " on " + String(event)] = emitter.listenerCount(event)
      }
      state.dispatcher = shown(undici.getGlobalDispatcher())
      // Timers and handles; a request that reads a file ends without help.
      state.resources = process.getActiveResourcesInfo().filter((kind) => !/Req|Immediate/.test(kind)).sort().join()
      return state
    }
    process.stdout; process.stderr
    const before = look()
    ${body}
    await new Promise(setImmediate)
    const after = look()
    const names = new Set([...Object.keys(before), ...Object.keys(after)])
    console.log(JSON.stringify([...names].filter((name) => before[name] !== after[name])))`
  const cwd = Aio.folder()
  symlinkSync(`${root}node_modules`, join(cwd, "node_modules"))
  writeFileSync(join(cwd, "script.mjs"), script)
  const { status, stderr, stdout } = spawnSync(process.execPath, ["script.mjs"], { encoding: "utf8", cwd })
  expect([status, stderr]).toEqual([0, ""])
  return JSON.parse(stdout)
}

const load = `const all = {}
  for (const url of ${JSON.stringify(modules)}) all[url.split("/").at(-1).slice(0, -3)] = await import(url)`

describe("the library changes nothing that is not its own", () => {
  it("sees what is changed", () => {
    const body = `globalThis.mine = 1; Array.prototype.last = 1; process.on("exit", () => {}); process.env.MINE = "1"
      Object.assign(effect.Supervisor.none, { mine: 1 }); Error.stackTraceLimit = 3`
    expect(changes(body)).toEqual(
      expect.arrayContaining([
        "globalThis mine",
        "Array.prototype last",
        "process on exit",
        "env",
        "Supervisor.none mine",
        "Error stackTraceLimit"
      ])
    )
  })

  it("when all its modules are loaded", () => {
    expect(modules.length).toBeGreaterThan(50)
    expect(changes(load)).toEqual([])
  })

  it("when its services have run and their scopes are closed", () => {
    const body = `${load}
      const { Executor, Gather, Processes, Run, TaskGroup, Timers, VirtualClock } = all
      const Command = platform.Command
      await Effect.runPromise(Effect.gen(function* () {
        yield* Gather.gather([Effect.succeed(1), Effect.yieldNow()])
        yield* TaskGroup.scoped(TaskGroup.start("task", Effect.yieldNow()))
        yield* VirtualClock.run(Effect.sleep("1 day"))
        yield* Effect.provide(Processes.run(Command.make("true")), Processes.layer)
        yield* Effect.provide(Executor.blocking(() => 1), Executor.layerThreads())
        yield* Effect.provide(Effect.flatMap(Timers.Timers, (timers) => timers.callSoon(Effect.void)), Timers.layer)
      }).pipe(Effect.scoped))`
    expect(changes(body)).toEqual([])
  })
})
