import { execFileSync } from "node:child_process"
import {
  existsSync,
  linkSync,
  lstatSync,
  mkdirSync,
  readdirSync,
  readFileSync,
  symlinkSync,
  writeFileSync
} from "node:fs"
import { join } from "node:path"
import { Chunk, Effect, Either, Layer, Stream } from "effect"
import { afterAll, beforeAll, describe, expect, it } from "vitest"
import * as Gather from "../../src/programs/Gather.js"
import type * as Download from "../../src/services/download/Download.js"
import * as Downloader from "../../src/services/download/Downloader.js"
import { encodeSidecar, ownName } from "../../src/services/download/internal/partials.js"
import { SmallFiles } from "../../src/services/download/internal/smallFiles.js"
import * as NameClaims from "../../src/services/download/NameClaims.js"
import * as Input from "../../src/services/host/Input.js"
import * as Aio from "../support/Aio.js"
import * as FaultServer from "../support/FaultServer.js"
import * as InProcess from "../support/InProcess.js"
import * as Terminal from "../support/Terminal.js"

// Contents of the folder, names, lists and links: everything that an attack or another program can put there.

const serve = FaultServer.starter()
afterAll(Aio.removeFolders)

const { bytes, file, ok, sha256, status } = FaultServer
const body = bytes(300_000)

const gather = (args: ReadonlyArray<string>, options: Parameters<typeof Aio.run>[1] = {}) =>
  InProcess.run(["gather", ...args], options)
const eventsOf = (stdout: string): Array<any> =>
  stdout
    .split("\n")
    .filter((line) => line !== "")
    .map((line) => JSON.parse(line))
/** Of one URL, by its path. */
const eventsAt = (events: ReadonlyArray<any>, path: string, kind: string) =>
  events.filter(({ event, name }) => event === kind && new URL(name).pathname === path)
const fifo = (path: string) => void execFileSync("mkfifo", [path])
const written = (text: string) => {
  const path = join(Aio.folder(), "list")
  writeFileSync(path, text)
  return path
}
const root = process.getuid?.() === 0

/** What a dead process can have left, or another program have put under such names. */
interface Planted {
  /** Where: the partial file's name, beside it `.json`, and the final name. */
  readonly part: string
  readonly final: string
  readonly name: string
  readonly url: string
  /** Files outside of the folder. */
  readonly outside: string
}
const sidecar = (fields: object) =>
  JSON.stringify({ version: 1, validator: '"v1"', total: body.length, ...fields })
const begun = ({ part }: Planted) => writeFileSync(part, body.subarray(0, 1000))
/** A partial file as it should be, but for one thing. */
const but = (fields: (at: Planted) => object) => (at: Planted) => {
  begun(at)
  writeFileSync(`${at.part}.json`, sidecar({ url: at.url, name: at.name, ...fields(at) }))
}
const beside = (put: (path: string, at: Planted) => void) => (at: Planted) => {
  begun(at)
  put(`${at.part}.json`, at)
}
const instead = (put: (path: string, at: Planted) => void) => (at: Planted) => {
  writeFileSync(`${at.part}.json`, sidecar({ url: at.url, name: at.name }))
  put(at.part, at)
}

const notContinued = /^\S+ is not continued: /
const plants: ReadonlyArray<
  readonly [what: string, plant: (at: Planted) => void, note: RegExp | undefined, continued?: boolean]
