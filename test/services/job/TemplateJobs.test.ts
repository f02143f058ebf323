import { assert, describe, it } from "@effect/vitest"
import { Chunk, Effect, Either, FastCheck, Stream } from "effect"
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

  it("takes another place for items, whose {} is text then", () => {
    const { next } = TemplateJobs.make(["echo", "{}", "%", "<%>", "{1.}"], { place: "%" })
    assert.strictEqual(Jobs.keyOf(next(["a.b"])), "echo '{}' a.b '<a.b>' a")
    const shell = TemplateJobs.make(['echo "%"'], { place: "%" })
    assert.include(shell.misread?.(["$x"]) ?? "", "write % without quotes")
    assert.isUndefined(TemplateJobs.make(["%"], { place: "%" }).program)
  })

  it("has a shell run each item if there is no command", () => {
    const jobs = TemplateJobs.make([])
    assert.deepStrictEqual([jobs.program, jobs.misread], [undefined, undefined])
    const request = jobs.next(["echo {} | cat"])
    assert.deepStrictEqual(request.command(1), CommandText.shell("echo {} | cat"))
    assert.strictEqual(Jobs.keyOf(request), "echo {} | cat")
  })

  it("identifies a block by its number and its bytes", () => {
    const key = (text: string, digest?: boolean) =>
      Jobs.keyOf(TemplateJobs.make(["wc", "{#}"], { digest }).feed(Buffer.from(text)))
    assert.match(key("a\n"), /^wc 1 # block 1 [0-9a-f]{16}$/)
    assert.notStrictEqual(key("a\n"), key("b\n"))
    assert.strictEqual(key("a\n", false), "wc 1 # block 1")
  })

  const batches = (
    words: ReadonlyArray<string>,
    options: TemplateJobs.BatchOptions,
    items: ReadonlyArray<string>,
    more: TemplateJobs.Options = {}
  ) =>
    Effect.runSync(
      Effect.either(
        Stream.runCollect(
          TemplateJobs.batches(TemplateJobs.make(words, more), options)(Stream.fromIterable(items))
        )
      )
    ).pipe(Either.map(Chunk.toReadonlyArray))

  it("gives a command several items, as many as are allowed and fit", () => {
    const five = ["1", "2", "3", "4", "5"]
    assert.deepStrictEqual(
      batches(["echo"], { maxArgs: 2 }, five),
      Either.right([["1", "2"], ["3", "4"], ["5"]])
    )
    assert.deepStrictEqual(batches(["echo"], {}, five), Either.right([five]))
    assert.deepStrictEqual(batches(["echo"], { maxArgs: 2 }, []), Either.right([]))
    // "echo", "1" and "2", each with its end.
    assert.deepStrictEqual(
      batches(["echo"], { maxChars: 9 }, five),
      Either.right([["1", "2"], ["3", "4"], ["5"]])
    )
    const long = batches(["echo"], { maxChars: 9 }, ["1", "é234"])
    assert.include(
      Either.getOrThrow(Either.flip(long)).message,
      "item 2 ('é234') does not fit in a command line of 9"
    )
  })

  it("never makes a command line longer than it may be, nor one with room for the next item", () => {
    const word = FastCheck.constantFrom("c", "{}", "x{}y", "{.}{/}", "{#}", "'")
    FastCheck.assert(
      FastCheck.property(
        FastCheck.array(word, { minLength: 1, maxLength: 4 }),
        FastCheck.array(FastCheck.constantFrom("a", "b c", "é.d/e", "$x", "long item"), {
          minLength: 1,
          maxLength: 30
        }),
        FastCheck.boolean(),
        FastCheck.integer({ min: 100, max: 300 }),
        (words, items, shell, maxChars) => {
          const { length } = TemplateJobs.make(words, { shell })
          const made = Either.getOrThrow(batches(words, { maxChars }, items, { shell }))
          assert.deepStrictEqual(made.flat(), items)
          for (const [i, batch] of made.entries()) {
            assert.isAtMost(length(batch), maxChars)
            const next = made[i + 1]?.[0]
            if (next !== undefined) assert.isAbove(length([...batch, next]), maxChars)
          }
        }
      )
    )
  })

  it("cuts an input into blocks at the ends of items, wherever its chunks end", () => {
    FastCheck.assert(
      FastCheck.property(
        FastCheck.array(FastCheck.string({ maxLength: 9 }), { maxLength: 20 }),
        FastCheck.array(FastCheck.integer({ min: 1, max: 30 }), { minLength: 1, maxLength: 10 }),
        FastCheck.option(FastCheck.integer({ min: 1, max: 4 }), { nil: undefined }),
        FastCheck.constantFrom(10, 0),
        (lines, steps, items, end) => {
          const mark = String.fromCharCode(end)
          const text = lines.join(mark)
          const bytes = Buffer.from(text)
          const chunks: Array<Uint8Array> = []
          for (let at = 0, i = 0; at < bytes.length; at += steps[i++ % steps.length]!) {
            chunks.push(bytes.subarray(at, at + steps[i % steps.length]!))
          }
          const made = Effect.runSync(
            Stream.runCollect(TemplateJobs.cut(Stream.fromIterable(chunks), { block: 16, items, end }))
          )
          const blocks = Array.from(made, (block) => Buffer.from(block).toString())
          assert.strictEqual(blocks.join(""), text)
          for (const block of blocks.slice(0, -1)) {
            assert.isTrue(block.endsWith(mark))
            const count = block.split(mark).length - 1
            if (items !== undefined) assert.strictEqual(count, items)
            else assert.isTrue(Buffer.from(block).length <= 16 || count === 1)
          }
        }
      )
    )
  })

  it("refuses an item longer than allowed, before it is whole", () => {
    for (const options of [{ block: 4 }, { items: 2 }]) {
      const cut = TemplateJobs.cut(Stream.make(Buffer.from("a\n"), Buffer.alloc(20, 98)), {
        ...options,
        maxLine: 10
      })
      const { message } = Effect.runSync(Effect.flip(Stream.runDrain(cut)))
      assert.include(message, "longer than 10")
    }
  })
})
