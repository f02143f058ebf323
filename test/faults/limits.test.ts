import { readFileSync, writeFileSync } from "node:fs"
import { join } from "node:path"
import { pathToFileURL } from "node:url"
import { afterAll, describe, expect, it } from "vitest"
import * as Aio from "../support/Aio.js"

// What is larger than the memory that there is for it, and processes that the system refuses to make.

afterAll(Aio.removeFolders)

const folder = Aio.folder()
writeFileSync(
  join(folder, "peak.mjs"),
  `import { writeFileSync } from "node:fs"
import { isMainThread } from "node:worker_threads"
if (isMainThread) process.on("exit", () => writeFileSync(process.env.PEAK, String(process.resourceUsage().maxRSS)))
`
)
writeFileSync(join(folder, "f.mjs"), "export default (record) => record\nexport const size = (record) => String(record.length)\n")
let runs = 0

/** Runs `aio` to its end; `peak` is the most memory that it had resident, in MB. */
const peakOf = async (words: ReadonlyArray<string>, shell: string, env: Readonly<Record<string, string>> = {}) => {
  const file = join(folder, `peak-${runs++}`)
  const NODE_OPTIONS = `--import ${pathToFileURL(join(folder, "peak.mjs"))} ${env["NODE_OPTIONS"] ?? ""}`
  const running = Aio.start(words, { cwd: folder, shell, env: { ...env, NODE_OPTIONS, PEAK: file } })
  running.end()
  const result = await running.ended
  return { ...result, peak: Number(readFileSync(file, "utf8")) / 1024 }
}

describe("output without a line end, of two jobs at once", () => {
  const bytes = 200_000_000
  const command = `head -c ${bytes} /dev/zero`
  it.each([
    [[], 0],
    [["--keep-order"], 0],
    [["--line-buffer"], 0],
    [["--tag"], 4],
    [["--line-buffer", "--tag"], 4]
  ])("is passed on by subprocess %j in less memory than it needs itself", async (words, more) => {
    const { code, peak, stderr, stdout } = await peakOf(
      ["subprocess", "-q", "-j2", ...words, `${command}; : {}`, ":::", "1", "2"],
      '"$@" | wc -c'
    )
    console.log(peak)
    expect([code, stderr]).toEqual([0, ""])
    expect(Number(stdout)).toBe(2 * bytes + more)
    expect(peak).toBeLessThan(300)
  })
})