> = [
  ["a partial file as this program leaves it", but(() => ({})), undefined, true],
  [
    "a name that leads out of the folder",
    but(({ outside }) => ({ name: `../${outside}/new` })),
    notContinued
  ],
  ["an absolute name", but(({ outside }) => ({ name: join(outside, "new") })), notContinued],
  ["a name that is hidden", but(() => ({ name: ".profile" })), notContinued],
  ["a name that no server could give", but(() => ({ name: "con" })), notContinued],
  ["a name that is a number", but(() => ({ name: 7 })), notContinued],
  ["no name", but(() => ({ name: undefined })), notContinued],
  ["a plain name of another file", but(() => ({ name: "other" })), undefined, true],
  ["another version", but(() => ({ version: 2 })), notContinued],
  ["another URL", but(() => ({ url: "http://a.example/" })), undefined],
  ["a validator with a line end", but(() => ({ validator: '"a\r\nX: y"' })), notContinued],
  ["a validator of control bytes", but(() => ({ validator: '"\x1b[2J"' })), notContinued],
  ["a validator beyond Latin-1", but(() => ({ validator: '"\u2028"' })), notContinued],
  ["a weak validator", but(() => ({ validator: 'W/"v1"' })), notContinued],
  ["an empty validator", but(() => ({ validator: "" })), notContinued],
  ["a validator of 4 kB", but(() => ({ validator: `"${"v".repeat(4000)}"` })), notContinued],
  ["a negative length", but(() => ({ total: -5 })), notContinued],
  ["a length that is no whole number", but(() => ({ total: 1.5 })), notContinued],
  ["a length beyond safe integers", but(() => ({ total: 2 ** 60 })), notContinued],
  ["a length that is a text", but(() => ({ total: "600000" })), notContinued],
  ["null", beside((path) => writeFileSync(path, "null")), notContinued],
  ["a list", beside((path) => writeFileSync(path, "[]")), notContinued],
  ["nothing", beside((path) => writeFileSync(path, "")), notContinued],
  ["bytes", beside((path) => writeFileSync(path, Buffer.from([0xff, 0xfe, 0, 1]))), notContinued],
  ["deep JSON", beside((path) => writeFileSync(path, "[".repeat(8000) + "]".repeat(8000))), notContinued],
  ["50 MB", beside((path) => writeFileSync(path, Buffer.alloc(50_000_000))), notContinued],
  ["a FIFO", beside(fifo), notContinued],
  ["a folder", beside((path) => mkdirSync(path)), notContinued],
  ["a link to /dev/zero", beside((path) => symlinkSync("/dev/zero", path)), notContinued],
  [
    "a link to a good one",
    (at) => {
      begun(at)
      writeFileSync(join(at.outside, at.name), sidecar({ url: at.url, name: at.name }))
      symlinkSync(join(at.outside, at.name), `${at.part}.json`)
    },
    notContinued
  ],
  ["no sidecar", begun, undefined],
  ["a part that is a FIFO", instead(fifo), undefined],
  ["a part that is a folder", instead((path) => mkdirSync(path)), undefined],
  [
    "a part that is a link out of the folder",
    instead((path, { outside }) => symlinkSync(join(outside, "precious"), path)),
    undefined
  ],
  [
    "a part that is a hard link out of the folder",
    instead((path, { outside }) => linkSync(join(outside, "precious"), path)),
    notContinued
  ],
  ["a part that is a device", instead((path) => symlinkSync("/dev/full", path)), undefined],
  ["a part of nothing", instead((path) => writeFileSync(path, "")), undefined],
  [
    "a part that is longer than the file",
    instead((path) => writeFileSync(path, Buffer.alloc(400_000))),
    undefined
  ],
  [
    "a sidecar alone",
    ({ part, url, name }) => writeFileSync(`${part}.json`, sidecar({ url, name })),
    undefined
  ],
  [
    "a final name that is a link",
    ({ final, outside }) => symlinkSync(join(outside, "precious"), final),
    undefined
  ],
  [
    "a final name that is a dangling link",
    ({ final, outside }) => symlinkSync(join(outside, "new"), final),
    undefined
  ],
  ["a final name that is a FIFO", ({ final }) => fifo(final), undefined],
  [
    "a final name that is a hard link",
    ({ final, outside }) => linkSync(join(outside, "precious"), final),
    undefined
  ]
]

