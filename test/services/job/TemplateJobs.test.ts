import { assert, describe, it } from "@effect/vitest"
import * as Jobs from "../../../src/services/job/Jobs.js"
import * as TemplateJobs from "../../../src/services/job/TemplateJobs.js"
import * as CommandText from "../../../src/services/process/CommandText.js"

describe("TemplateJobs", () => {
  it("numbers jobs, and identifies them independently of their slot", () => {
    const { next } = TemplateJobs.make(["echo", "{#}", "{%}", "{}"])
    const [a, b] = [next(["a b"]), next(["c"])]
    assert.deepStrictEqual([a.label, b.label], ["a b", "c"])
    assert.strictEqual(CommandText.commandText(a.command(2)), "echo 1 2 'a b'")
    assert.deepStrictEqual([Jobs.keyOf(a), Jobs.keyOf(b)], ["echo 1 '{%}' 'a b'", "echo 2 '{%}' c"])
    const plain = TemplateJobs.make(["echo"]).next(["c"])
    assert.strictEqual(plain.command(1), plain.command(7))
    assert.strictEqual(Jobs.keyOf(plain), "echo c")
  })

  it("has a shell read one word with blanks, or all words when asked to, with quoted items", () => {
    const shown = (jobs: TemplateJobs.TemplateJobs) => CommandText.commandText(jobs.next(["$x"]).command(1))
    assert.strictEqual(shown(TemplateJobs.make(["ls {} | wc"])), "ls '$x' | wc")
    assert.strictEqual(shown(TemplateJobs.make(["ls", "{}"], { shell: true })), "ls '$x'")
    assert.strictEqual(shown(TemplateJobs.make(["ls", "{}"])), "ls '$x'")
    assert.include(TemplateJobs.make(['ls "{}"']).misread?.(["$x"]) ?? "", 'item "$x" contains "$"')
    assert.isUndefined(TemplateJobs.make(["ls", '"{}"']).misread)
  })

  it("names the program if neither items nor a shell decide", () => {
    assert.strictEqual(TemplateJobs.make(["gzip", "{}"]).program, "gzip")
    assert.isUndefined(TemplateJobs.make(["{}"]).program)
    assert.isUndefined(TemplateJobs.make(["gzip {}"]).program)
    assert.isUndefined(TemplateJobs.make(["gzip", "{}"], { shell: true }).program)
  })
})
