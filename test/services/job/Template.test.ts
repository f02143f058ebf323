import { spawnSync } from "node:child_process"
import { describe, expect, it } from "@effect/vitest"
import { Either, FastCheck } from "effect"
import * as Template from "../../../src/services/job/Template.js"
import * as ShellWords from "../../../src/services/text/ShellWords.js"

const fill = (words: ReadonlyArray<string>, ...values: ReadonlyArray<string>) =>
  Template.make(words)({ values, seq: 7, slot: 2 })

describe("Template", () => {
  it.each([
    ["{}", "/a/b.tar.gz", "/a/b.tar.gz"],
    ["{.}", "/a/b.tar.gz", "/a/b.tar"],
    ["{.}", "/a.d/b", "/a.d/b"],
    ["{.}", "/a/.profile", "/a/.profile"],
    ["{/}", "/a/b.tar.gz", "b.tar.gz"],
    ["{//}", "/a/b.tar.gz", "/a"],
    ["{//}", "b", "."],
    ["{//}", "/b", "/"],
    ["{/.}", "/a/b.png", "b"],
    ["{#}-{%}", "x", "7-2"],
    ["x{}y{}", "1", "x1y1"],
    ["{x} {", "1", "{x} {"]
  ])("%s of %s is %s", (word, value, filled) => {
    // A word beside it keeps items from being appended where there is no place for them.
    expect(fill([word, "{#}"], value)[0]).toBe(filled)
  })

  it("appends items if there is no place for them, and spreads them if a word is only {} or a part of it", () => {
    expect(fill(["cp", "-v"], "a b", "c")).toEqual(["cp", "-v", "a b", "c"])
    expect(fill(["cp", "{}", "x{}"], "a b", "c")).toEqual(["cp", "a b", "c", "xa b c"])
    expect(fill(["{/}", "{//}"], "a//b.c", "d/e")).toEqual(["b.c", "e", "a", "d"])
    expect(fill(["mv", "{2}", "{1.}"], "a.txt", "c")).toEqual(["mv", "c", "a"])
    expect(Template.highest(["{2}", "x{13.}", "{}"])).toBe(13)
  })

  it("takes items from the command line, and reports their problems", () => {
    expect(Either.getOrThrow(Template.split(["echo", ":::", "a", "b", ":::+", "c"]))).toEqual({
      command: ["echo"],
      sources: [
        { values: ["a", "b"], linked: false },
        { values: ["c"], linked: true }
      ]
    })
    expect(Either.getOrThrow(Template.split(["echo"]))).toEqual({ command: ["echo"], sources: [] })
    for (const [words, problem] of [
      [["echo", ":::"], "':::' has no items after it; write ::: ITEM…"],
      [["echo", ":::", "a", ":::+"], "':::+' has no items after it; write ::: ITEM…"],
      [["echo", ":::+", "a"], "':::+' links to a list before it; begin with ':::'"]
    ] as const) {
      expect(Either.flip(Template.split(words)).pipe(Either.getOrThrow)).toBe(problem)
    }
  })

  describe("misread", () => {
    // Where a shell takes {} as more than text when an item is put there, quoted; by asking a shell itself.
    const commands = [
      "c {}",
      "c a{}b",
      `c "{}"`,
      `c 'a {} b'`,
      `c "a \\"{}" {}`,
      `c \\"{}\\"`,
      `c it\\'s {} 'x'`,
      `c '"' {} '"'`,
      `c "'" {} "'"`,
      `c "$HOME/{}"`,
      `c "\${HOME}/{}"`,
      `c "$(echo x) {}"`,
      `c "$(echo {})"`,
      `c $(echo "{}")`,
      `c {} # don't "{}"`,
      `c a#"{}"`,
      `c # it's\nc {}`,
      "c #"
    ]
    it("refuses an item exactly where a shell would read it as more than text", () => {
      const items = [
        "plain",
        "",
        "a b",
        "it's",
        "$(echo read >&2)",
        "`echo read >&2`",
        '"; echo read >&2; "',
        "'; echo read >&2; '",
        "; echo read >&2 #",
        "x\necho read >&2 #"
      ]
      for (const command of commands) {
        const template = Template.make([command], ShellWords.quote)
        const misread = Template.misread(command)
        for (const item of items) {
          const place = { values: [item], seq: 1, slot: 1 }
          const { stderr } = spawnSync("/bin/sh", ["-c", `c() { :; }\n${template(place).join(" ")}`])
          const read = stderr.toString().includes("read\n")
          if (read) expect([command, item, misread?.(place)]).toEqual([command, item, expect.any(String)])
        }
        for (const item of ["plain", "", "a/b.c", "a-1_2"]) {
          expect(misread?.({ values: [item] })).toBe(undefined)
        }
      }
    })

    it("accepts items outside of quotes, and harmless items within them", () => {
      const hard = "a $(b) `c` \"d\" 'e' \\ ; # *\n"
      for (const command of ["c {} {.}", `c "x" {} 'y'`, `c '{#} {%}' "{#}" {}`, "awk '{print $1}' {}"]) {
        expect(Template.misread(command)?.({ values: [hard] })).toBe(undefined)
      }
      expect(Template.misread('c "{}"')!({ values: ["a b", "it's", "x;y", "*"] })).toBe(undefined)
      expect(Template.misread('c "{/.}" {}')!({ values: ["$x/a.b"] })).toBe(undefined)
      expect(Template.misread('c "{2}"')!({ values: ["$x", "b"] })).toBe(undefined)
      expect(Template.misread(`c "{2}"`)!({ values: ["b", "$x"] })).toBe(
        'item "$x" contains "$", which a shell would interpret, because {2} stands in quotes ("); items are quoted already: write {2} without quotes around it'
      )
    })
  })

  it("combines all lists, the last one fastest, and links those that go along", () => {
    const list = (text: string, linked = false) => ({ values: [...text], linked })
    const all = (...sources: Array<Template.Source>) =>
      [...Template.product(sources)].map((row) => row.join(""))
    expect(all(list("ab"), list("12"))).toEqual(["a1", "a2", "b1", "b2"])
    expect(all(list("abc"), list("12", true))).toEqual(["a1", "b2"])
    expect(all(list("ab"), list("12", true), list("xy"))).toEqual(["a1x", "a1y", "b2x", "b2y"])
    expect(all()).toEqual([])
  })

  it("quotes for a shell so that the shell reads the same word", () => {
    FastCheck.assert(
      FastCheck.property(FastCheck.string(), (word) => {
        const read = ShellWords.quote(word).replace(/'([^']*)'|\\'/g, (all, inner) =>
          all === "\\'" ? "'" : inner
        )
        expect(read).toBe(word)
      })
    )
    expect(
      Template.make(["echo {} > {}.out"], ShellWords.quote)({ values: ["a b"], seq: 1, slot: 1 })
    ).toEqual(["echo 'a b' > 'a b'.out"])
  })
})
