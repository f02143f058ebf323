import {
  chmodSync,
  existsSync,
  mkdtempSync,
  readdirSync,
  readFileSync,
  readlinkSync,
  rmSync,
  writeFileSync
} from "node:fs"
import { tmpdir } from "node:os"
import { join } from "node:path"
import { afterAll, describe, expect, it } from "@effect/vitest"
import { Effect, Either, Exit, Fiber } from "effect"
import * as Schedules from "../../../src/services/cluster/Schedules.js"
import * as Store from "../../../src/services/cluster/Store.js"

const folder = mkdtempSync(join(tmpdir(), "aio-store-"))
afterAll(() => rmSync(folder, { recursive: true, force: true }))
let files = 0
const fresh = () => join(folder, `${++files} %41?#ü.sqlite`)

const linkOf = (path: string) => {
  try {
    return readlinkSync(path)
  } catch {
    return undefined
  }
}

const notes: Store.Tables = {
  name: "notes",
  changes: [
    (sql) => sql`CREATE TABLE aio_notes (id TEXT PRIMARY KEY, at DOUBLE PRECISION NOT NULL)`,
    (sql) => sql`ALTER TABLE aio_notes ADD COLUMN text TEXT`
  ]
}
const openAt = (file: string, tables: ReadonlyArray<Store.Tables> = [notes]) =>
  Store.open(Either.getOrThrow(Store.parse(file)), tables)
const refusal = (file: string, tables?: ReadonlyArray<Store.Tables>) =>
  Effect.map(Effect.flip(Effect.scoped(openAt(file, tables))), (error) => ({
    code: error.exitCode,
    message: error.message
  }))