describe("aio gather: existing entries of the folder", () => {
  describe.each([
    ["", []],
    ["with a deadline", ["--timeout", "50s"]],
    ["with names from the server", ["--content-disposition"]]
  ] as const)("%s", (how, args) => {
    const dir = Aio.folder()
    const outside = Aio.folder()
    let server: FaultServer.FaultServer
    let code: number | null
    let stderr: string
    let events: Array<any>
    const named = how.includes("names")
    beforeAll(async () => {
      server = await serve(Object.fromEntries(plants.map((_, i) => [`/f${i}`, file(body)])))
      writeFileSync(join(outside, "precious"), "precious")
      plants.forEach(([, plant], i) => {
        const name = `f${i}`
        const part = join(dir, `.${name}.4194304:1-${i}.aio-part`)
        plant({ part, final: join(dir, name), name, url: server.url(`/${name}`), outside })
      })
      const urls = plants.map((_, i) => server.url(`/f${i}`))
      const result = await gather(["--json", "--retries=0", "-d", dir, ...args, ...urls])
      code = result.code
      stderr = result.stderr
      events = eventsOf(result.stdout)
    })

    it.each(plants.map(([what, , note, continued], i) => [what, i, note, continued] as const))(
      "%s",
      (_, i, note, continued = false) => {
        const [finished] = eventsAt(events, `/f${i}`, "finished")
        const notes = eventsAt(events, `/f${i}`, "note").map(({ reason }) => reason as string)
        // A plain name from an earlier answer counts if the server names the files.
        const name = named && plants[i]![0] === "a plain name of another file" ? "other" : `f${i}`
        expect(finished).toMatchObject({ path: join(dir, name), bytes: body.length, status: "succeeded" })
        expect(finished.resumedFrom).toBe(continued ? 1000 : undefined)
        expect(lstatSync(join(dir, name)).isFile()).toBe(true)
        expect(readFileSync(join(dir, name)).equals(body)).toBe(true)
        expect(server.seenAt(`/f${i}`).map(({ headers }) => headers.range !== undefined)).toEqual([continued])
        const own = notes.filter((reason) => !reason.startsWith("passed over"))
        expect(own).toEqual(note === undefined ? [] : [expect.stringMatching(note)])
      }
    )

    it("downloads succeed, no file is outside, and entries that cannot be removed are skipped with a note", () => {
      expect({ code, stderr }).toEqual({ code: 0, stderr: "" })
      expect(readFileSync(join(outside, "precious"), "utf8")).toBe("precious")
      expect(existsSync(join(outside, "new"))).toBe(false)
      const left = readdirSync(dir).filter((name) => name.startsWith("."))
      expect(left.every((name) => lstatSync(join(dir, name)).isDirectory())).toBe(true)
      const [note, ...more] = events.filter(
        ({ event, reason }) => event === "note" && reason.startsWith("passed over")
      )
      expect(more).toEqual([])
      expect(note.reason).toMatch(
        /^passed over what cannot be removed from \S+: \.f\d+\.4194304:1-\d+\.aio-part \(it is a folder\)$/
      )
    })
  })

  it("leftovers of other names, of any kind, are swept up or passed over; nothing of a living process is", async () => {
    const server = await serve({ "/f": ok("f") })
    const dir = Aio.folder()
    const at = (name: string) => join(dir, name)
    for (const kind of ["aio-tmp", "aio-part", "aio-part.json"]) {
      writeFileSync(at(`.file.4194304:1-1.${kind}`), "x")
      fifo(at(`.fifo.4194304:1-1.${kind}`))
      symlinkSync("/dev/zero", at(`.link.4194304:1-1.${kind}`))
      mkdirSync(at(`.\x1b[2Jfolder.4194304:1-1.${kind}`))
      writeFileSync(at(`.living.${process.pid}:-1.${kind}`), "x")
      writeFileSync(at(`.not-ours.${kind}`), "x")
      writeFileSync(at(`.huge-pid.${"9".repeat(100)}:1-1.${kind}`), "x")
    }
    const { code, stderr } = await gather(["-d", dir, server.url("/f")])
    expect(code).toBe(0)
    expect(stderr).toContain("passed over what cannot be removed")
    expect(stderr).toContain(" (it is a folder) and 2 more\n")
    expect(stderr).not.toContain("\x1b")
    expect(Aio.names(dir).map((name) => name.split(".")[1] || name)).toEqual([
      ...Array.from({ length: 3 }, () => "\x1b[2Jfolder"),
      // A part beside something that may describe it waits for its URL to be asked for.
      ...["file", "file", "huge-pid", "huge-pid"],
      ...Array.from({ length: 3 }, () => "living"),
      ...Array.from({ length: 3 }, () => "not-ours"),
      "f"
    ])
  })

  it.runIf(root)("files of another user are not continued", async () => {
    const server = await serve({ "/f": file(body) })
    const dir = Aio.folder()
    const part = join(dir, ".f.4194304:1-1.aio-part")
    but(() => ({}))({ part, final: "", name: "f", url: server.url("/f"), outside: "" })
    execFileSync("chown", ["65534", part])
    const { code, stderr } = await gather(["-d", dir, server.url("/f")])
    expect(code).toBe(0)
    expect(stderr).toContain("is not continued: it is another user's\n")
    expect(server.seenAt("/f")[0]!.headers.range).toBeUndefined()
    expect(Aio.names(dir)).toEqual(["f"])
  })

  it("temporary names are unpredictable, and an entry under one is neither followed nor removed", async () => {
    const dir = Aio.folder()
    const target = { directory: dir, name: "f" }
    const names = Array.from({ length: 100 }, () => ownName(target, "aio-tmp"))
    const numbers = names.map((name) => Number(/^.*\/\.f\.\d+:\d*-(\d+)\.aio-tmp$/.exec(name)![1]))
    expect(new Set(numbers).size).toBe(100)
    expect(Math.max(...numbers)).toBeGreaterThan(2 ** 40)
    writeFileSync(join(dir, "victim"), "precious")
    symlinkSync("victim", join(dir, "planted"))
    const small = new SmallFiles()
    // The first are written by the thread pool, later ones by a thread of their own.
    const saves = Array.from({ length: 24 }, () =>
      small
        .save(join(dir, "planted"), join(dir, "f"), Buffer.from("body"), undefined)
        .catch((error) => error.code)
    )
    expect(new Set(await Promise.all(saves))).toEqual(new Set(["EEXIST"]))
    await small.close()
    expect(readFileSync(join(dir, "victim"), "utf8")).toBe("precious")
    expect(Aio.names(dir)).toEqual(["planted", "victim"])
  })

  it("no sidecar is written that could not be read back", () => {
    const good = { version: 1 as const, url: "http://a.example/f", validator: '"v"', total: 5, name: "f" }
    expect(encodeSidecar(good)).toBe(JSON.stringify(good))
    for (const bad of [
      { url: `http://a.example/${"x".repeat(20_000)}` },
      { validator: `"${"v".repeat(2000)}"` },
      { validator: '"\n"' },
      { name: "../f" },
      { total: Number.NaN }
    ])
      expect(encodeSidecar({ ...good, ...bad })).toBeUndefined()
  })
})

