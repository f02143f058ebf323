import { spawn } from "node:child_process"
import { setImmediate as turn } from "node:timers/promises"
import { assert, describe, it } from "@effect/vitest"
import * as descendants from "../../../src/services/process/internal/descendants.js"

describe("descendants", () => {
  it("reports a descendant that leaves its group after it was found", async () => {
    const leader = spawn("sh", ["-c", "exec 3<&0; (read go <&3; exec setsid sleep 60) & wait"], {
      detached: true,
      stdio: ["pipe", "ignore", "ignore"]
    })
    const strays: Array<number> = []
    const tree: descendants.Tree = {
      group: leader.pid!,
      marker: "none",
      seen: new Map(),
      ended: false,
      onStray: (pid) => void strays.push(pid)
    }
    try {
      for (let i = 0; i < 1e5 && tree.seen.size === 0; i++) {
        await turn()
        descendants.walk(tree)
      }
      const [found] = [...tree.seen.keys()]
      assert.deepStrictEqual(strays, [])
      leader.stdin!.write("go\n")
      const left = () => descendants.statOf(found!)?.group === found
      for (let i = 0; i < 1e5 && !left(); i++) await turn()
      descendants.walk(tree)
      assert.deepStrictEqual(strays, [found])
    } finally {
      descendants.signalTree(tree, "SIGKILL")
    }
  })
})