describe("Store", () => {
  it("reads a file, sqlite:FILE and the URL of a PostgreSQL database", () => {
    const shown = (text: string) => Either.map(Store.parse(text), Store.format)
    expect(shown("/a/b c.db")).toEqual(Either.right("/a/b c.db"))
    expect(shown("sqlite:/a/b.db")).toEqual(Either.right("/a/b.db"))
    expect(shown("x.db")).toEqual(Either.right(join(process.cwd(), "x.db")))
    expect(shown("postgresql://ada:secret@db:5433/jobs?sslmode=require&password=p")).toEqual(
      Either.right("postgresql://ada@db:5433/jobs")
    )
    expect(JSON.stringify(Store.parse("postgres://ada:secret@db/jobs"))).not.toContain("secret")
  })

  it.each(["", "sqlite:", "mysql://ada:secret@db/jobs", "postgres:secret", "postgres://"])(
    "refuses %s in one line without secrets",
    (text) => {
      const left = Either.getOrThrow(Either.flip(Store.parse(text)))
      expect(left).toMatch(/; expected FILE, sqlite:FILE or postgres:\/\/user@host\/database$/)
      expect(left).not.toContain("secret")
    }
  )

  it.scopedLive("keeps what it holds, and brings a store of an older version up to date", () =>
    Effect.gen(function* () {
      const file = fresh()
      const old = { ...notes, changes: notes.changes.slice(0, 1) }
      yield* Effect.scoped(
        Effect.flatMap(openAt(file, [old]), ({ use }) =>
          use((sql) => sql`INSERT INTO aio_notes (id, at) VALUES ('a', ${1_900_000_000_123})`)
        )
      )
      const store = yield* openAt(file)
      expect(yield* store.use((sql) => sql`SELECT * FROM aio_notes`)).toEqual([
        { id: "a", at: 1_900_000_000_123, text: null }
      ])
      expect(store).toMatchObject({ dialect: "sqlite", shown: file })
    })
  )

  it.scopedLive("has tables of several kinds, each with its own version", () =>
    Effect.gen(function* () {
      const file = fresh()
      yield* Effect.scoped(openAt(file))
      const other: Store.Tables = { name: "other", changes: [(sql) => sql`CREATE TABLE aio_other (a TEXT)`] }
      const { use } = yield* openAt(file, [other])
      expect(yield* use((sql) => sql`SELECT name, version FROM aio_schema ORDER BY name`)).toEqual([
        { name: "notes", version: 2 },
        { name: "other", version: 1 }
      ])
    })
  )

  it.scopedLive("refuses a store of a newer version, and leaves it as it is", () =>
    Effect.gen(function* () {
      const file = fresh()
      const newer = {
        ...notes,
        changes: [...notes.changes, ((sql) => sql`SELECT 1`) as (typeof notes.changes)[0]]
      }
      yield* Effect.scoped(openAt(file, [newer]))
      expect(yield* refusal(file)).toEqual({
        code: 2,
        message: `the store ${file}: its notes have version 3, and this program knows 2; use a newer aio`
      })
      const { use } = yield* openAt(file, [newer])
      expect(yield* use((sql) => sql`SELECT version FROM aio_schema`)).toEqual([{ version: 3 }])
    })
  )

  it.scopedLive("changes nothing when one of the changes fails", () =>
    Effect.gen(function* () {
      const file = fresh()
      const broken = {
        ...notes,
        changes: [notes.changes[0]!, ((sql) => sql`NONSENSE`) as (typeof notes.changes)[0]]
      }
      expect((yield* refusal(file, [broken])).message).toMatch(/syntax error/)
      const { use } = yield* openAt(file)
      expect(yield* use((sql) => sql`SELECT text FROM aio_notes`)).toEqual([])
    })
  )

  it.live("refuses a file that is no database, a folder, a missing folder, and a device", () =>
    Effect.gen(function* () {
      const text = fresh()
      writeFileSync(text, "not a database ".repeat(100))
      expect(yield* refusal(text)).toEqual({
        code: 2,
        message: `the store ${text}: the file is no SQLite database; expected one, or the name of a new file`
      })
      expect(readFileSync(text, "utf8")).toMatch(/^not a database/)
      expect((yield* refusal(folder)).message).toMatch(/is not a regular file/)
      expect((yield* refusal("/dev/full")).message).toMatch(/is not a regular file/)
      const missing = join(folder, "missing", "a.sqlite")
      expect(yield* refusal(missing)).toEqual({
        code: 2,
        message: `the store ${missing}: there is no folder ${join(folder, "missing")}; make it first`
      })
      expect(existsSync(join(folder, "missing"))).toBe(false)
    })
  )

  it.scopedLive("says which tables it was opened without", () =>
    Effect.gen(function* () {
      const store = yield* openAt(fresh(), [])
      const { exitCode, message } = yield* Effect.flip(
        Effect.provideService(Schedules.list(), Store.Store, store)
      )
      expect(message).toContain(
        "it has no table aio_schedules; open it with the tables of each service that uses it"
      )
      expect(exitCode).toBe(2)
    })
  )

  it.live("reports a corrupt file, and leaves it as it is", () =>
    Effect.gen(function* () {
      const whole = fresh()
      yield* Effect.scoped(
        Effect.flatMap(openAt(whole), ({ use }) => use((sql) => sql`PRAGMA wal_checkpoint(TRUNCATE)`))
      )
      const bytes = readFileSync(whole)
      const file = fresh()
      writeFileSync(file, bytes.fill(7, 120))
      expect(yield* refusal(file)).toEqual({
        code: 1,
        message: `the store ${file}: the file is corrupt; restore a copy, or give the name of a new file`
      })
      expect(readFileSync(file).equals(bytes)).toBe(true)
    })
  )

  it.live("reports a file that it may not write", () =>
    Effect.gen(function* () {
      const file = fresh()
      yield* Effect.scoped(
        Effect.flatMap(openAt(file), ({ use }) => use((sql) => sql`PRAGMA wal_checkpoint(TRUNCATE)`))
      )
      chmodSync(folder, 0o555)
      chmodSync(file, 0o444)
      // Permissions mean nothing to root.
      const isRoot = process.getuid!() === 0
      if (isRoot) process.seteuid!(65_534)
      const write = Effect.flatMap(
        openAt(file, [notes, { name: "other", changes: [(sql) => sql`SELECT 1`] }]),
        () => Effect.void
      )
      const error = yield* Effect.flip(Effect.scoped(write)).pipe(
        Effect.ensuring(
          Effect.sync(() => {
            if (isRoot) process.seteuid!(0)
            chmodSync(folder, 0o700)
          })
        )
      )
      expect(error).toMatchObject({ exitCode: 1 })
      expect(error.message).toMatch(
        /: the file (is read-only|cannot be opened); make it and its folder [\w ]*writable$/
      )
    })
  )

  it.scopedLive("keeps the changes of a transaction only when all succeed", () =>
    Effect.gen(function* () {
      const store = yield* openAt(fresh())
      const insert = (id: string) => store.use((sql) => sql`INSERT INTO aio_notes (id, at) VALUES (${id}, 0)`)
      const failed = yield* Effect.exit(
        store.transaction(() => Effect.zipRight(insert("a"), Effect.fail("no" as const)))
      )
      expect(failed).toEqual(Exit.fail("no"))
      yield* store.transaction(() => Effect.zipRight(insert("b"), insert("c")))
      // A statement outside of it waits for the end of the transaction.
      const both = yield* Effect.fork(store.transaction(() => Effect.zipRight(insert("d"), Effect.sleep(20))))
      yield* Effect.sleep(5)
      expect(
        (yield* store.use((sql) => sql`SELECT id FROM aio_notes ORDER BY id`)).map(({ id }) => id)
      ).toEqual(["b", "c", "d"])
      yield* Fiber.join(both)
    })
  )

  it.scopedLive("reports why a transaction failed, also where its end fails too", () =>
    Effect.gen(function* () {
      const store = yield* openAt(fresh())
      const ended = Effect.flip(store.transaction((sql) => sql`ROLLBACK`))
      expect((yield* ended).message).toContain("no transaction is active")
      const failed = store.transaction((sql) => Effect.zipRight(sql`ROLLBACK`, sql`SELECT * FROM nowhere`))
      expect((yield* Effect.flip(failed)).message).toContain("no such table: nowhere")
      const own = store.transaction((sql) => Effect.zipRight(sql`ROLLBACK`, Effect.fail("mine" as const)))
      expect(yield* Effect.flip(own)).toBe("mine")
      expect(yield* store.use((sql) => sql`SELECT * FROM aio_notes`)).toEqual([])
    })
  )

  it.scopedLive("waits for the lock of another process while the event loop turns", () =>
    Effect.gen(function* () {
      const file = fresh()
      const [one, other] = yield* Effect.all([openAt(file), openAt(file)])
      const turns: Array<string> = []
      const holder = yield* Effect.fork(
        one.transaction((sql) =>
          Effect.zipRight(sql`INSERT INTO aio_notes (id, at) VALUES ('a', 0)`, Effect.sleep(100))
        )
      )
      yield* Effect.sleep(10)
      const waiter = yield* Effect.fork(
        Effect.tap(
          other.transaction((sql) => sql`INSERT INTO aio_notes (id, at) VALUES ('b', 0)`),
          () => Effect.sync(() => turns.push("b"))
        )
      )
      yield* Effect.sleep(20)
      expect(turns).toEqual([])
      yield* Fiber.join(holder)
      yield* Fiber.join(waiter)
      expect(turns).toEqual(["b"])
    })
  )

  it.scopedLive("has one connection, however many transactions there are", () =>
    Effect.gen(function* () {
      const file = fresh()
      const store = yield* openAt(file)
      for (let i = 0; i < 20; i++)
        yield* store.transaction((sql) => sql`INSERT INTO aio_notes (id, at) VALUES (${i}, 0)`)
      const open = readdirSync("/proc/self/fd").filter((fd) => linkOf(`/proc/self/fd/${fd}`) === file)
      expect(open.length).toBe(1)
    })
  )
})