describe.concurrent("aio gather: names from the server", () => {
  const given: ReadonlyArray<readonly [header: string, name: string]> = [
    ['attachment; filename="../../out"', "out"],
    ["attachment; filename*=UTF-8''..%2f..%2fescaped", "escaped"],
    ['attachment; filename="a%00b"', "a%00b"],
    ["attachment; filename*=UTF-8''nul%00byte", "nulbyte"],
    ['attachment; filename=".hidden"', "hidden"],
    ["attachment; filename*=UTF-8''photo%E2%80%AEgpj.exe", "photogpj.exe"],
    ['attachment; filename=".x.1:1-1.aio-part.json"', "x.1:1-1.aio-part.json".replaceAll(":", "_")],
    [`attachment;${" ".repeat(7000)}filename=blanks`, "blanks"],
    [`attachment; filename=${"n".repeat(15_000)}`, "n".repeat(200)],
    [`attachment; filename*=UTF-8''${"%CC%81%CC%A7".repeat(1200)}.tar.gz`, "marks"],
    ['attachment; filename="CON"', "_CON"]
  ]

  it("are plain files in the folder, whatever they are", async () => {
    const server = await serve(
      Object.fromEntries(
        given.map(([header], i) => [`/f${i}`, ok(String(i), { "content-disposition": header })] as const)
      )
    )
    const dir = join(Aio.folder(), "in", "side")
    const urls = given.map((_, i) => server.url(`/f${i}`))
    const { code, stderr } = await gather(["-q", "--content-disposition", "-d", dir, ...urls])
    expect({ code, stderr }).toEqual({ code: 0, stderr: "" })
    const names = Aio.names(dir)
    expect(names).toHaveLength(given.length)
    for (const [i, [, name]] of given.entries()) {
      if (name === "marks") continue // what is left of them is a name of 200 bytes at the most
      expect(readFileSync(join(dir, name), "utf8")).toBe(String(i))
    }
    expect(readdirSync(join(dir, ".."))).toEqual(["side"])
  })

  it("are plain files too if they are from the URL; a name of 60 kB takes no time", async () => {
    const paths = [
      ["/x/%2e%2e%2f%2e%2e%2fup", "up"],
      ["/x/a%5cb", "b"],
      ["/x/%00%0az", "z"],
      ["/x/y/?q=only#top", "index.html"],
      ["/x/.env", "env"],
      [`/x/${"n".repeat(60_000)}`, "n".repeat(200)],
      [`/x/${"%E4%B8%AD".repeat(100)}`, "中".repeat(66)],
      [`/x/${"e%CC%81".repeat(10_000)}.txt`, `${"é".repeat(98)}.txt`]
    ] as const
    const urls = paths.map(([path]) => `http://127.0.0.1${path}`)
    const { code, stdout } = await gather(["--dry-run", "-d", "out", "-a", "-"], { stdin: urls.join("\n") })
    expect([code, stdout.match(/(?<= -> ).*/g)]).toEqual([0, paths.map(([, name]) => `out/${name}`)])
  })
})

describe.concurrent("aio gather: files that are there", () => {
  it("with --no-clobber are kept if their checksum matches, and downloaded again otherwise", async () => {
    const server = await serve({
      "/right": ok("right"),
      "/wrong": ok("wrong"),
      "/none": ok("none"),
      "/pipe": ok("pipe"),
      "/dangling": ok("dangling"),
      "/linked": ok("linked"),
      "/named-right": ok("named-right", { "content-disposition": "attachment; filename=by-name-right" }),
      "/named-wrong": ok("named-wrong", { "content-disposition": "attachment; filename=by-name-wrong" }),
      "/named-none": ok("named-none", { "content-disposition": "attachment; filename=by-name-none" })
    })
    const dir = Aio.folder()
    const at = (name: string) => join(dir, name)
    writeFileSync(at("right"), "right")
    writeFileSync(at("wrong"), "junk")
    writeFileSync(at("none"), "junk")
    fifo(at("pipe"))
    symlinkSync("nowhere", at("dangling"))
    writeFileSync(at("elsewhere"), "linked")
    symlinkSync("elsewhere", at("linked"))
    writeFileSync(at("by-name-right"), "named-right")
    writeFileSync(at("by-name-wrong"), "junk")
    writeFileSync(at("by-name-none"), "junk")
    const lines = [
      "right",
      "wrong",
      "none",
      "pipe",
      "dangling",
      "linked",
      "named-right",
      "named-wrong",
      "named-none"
    ].map(
      (name) =>
        `${server.url(`/${name}`)}${name.endsWith("none") ? "" : `\tsha256:${sha256(Buffer.from(name))}`}`
    )
    const list = written(lines.join("\n"))
    const args = ["--json", "--no-clobber", "--content-disposition", "-d", dir, "-a", list]
    const { code, stdout } = await gather(args)
    const events = eventsOf(stdout)
    const skipped = events.flatMap(({ name, status }) =>
      status === "skipped" ? [new URL(name).pathname] : []
    )
    expect(code).toBe(0)
    expect(skipped.sort()).toEqual(["/linked", "/named-none", "/named-right", "/none", "/right"])
    expect(server.seenAt("/right").length + server.seenAt("/none").length).toBe(0)
    for (const name of ["right", "wrong", "pipe", "dangling", "linked"])
      expect(readFileSync(at(name), "utf8")).toBe(name)
    expect(readFileSync(at("by-name-wrong"), "utf8")).toBe("named-wrong")
    expect(readFileSync(at("by-name-none"), "utf8")).toBe("junk")
    expect(lstatSync(at("linked")).isSymbolicLink()).toBe(true)
    for (const [path, name] of [
      ["/wrong", "wrong"],
      ["/pipe", "pipe"],
      ["/dangling", "dangling"],
      ["/named-wrong", "by-name-wrong"]
    ] as const)
      expect(eventsAt(events, path, "note").map(({ reason }) => reason)).toEqual([
        `${at(name)} is there, but its sha256 is another; it is fetched again`
      ])
    // Those that are there are one line together, and are kept the next time.
    const again = await gather(args.filter((word) => word !== "--json"))
    expect([again.code, again.stdout]).toEqual([0, ""])
    expect(again.stderr).toMatch(/^9 files already exist\nfiles {7}0 succeeded, 9 skipped\n/)
  })

  it("fails if the server's file is wrong too: the existing file stays, exit 1", async () => {
    const server = await serve({ "/f": ok("not it") })
    const dir = Aio.folder()
    writeFileSync(join(dir, "f"), "junk")
    const { code, stderr } = await gather([
      ...["--no-clobber", "--retries=0", "-d", dir, "--checksum", `sha256:${sha256(Buffer.from("it"))}`],
      server.url("/f")
    ])
    expect(code).toBe(1)
    expect(stderr).toContain("is there, but its sha256 is another; it is fetched again\n")
    expect(readFileSync(join(dir, "f"), "utf8")).toBe("junk")
  })
})

