import { describe, expect, it } from "vitest"
import * as JobView from "../../../src/commands/subprocess/view.js"

describe("the view of jobs", () => {
  const make = (settings: Partial<JobView.Settings> = {}) => {
    let now = 0
    const made = JobView.make({ tag: false, interactive: false, now: () => now, ...settings })
    return {
      ...made,
      pass: (ms: number) => {
        now += ms
      }
    }
  }
  const started = (index: number): JobView.Event => ({
    ...{ event: "started", index, name: `job ${index}`, attempt: 1, pid: 1, slot: 1 }
  })
  const finished = (
    index: number,
    status: "succeeded" | "failed" | "cancelled" | "skipped"
  ): JobView.Event => ({
    ...{ event: "finished", index, name: `job ${index}`, status, duration: 1, attempts: 1 }
  })
  const output = (label: string, text: string, stream: "stdout" | "stderr" = "stdout"): JobView.Event => ({
    ...{ event: "output", index: 1, name: "job 1", label, stream, bytes: Buffer.from(text, "latin1") }
  })

  it("shows how many jobs are done, have failed and run, and the time left if it knows how many there are", () => {
    const { expect: expectJobs, pass, view } = make()
    for (const index of [1, 2, 3]) view.show(started(index))
    expect(view.live(80)).toEqual(["0 done, 0 failed, 3 running"])
    expectJobs(4)
    pass(1000)
    view.show(finished(1, "failed"))
    view.show(finished(2, "skipped"))
    expect(view.live(80)).toEqual(["━━━━━━━━━━           2 of 4 done, 1 failed, 1 running, 1.0 s left"])
    expect(view.live(50)).toEqual(["2 of 4 done, 1 failed, 1 running, 1.0 s left"])
    view.show({ event: "retrying", index: 3, name: "job 3", attempt: 2, delay: 1, reason: "exit code 1" })
    expect(view.live(80)).toEqual(["━━━━━━━━━━           2 of 4 done, 1 failed, 0 running, 1.0 s left"])
    for (const jobs of [0, 1]) {
      expectJobs(jobs)
      expect(view.live(50)).toEqual([`2 of ${jobs} done, 1 failed, 0 running`])
    }
  })

  it("reports failed and cancelled jobs, and no others", () => {
    const { view } = make()
    const shown = (["succeeded", "failed", "cancelled", "skipped"] as const).map((status) =>
      view.show(finished(1, status))
    )
    expect(shown).toEqual([undefined, { failure: "Failed job 1" }, { note: "Cancelled job 1" }, undefined])
  })

  it.each([
    [false, "a\x1b[2J\tx\na\x1b[2J\ty"],
    [true, "a\\x1b[2J\tx\na\\x1b[2J\ty"]
  ])("puts the item before each line, without control characters on a terminal (%s)", (interactive, text) => {
    const { view } = make({ tag: true, interactive })
    const shown = ["x\n", "y"].map((part) => view.show(output("a\x1b[2J", part))?.bytes)
    expect(Buffer.concat(shown as ReadonlyArray<Uint8Array>).toString()).toBe(text)
  })

  it("plans a command byte for byte, and without control characters on a terminal", () => {
    const planned = { event: "planned", index: 1, name: "echo 'a\udcff\x1b[2J'" } as const
    expect(make().view.show(planned)?.bytes).toEqual(Buffer.from("echo 'a\xff\x1b[2J'\n", "latin1"))
    expect(make({ interactive: true }).view.show(planned)?.bytes).toEqual(
      Buffer.from("echo 'a\\xff\\x1b[2J'\n")
    )
  })

  it("cuts text between characters, for each stream of each job", () => {
    const { view } = make()
    const json = [
      output("a", "caf\xc3"),
      output("a", "\xe2\x82", "stderr"),
      output("a", "\xa9"),
      finished(1, "succeeded")
    ].flatMap((event) => view.json(event))
    expect(json.map((event) => ("text" in event ? event.text : "finished"))).toEqual([
      "caf",
      "é",
      "\ufffd",
      "finished"
    ])
  })
})
