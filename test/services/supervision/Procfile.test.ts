import * as NodeFileSystem from "@effect/platform-node/NodeFileSystem"
import { assert, describe, it } from "@effect/vitest"
import { Effect, Either } from "effect"
import * as Procfile from "../../../src/services/supervision/Procfile.js"

const problem = (result: Either.Either<unknown, Procfile.ProcfileError>): string =>
  Either.match(result, { onLeft: ({ message }) => message, onRight: () => "none" })

describe("Procfile", () => {
  it("reads the lines of the file, then the words", () => {
    const text = "# services\n\nweb: node server.js --url http://x:1/\r\n  db :  redis-server\n"
    assert.deepStrictEqual(
      Either.getOrThrow(Procfile.read(["w.1=echo a=b", "x_y= sleep 1 "], { path: "Procfile", text })),
      [
        { name: "web", command: "node server.js --url http://x:1/" },
        { name: "db", command: "redis-server" },
        { name: "w.1", command: "echo a=b" },
        { name: "x_y", command: "sleep 1" }
      ]
    )
    assert.deepStrictEqual(Either.getOrThrow(Procfile.read([])), [])
  })

  it("gives a command the options of the comments above it", () => {
    const text =
      '# aio: --after db\n# a comment\n#aio: --ready-log \'it is "up"\' --x="a b"\nweb: w\n# aio:\ndb: d\n'
    assert.deepStrictEqual(Either.getOrThrow(Procfile.read([], { path: "P", text })), [
      {
        name: "web",
        command: "w",
        options: { where: "P, line 1", words: ["--after", "db", "--ready-log", 'it is "up"', "--x=a b"] }
      },
      { name: "db", command: "d", options: { where: "P, line 5", words: [] } }
    ])
    const last = problem(Procfile.read([], { path: "P", text: "a: b\n# aio: --after b\n" }))
    assert.strictEqual(last, "P, line 2: no command follows these options")
  })

  it("reports the first invalid entry with its file and line", () => {
    const file = (text: string) => problem(Procfile.read([], { path: "P", text }))
    assert.strictEqual(
      file("a: b\nnonsense"),
      "P, line 2: 'nonsense' has no ':'; write NAME: COMMAND, like web: python3 -m http.server"
    )
    assert.strictEqual(file("\n: b"), "P, line 2: the name is missing before the command")
    assert.strictEqual(
      file("a b: c"),
      "P, line 1: 'a b' is not a name; expected letters, digits, '_', '-' and '.'"
    )
    assert.strictEqual(file("a:"), "P, line 1: a has no command")
    assert.strictEqual(
      problem(Procfile.read(["a=y"], { path: "P", text: "#\na: x" })),
      "'a=y': the name a is already used (P, line 2); names must be unique"
    )
    assert.strictEqual(problem(Procfile.read(["=y"])), "'=y': the name is missing before the command")
    assert.strictEqual(problem(Procfile.read([""])), "'': command has no command")
  })

  it("gives a command without a name that of its npm script or its program", () => {
    const words = [
      "npm run lint:js",
      "npm test",
      "sleep=sleep 2",
      "/bin/sleep 1",
      "sleep 3",
      "(cd x; ls a=b)",
      "yarn dev"
    ]
    assert.deepStrictEqual(
      Either.getOrThrow(Procfile.read(words)).map(({ command, name }) => [name, command]),
      [
        ["lint-js", "npm run lint:js"],
        ["test", "npm test"],
        ["sleep", "sleep 2"],
        ["sleep-2", "/bin/sleep 1"],
        ["sleep-3", "sleep 3"],
        ["command", "(cd x; ls a=b)"],
        ["dev", "yarn dev"]
      ]
    )
  })

  it("names the line that is not UTF-8, and reads one that is", () => {
    const file = (text: string) => ({ path: "P", text: Buffer.from(text, "latin1") })
    assert.strictEqual(
      problem(Procfile.read([], file("a: b\r\nc: \xe9\nd: e"))),
      "P, line 2: it is not UTF-8 text"
    )
    assert.deepStrictEqual(Either.getOrThrow(Procfile.read([], file("\xef\xbb\xbfa: \xc3\xa9"))), [
      { name: "a", command: "é" }
    ])
  })

  describe("check", () => {
    it.effect.each<[command: string, code: number]>([
      ["nosuchprogram --flag", 127],
      ["./no/such/program", 127],
      ["/etc/passwd", 126],
      ["true", 0],
      // What a shell reads in another way is left to it.
      ["cd nowhere", 0],
      ["X=1 nosuchprogram", 0],
      ["'nosuchprogram'", 0],
      ["nosuchprogram; true", 0],
      ["nosuchprogram && true", 0],
      ["[ -e x ]", 0]
    ])("of '%s' fails with %i, or with nothing", ([command, code]) =>
      Effect.gen(function* () {
        const checked = yield* Effect.either(Procfile.check([{ name: "a", command }]))
        assert.strictEqual(Either.isLeft(checked) ? checked.left.exitCode : 0, code)
      }).pipe(Effect.provide(NodeFileSystem.layer))
    )
  })
})