describe("aio gather: a problem of the whole run is reported once, with exit 2, before the first download", () => {
  const cases: ReadonlyArray<readonly [string, (dir: string) => string, RegExp]> = [
    ["a folder that is a file", (dir) => join(dir, "file"), /cannot save in \S+: \S+\/file is not a folder$/],
    [
      "a folder under a file",
      (dir) => join(dir, "file/x/y"),
      /cannot save in \S+: \S+\/file is not a folder$/
    ],
    ["/proc", () => "/proc", /cannot save in \/proc: no such file or folder$/],
    ["a folder under /proc", () => "/proc/x", /cannot save in \/proc\/x: no such file or folder$/],
    ["a device", () => "/dev/null", /cannot save in \/dev\/null: \/dev\/null is not a folder$/],
    ["a link to itself", (dir) => join(dir, "loop"), /cannot save in \S+: too many symbolic links$/],
    [
      "a name that is too long",
      (dir) => join(dir, "x".repeat(300)),
      /cannot save in \S+: the name is too long$/
    ]
  ]
  it.each(cases)("%s", async (_, where, message) => {
    const dir = Aio.folder()
    writeFileSync(join(dir, "file"), "")
    symlinkSync("loop", join(dir, "loop"))
    const error = await Effect.runPromise(Effect.flip(Downloader.checkDirectory(where(dir))))
    expect([error.message, error.exitCode]).toEqual([expect.stringMatching(message), 2])
  })

  it("one line, and no request", async () => {
    const server = await serve({ "/a": ok("a"), "/b": ok("b") })
    const dir = Aio.folder()
    writeFileSync(join(dir, "file"), "")
    const urls = [server.url("/a"), server.url("/b")]
    expect(await gather(["-d", join(dir, "file"), ...urls])).toEqual({
      code: 2,
      signal: null,
      stdout: "",
      stderr: `aio gather: cannot save in ${join(dir, "file")}: ${join(dir, "file")} is not a folder\n`
    })
    mkdirSync(join(dir, "b"))
    const list = written(`${urls.join("\n")}\n`)
    for (const more of [[], ["--no-clobber"]])
      expect(await gather(["-d", dir, "-a", list, ...more])).toEqual({
        code: 2,
        signal: null,
        stdout: "",
        stderr: `aio gather: line 2 of ${list}: ${join(dir, "b")} is a folder; move it away, or give the file another name\n`
      })
    expect(await gather(["-d", "", ...urls])).toMatchObject({
      code: 2,
      stderr: "aio gather: option --directory: '' is empty; expected a folder (see aio gather --help)\n"
    })
    expect(server.seen).toEqual([])
    // A line that arrives later fails alone, before its request.
    const later = await gather(["-d", dir, "-a", "-"], { stdin: urls.join("\n") })
    expect(later.code).toBe(1)
    expect(later.stderr).toContain(`Failed ${urls[1]}: ${join(dir, "b")} is a folder\n`)
    expect(server.seenAt("/b")).toEqual([])
  })

  it.runIf(root)("a folder that may not be written to", async () => {
    const dir = Aio.folder()
    execFileSync("chmod", ["755", dir])
    const { code, stderr } = await gather(["-d", dir, "http://127.0.0.1:9/a", "http://127.0.0.1:9/b"], {
      shell: 'exec setpriv --reuid 65534 --clear-groups "$@"'
    })
    expect([code, stderr]).toEqual([2, `aio gather: cannot save in ${dir}: permission denied\n`])
  })
})

