import { execFileSync } from "node:child_process"
import * as fs from "node:fs"
import { join } from "node:path"
import { afterAll, assert, describe, it } from "@effect/vitest"
import * as OwnFiles from "../../../src/services/host/OwnFiles.js"
import { folder, names, removeFolders } from "../../support/Aio.js"

afterAll(removeFolders)

/** One of each kind of entry that is no regular file. */
const kinds = () => {
  const dir = folder()
  const at = (name: string) => join(dir, name)
  fs.writeFileSync(at("victim"), "precious")
  fs.symlinkSync("victim", at("link"))
  fs.symlinkSync("nowhere", at("dangling"))
  fs.mkdirSync(at("folder"))
  execFileSync("mkfifo", [at("pipe")])
  return { at, dir }
}

describe("files", () => {
  it("reads back regular files only, and not beyond the limit", () => {
    const { at } = kinds()
    assert.strictEqual(OwnFiles.readOwn(at("victim"), 8).toString(), "precious")
    assert.throws(() => OwnFiles.readOwn(at("victim"), 7), /8 bytes; at most 7/)
    for (const name of ["link", "dangling", "folder", "pipe"]) {
      assert.throws(() => OwnFiles.readOwn(at(name), 100), /not a regular file/, name)
    }
    assert.throws(() => OwnFiles.readOwn("/dev/zero", 100), /a device, not a regular file/)
    assert.throws(() => OwnFiles.readOwn(at("missing"), 100), /ENOENT/)
  })

  it("creates no file over an existing entry, a dangling link included", () => {
    const { at, dir } = kinds()
    const before = names(dir)
    for (const name of before) assert.throws(() => OwnFiles.createExclusive(at(name)), /EEXIST/, name)
    assert.deepStrictEqual(names(dir), before)
    fs.closeSync(OwnFiles.createExclusive(at("new")))
    assert.isTrue(fs.lstatSync(at("new")).isFile())
  })

  it("replaces a file in one step and leaves nothing beside it", () => {
    const { at, dir } = kinds()
    OwnFiles.replaceFile(at("link"), Buffer.from("new"))
    assert.strictEqual(fs.readFileSync(at("victim"), "utf8"), "precious")
    assert.strictEqual(fs.readFileSync(at("link"), "utf8"), "new")
    const before = names(dir)
    assert.throws(() => OwnFiles.replaceFile(at("folder"), Buffer.from("new")))
    assert.deepStrictEqual(names(dir), before)
    assert.notStrictEqual(OwnFiles.temporaryName(at("link")), OwnFiles.temporaryName(at("link")))
  })

  it("opens a file that the user named, but no pipe without a reader", () => {
    const { at } = kinds()
    fs.writeSync(OwnFiles.openNamed(at("link"), "append"), "+")
    assert.strictEqual(fs.readFileSync(at("victim"), "utf8"), "precious+")
    fs.closeSync(OwnFiles.openNamed("/dev/null", "append"))
    assert.throws(() => OwnFiles.openNamed(at("pipe"), "append"), /a named pipe that nothing reads/)
    const reader = fs.openSync(at("pipe"), fs.constants.O_RDONLY | fs.constants.O_NONBLOCK)
    fs.closeSync(OwnFiles.openNamed(at("pipe"), "append"))
    fs.closeSync(reader)
    fs.closeSync(OwnFiles.openNamed(at("victim"), "new"))
    assert.strictEqual(fs.readFileSync(at("victim"), "utf8"), "")
  })

  it("appends to its own files without following a link", () => {
    const { at } = kinds()
    for (const name of ["link", "dangling", "pipe"]) {
      assert.throws(() => OwnFiles.openOwn(at(name)), /not a regular file/, name)
    }
    fs.writeSync(OwnFiles.openOwn(at("victim")), "+")
    assert.strictEqual(fs.readFileSync(at("victim"), "utf8"), "precious+")
  })

  it("makes folders, and fails at once if none can be made", () => {
    const { at } = kinds()
    OwnFiles.makeFolder(at("a/b/c"))
    OwnFiles.makeFolder(at("a/b/c"))
    assert.isTrue(fs.statSync(at("a/b/c")).isDirectory())
    OwnFiles.makeFolder(at("folder"))
    for (const path of [
      "/proc/x",
      "/proc/x/y",
      "/proc/self/fd/x",
      at("victim"),
      at("victim/x"),
      at("dangling/x")
    ]) {
      assert.throws(() => OwnFiles.makeFolder(path), Error, undefined, path)
    }
    fs.symlinkSync("folder", at("to-folder"))
    OwnFiles.usableFolder(at("to-folder/d"))
    assert.isTrue(fs.statSync(at("folder/d")).isDirectory())
  })
})
