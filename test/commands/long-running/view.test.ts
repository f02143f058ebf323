import { describe, expect, it } from "@effect/vitest"
import * as Prefixed from "../../../src/commands/kernel/Prefixed.js"
import * as States from "../../../src/commands/long-running/states.js"
import * as View from "../../../src/commands/long-running/view.js"
import type * as Services from "../../../src/services/supervision/Services.js"

const plain = { interactive: false, colors: false }

describe("the view of aio long-running", () => {
  const prefixed = Prefixed.make({
    names: ["web", "db"],
    prefix: "{name} | ",
    raw: false,
    timestamps: false,
    stdout: plain,
    stderr: plain,
    now: () => 0
  })
  const web = { index: 1, name: "web" } as const
  const play = (events: ReadonlyArray<readonly [at: number, event: Services.ServiceEvent]>) => {
    let at = 0
    const states = States.make(["web", "db"], () => at)
    const view = View.make({
      states,
      checked: new Map([["db", true]]),
      prefixed,
      now: () => at
    })
    const shown = events.map(([now, event]) => {
      at = now
      states.take(event)
      return view.show(event)
    })
    return { shown, table: view.live!(80) }
  }

  it("has a row per service, from its events", () => {
    const started = [100, { event: "started", ...web, run: 1, pid: 7, command: "web" }] as const
    const head = "NAME  STATE"
    expect(play([]).table).toEqual([
      "NAME  STATE    PID  AGE  RESTARTS  LAST EXIT  CPU  MEMORY",
      "web   waiting            0",
      "db    waiting            0"
    ])
    const cases: ReadonlyArray<readonly [ReadonlyArray<readonly [number, Services.ServiceEvent]>, RegExp]> = [
      [[started], /^web {3}starting {2}7 {4}0 ms {2}0$/],
      [
        [started, [2900, { event: "sampled", ...web, pid: 7, cpu: 12.6, memory: 3 * 1024 * 1024 }]],
        /^web {3}starting {2}7 {4}2.0 s {2}0 {20}13 % {2}3.0 MiB$/
      ],
      [
        [
          started,
          [200, { event: "exited", ...web, run: 1, duration: 100, reason: "exit code 3", exitCode: 3 }],
          [200, { event: "restarting", ...web, run: 2, delay: 500 }]
        ],
        /^web {3}backing off {12}1 {9}exit code 3$/
      ],
      [
        [started, [300, { event: "finished", ...web, status: "cancelled", duration: 200, restarts: 0 }]],
        /^web {3}cancelled {12}0$/
      ]
    ]
    for (const [events, row] of cases) {
      const { table } = play(events)
      expect(table[0]).toContain(head)
      expect(table[1]).toMatch(row)
    }
  })

  it("has no line for a service that is ready at its start, nor for one that is stopped", () => {
    const { shown } = play([
      [0, { event: "ready", ...web, run: 1, duration: 0 }],
      [0, { event: "ready", index: 2, name: "db", run: 1, duration: 1500 }],
      [0, { event: "finished", ...web, status: "cancelled", duration: 200, reason: "SIGINT", restarts: 0 }]
    ])
    expect(shown).toEqual([undefined, { note: "db is ready after 1.5 s" }, undefined])
  })
})