describe("lists of downloads", () => {
  const read = (text: string | Uint8Array) =>
    Gather.readList("-", { maxLine: long.length }).pipe(
      Stream.runCollect,
      Effect.map(Chunk.toReadonlyArray),
      Effect.either,
      Effect.provide(Input.layerTest(text)),
      Effect.runPromise
    )
  const long = "a".repeat(1024 * 1024)
  const tooLong = (line: number) => `line ${line} of standard input is longer than 1 MiB`
  const beginning = `'${"a".repeat(80)}…'`
  const noName =
    "is not a file name within the folder; leave out '..', a / in front, leading dots and special characters"
  const noUrl = "is not a URL; expected https://host/path"
  const name = (field: string) => `http://a.example/\t${field}`
  it.each([
    ["a line beyond the limit", `http://a.example/\n${long}a\n`, tooLong(2)],
    ["the same without its end", `${long}a`, tooLong(1)],
    ["a comment beyond the limit", `#${long}\n`, tooLong(1)],
    ["a line of the limit", `${long}\n`, `line 1: ${beginning} ${noUrl}`],
    ["a password", "http://user:secret@bad host/", `line 1: 'http://bad host/' ${noUrl}`],
    ["two @", "http://user:secret@more@bad host/", `line 1: 'http://bad host/' ${noUrl}`],
    ["a password with a TAB", "http://user:se\tcret@bad host/", `line 1: 'http://bad host/' ${noUrl}`],
    [
      "a password without a scheme",
      "user:secret@host/",
      "line 1: 'host/' is not a web address; expected http:// or https://"
    ],
    [
      "a password of FTP",
      "ftp://user:secret@host/",
      "line 1: 'ftp://host/' is not a web address; expected http:// or https://"
    ],
    ["a password in the second field", name("http://user:secret@host/"), `line 1: 'http://host/' ${noName}`],
    [
      "a password in the third field",
      name("n\thttp://user:secret@host/"),
      "line 1: 'http://host/' is a third field; expected URL, TAB, file name, TAB, checksum"
    ],
    ["a password in a line that is too long", `http://user:secret@host/${long}`, tooLong(1)],
    ["ESC in a name", name("\x1b]0;pwn\x07x"), `line 1: '\\x1b]0;pwn\\x07x' ${noName}`],
    [
      "ESC in a checksum",
      name("x\tsha256:\x1b[2Jz"),
      "line 1: 'sha256:\\x1b[2Jz' is not a checksum; expected sha256: and 64 hexadecimal digits, sha512: and 128, sha1: and 40, or md5: and 32"
    ],
    ["C1 in a URL", "x\x9b2J y", `line 1: 'x\\u{9b}2J y' ${noUrl}`],
    ["a bidi override in a name", name("photo\u202egpj.exe"), `line 1: 'photo\\u{202e}gpj.exe' ${noName}`],
    ["a name with ..", name("../x"), `line 1: '../x' ${noName}`],
    ["an absolute name", name("/etc/x"), `line 1: '/etc/x' ${noName}`],
    ["a name of ours", name(".x.1:1-1.aio-part"), `line 1: '.x.1:1-1.aio-part' ${noName}`],
    ["a name that Windows reserves", name("CON"), `line 1: 'CON' ${noName}`],
    ["a name that is not normalized", name("cafe\u0301"), `line 1: 'cafe\u0301' ${noName}`],
    ["DEL in a name", name("a\x7fb"), `line 1: 'a\\x7fb' ${noName}`],
    ["a name of a megabyte", name("a".repeat(500_000)), `line 1: ${beginning} ${noName}`],
    [
      "a host name of a megabyte",
      `http://${"\u4e2d\u6587".repeat(100_000)}/`,
      `line 1: the host name in 'http://${"\u4e2d\u6587".repeat(36)}\u4e2d…' is longer than 1024 characters`
    ],
    [
      "bytes that are not UTF-8",
      Buffer.from("http://a.example/caf\xe9\n", "latin1"),
      "line 1 of standard input is not UTF-8"
    ]
  ])("refuse %s, and quote a beginning without secrets or control characters", async (_, text, message) => {
    const result = await read(text)
    expect(Either.isLeft(result) && result.left.message).toBe(
      message.replace(/^line 1: /, "line 1 of standard input: ")
    )
  })

  it("take a comment in any encoding, and a line that just fits", async () => {
    const result = await read(
      Buffer.concat([
        Buffer.from("# caf\xe9\n", "latin1"),
        Buffer.from(`http://a.example/?${long.slice(18)}\n`)
      ])
    )
    expect(Either.isRight(result) && result.right.map(({ url }) => url.href.length)).toEqual([1024 * 1024])
  })

  it("are read only up to a line that is too long, even if it never ends", async () => {
    let taken = 0
    const endless = Stream.repeatEffect(
      Effect.sync(() => {
        taken += 65_536
        return new Uint8Array(65_536)
      })
    )
    const layer = Layer.succeed(Input.Input, {
      stdin: endless,
      isTerminal: false,
      source: "piped",
      open: () => endless,
      isOnce: () => Effect.succeed(true)
    })
    const error = await Effect.runPromise(
      Effect.flip(
        Stream.runDrain(Gather.readList("zero", { maxLine: long.length })).pipe(Effect.provide(layer))
      )
    )
    expect(error.message).toBe("line 1 of zero is longer than 1 MiB")
    expect(taken).toBeLessThan(2 * 1024 * 1024)
  })

  it("on the command line show no password either", async () => {
    expect(await gather(["http://user:secret@bad host/"])).toMatchObject({
      code: 2,
      stderr: `aio gather: 'http://bad host/' ${noUrl}\n`
    })
  })
})

describe.concurrent("aio gather: one URL twice, one name twice", () => {
  const request = (url: string, more: object = {}): Download.DownloadRequest => ({
    url: new URL(url),
    ...more
  })
  const sum = { algorithm: "sha256" as const, hex: "0".repeat(64) }
  const taken = "another URL is saved as 'x' already"
  it.each([
    ["the same URL", request("http://a/x"), request("http://a/x"), false],
    ["the same URL, another fragment", request("http://a/x#1"), request("http://a/x#2"), false],
    [
      "the same URL and name",
      request("http://a/y", { name: "x" }),
      request("http://a/y", { name: "x" }),
      false
    ],
    [
      "the same URL and checksum",
      request("http://a/x", { checksum: sum }),
      request("http://a/x", { checksum: sum }),
      false
    ],
    ["another query", request("http://a/x?1"), request("http://a/x?2"), taken],
    ["another host", request("http://a/x"), request("http://b/x"), taken],
    ["another user", request("http://u:p@a/x"), request("http://v:p@a/x"), taken],
    [
      "a name in other letters",
      request("http://a/x"),
      request("http://b/X"),
      `${taken}, and 'X' is the same file where case does not count`
    ],
    [
      "the same name in NFC and NFD",
      request("http://a/caf%C3%A9"),
      request("http://b/cafe%CC%81"),
      "another URL is saved as 'café' already"
    ],
    [
      "the same URL, a checksum once",
      request("http://a/x"),
      request("http://a/x", { checksum: sum }),
      "it is listed already, with another checksum or without one"
    ],
    ["the same URL, another name", request("http://a/x"), request("http://a/x", { name: "y" }), true]
  ])("%s", (_, one, two, outcome) => {
    const claims = NameClaims.make()
    const second = Effect.zipRight(claims.begin(one), Effect.either(claims.begin(two))).pipe(Effect.runSync)
    if (typeof outcome === "boolean") expect(second).toEqual(Either.right(outcome))
    else expect(Either.isLeft(second) && second.left.message).toContain(`: ${outcome}; `)
  })

  it.each(["from a file", "from standard input"])("%s it is fetched once, with a note", async (how) => {
    const server = await serve({ "/a": ok("a"), "/b": ok("b") })
    const dir = Aio.folder()
    const [a, b] = [server.url("/a"), server.url("/b")]
    const text = `${a}\n${b}\n${a}\n`
    const list = how.endsWith("file") ? written(text) : "-"
    const { code, stderr, stdout } = await gather(["-d", dir, "-a", list], { stdin: text })
    expect([code, stdout.split("\n").sort()]).toEqual([
      0,
      ["", `Downloaded ${a}, size 1`, `Downloaded ${b}, size 1`]
    ])
    const name = list === "-" ? "standard input" : list
    expect(stderr).toContain(`${a}: line 3 of ${name} lists it again; it is fetched once\n`)
    expect(server.seen).toHaveLength(2)
  })
})

describe.concurrent("aio gather: after a signal", () => {
  const held = file(
    body,
    '"v1"',
    (response, part) => void response.write(part.subarray(0, part.length - 10_000))
  )

  it.each([
    ["SIGINT", 130],
    ["SIGTERM", 143]
  ] as const)("%s: a summary that shows what is kept and how to continue", async (signal, expected) => {
    const server = await serve({
      "/done": ok("done"),
      "/held": held,
      "/lost": file(body, null, () => undefined)
    })
    const dir = Aio.folder()
    const aio = Aio.start(["gather", "-d", dir, ...["/done", "/held", "/lost"].map(server.url)])
    await Promise.all([aio.shows("Downloaded"), server.arrived("/lost"), server.arrived("/held")])
    while (!Aio.names(dir).some((name) => name.endsWith(".aio-part") && lstatSync(join(dir, name)).size > 0))
      await new Promise(setImmediate)
    aio.kill(signal)
    const { code, stderr } = await aio.ended
    expect(code).toBe(expected)
    expect(stderr).toMatch(
      /^files {7}1 succeeded, 2 cancelled\nbytes {7}4 B\nthroughput.*\nretries {5}0\nkept {8}1 partial file, \d+ KiB; run the same command again to continue, with --no-clobber to keep existing files\ntime.*\n$/
    )
    const finished = await serve({})
    expect(finished.seen).toEqual([])
  })

  it("--timeout leaves the same line; --json has it in the events; the next run continues", async () => {
    const server = await serve({ "/f": FaultServer.inTurn(held, held, file(body)) })
    const dir = Aio.folder()
    const args = ["-d", dir, "--timeout", "2s", server.url("/f")]
    const first = await Aio.run(["gather", ...args])
    expect(first.code).toBe(124)
    expect(first.stderr).toMatch(
      /^Timed out \S+: not done in 2s\n(.*\n)*failures {4}timeout 1\nkept {8}1 partial file, \d+ KiB; run the same command again to continue\ntime.*\n$/
    )
    const aio = Aio.start(["gather", "--json", "-d", dir, server.url("/f")])
    await server.arrived("/f", 2)
    aio.kill("SIGINT")
    const events = eventsOf((await aio.ended).stdout)
    const [cancelled, summary] = events.slice(-2)
    expect(cancelled).toMatchObject({ event: "finished", status: "cancelled", reason: "SIGINT" })
    expect(cancelled.kept).toBeGreaterThan(0)
    expect(summary).toMatchObject({
      event: "summary",
      cancelled: 1,
      exitCode: 130,
      kept: { files: 1, bytes: cancelled.kept }
    })
    const last = eventsOf((await gather(["--json", "-d", dir, server.url("/f")])).stdout)
    expect(last.find(({ event }) => event === "finished").resumedFrom).toBe(cancelled.kept)
    expect(readFileSync(join(dir, "f")).equals(body)).toBe(true)
  })
})

describe.runIf(Terminal.available)("aio gather: on a terminal", { concurrent: true }, () => {
  const summary = /^(files|bytes|time|throughput|retries|failures|kept) /
  it.each([
    [1, 80],
    [2, 40],
    [40, 80],
    [40, 30]
  ])(
    "%d files at %d columns: each line is there, then the summary, and nothing of the progress",
    async (count, columns) => {
      const paths = Array.from({ length: count }, (_, i) => `/f${i}`)
      const server = await serve({
        ...Object.fromEntries(paths.map((path) => [path, ok(body)] as const)),
        "/missing": status(404)
      })
      const urls = [server.url("/missing"), ...paths.map(server.url)]
      const { code, lines } = await Terminal.start(["gather", "-j8", "--discard", ...urls], columns).ended
      expect(code).toBe(1)
      // A line that is longer than the terminal's is continued in the next.
      const text = lines.join(columns === 80 ? "\n" : "").replaceAll("\n", " ")
      for (const path of paths) expect(text).toContain(`Read ${server.url(path)}, size 300000`)
      expect(text).toContain(`Failed ${server.url("/missing")}: HTTP 404 Not Found`)
      const from = lines.findIndex((line) => line.startsWith("files"))
      expect(lines.slice(0, from).filter((line) => / files {2}|━| of 293/.test(line))).toEqual([])
      expect(lines.slice(from, -1).flatMap((line) => summary.exec(line)?.[1] ?? [])).toEqual([
        "files",
        "bytes",
        "throughput",
        "retries",
        "failures",
        "time"
      ])
      expect(lines[from]).toBe(`files       ${count} succeeded, 1 failed`.slice(0, columns))
      expect(lines.at(-1)).toBe("")
    }
  )

  it("shows a line for the whole and one for each transfer; ^C leaves the summary", async () => {
    const held = file(body, '"v1"', (response, part) => void response.write(part.subarray(0, 150_000)))
    const server = await serve({ "/held-with-a-long-name-that-is-cut-at-its-beginning.bin": held })
    const dir = Aio.folder()
    const [url] = ["/held-with-a-long-name-that-is-cut-at-its-beginning.bin"].map(server.url)
    const aio = Terminal.start(["gather", "-d", dir, url!], 80)
    await aio.shows("0/1 files  ")
    await aio.shows("that-is-cut-at-its-beginning.bin ")
    await aio.shows(" KiB of 293 KiB\r\n")
    aio.press("\x03")
    const { code, lines } = await aio.ended
    expect(code).toBe(130)
    expect(lines.slice(0, -1).map((line) => line.replace(/ .*/, ""))).toEqual([
      "files",
      "bytes",
      "throughput",
      "retries",
      "kept",
      "time"
    ])
    expect(lines.join("")).toMatch(
      /kept {8}1 partial file, \d+ KiB; run the same command again ?to ?continue(time|$)/
    )
  })

  it("a transfer that times out at the end is counted and reported", async () => {
    const server = await serve({ "/f": ok("f"), "/held": () => undefined })
    const { lines } = await Terminal.start([
      "gather",
      "--discard",
      "--timeout=1s",
      server.url("/f"),
      server.url("/held")
    ]).ended
    expect(lines.slice(0, 3)).toEqual([
      `Read ${server.url("/f")}, size 1`,
      `Timed out ${server.url("/held")}: not done in 1s`,
      "files       1 succeeded, 1 timed out"
    ])
  })
})
