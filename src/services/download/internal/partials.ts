import { randomInt } from "node:crypto"
import * as fs from "node:fs"
import * as fsp from "node:fs/promises"
import * as path from "node:path"
import { Either, Schema } from "effect"
import { isLive, self } from "../../host/OwnedBy.js"
import { describe, FileKindError, makeFolder, readOwn } from "../../host/OwnFiles.js"
import type { Target } from "../Download.js"
import { fromNetwork } from "../FileName.js"
import type { SmallFiles } from "./smallFiles.js"

// A resumed download starts from a partial file: `findPartial` finds one, `takePartial` takes it over, and body.ts decides
// by the head of the response whether the rest belongs to it.
//
// Temporary and partial files of this process and of earlier ones. A name contains its process, so that leftovers of a
// killed process can be removed, and a random number, so that no other program can create it first. A file under such a
// name may come from another program: it is untrusted input, opened without following links and without blocking, read
// up to a limit, and it proves nothing unless it is exactly as this program would have written it.

/** Most bytes of a sidecar; a version that would need more is not kept. */
const mostSidecar = 16 * 1024

const position = Schema.NonNegative.pipe(Schema.int())

/** The sidecar of a partial file. */
const Sidecar = Schema.Struct({
  version: Schema.Literal(1),
  url: Schema.String,
  /** The strong validator to send as `If-Range`: an entity tag, or a date (RFC 9110, 8.8.2.2). */
  validator: Schema.String.pipe(
    Schema.maxLength(1024),
    Schema.pattern(/^(?!W\/)[\x21-\x7e\x80-\xff][\x20-\x7e\x80-\xff]*$/)
  ),
  total: Schema.optional(position),
  /** Of a file in segments: the ranges that are not written, in order; each from its first byte up to, not including, its last. */
  missing: Schema.optional(Schema.Array(Schema.Tuple(position, position))),
  /** The final name of the file; only the first response may have contained it. */
  name: Schema.String.pipe(Schema.filter((name) => fromNetwork(name) === name))
})
export interface Sidecar extends Schema.Schema.Type<typeof Sidecar> {}

const decode = Schema.decodeUnknownEither(Schema.parseJson(Sidecar))

/** A sidecar as text; undefined if it could not be read back. */
export const encodeSidecar = (
  sidecar: {
    readonly [K in keyof Sidecar]: Sidecar[K] | undefined
  }
): string | undefined => {
  const text = JSON.stringify(sidecar)
  return Buffer.byteLength(text) <= mostSidecar && Either.isRight(decode(text)) ? text : undefined
}

const leftover = /^\.(.+)\.(\d+:\d*)-\d+\.(aio-tmp|aio-part|aio-part\.json)$/

/** A hidden, unpredictable name of this process next to the target. */
export const ownName = (target: Target, kind: "aio-tmp" | "aio-part"): string =>
  path.join(target.directory, `.${target.name}.${self}-${randomInt(2 ** 48 - 1)}.${kind}`)

export const sidecarOf = (part: string) => `${part}.json`

/** Partial files that this process is writing to. */
export const active = new Set<string>()

/** Removes any entry except a folder; returns the reason if it still exists. */
const unlink = async (file: string): Promise<string | undefined> => {
  try {
    await fsp.unlink(file)
    return undefined
  } catch (error) {
    return (error as NodeJS.ErrnoException).code === "ENOENT" ? undefined : describe(error)
  }
}

/** The leftovers of earlier processes in a folder; listed once, so that a new download needs no access to the disk. */
export class Folder {
  /** Partial files that may be continuable, by the name of the request's target. */
  readonly partials = new Map<string, Set<string>>()
  /** The folders in it: no file can have their names. */
  readonly folders = new Set<string>()
  #note: string | undefined

  private constructor(
    readonly writer: SmallFiles,
    readonly owners: ReadonlySet<number | undefined>
  ) {}

  add(name: string, part: string) {
    const parts = this.partials.get(name)
    if (parts === undefined) this.partials.set(name, new Set([part]))
    else parts.add(part)
  }

  remove(name: string, part: string) {
    const parts = this.partials.get(name)
    if (parts?.delete(part) === true && parts.size === 0) this.partials.delete(name)
  }

  /** A note about the folder, once. */
  takeNote(): string | undefined {
    const note = this.#note
    this.#note = undefined
    return note
  }

  static async open(directory: string, writer: SmallFiles): Promise<Folder> {
    makeFolder(directory)
    // The owner of the folder can replace the final file anyway; files of other users are not continued.
    const folder = new Folder(writer, new Set([process.geteuid?.(), (await fsp.stat(directory)).uid]))
    const parts = new Map<string, string>()
    const useless = new Set<string>()
    const living = new Map<string, boolean>()
    const lives = (owner: string): boolean => {
      const known = living.get(owner) ?? isLive(owner)
      living.set(owner, known)
      return known
    }
    for await (const entry of await fsp.opendir(directory)) {
      if (entry.isDirectory()) folder.folders.add(entry.name)
      const [, name, owner, kind] = leftover.exec(entry.name) ?? []
      if (name === undefined || (owner !== self && lives(owner!))) continue
      const file = path.join(directory, entry.name)
      if (kind === "aio-part" && entry.isFile()) parts.set(file, name)
      else if (owner !== self) useless.add(file)
    }
    for (const [part, name] of parts) {
      // A part without its sidecar proves nothing; the sidecar of an existing part is kept.
      if (useless.delete(sidecarOf(part)) || part.includes(`.${self}-`)) folder.add(name, part)
      else useless.add(part)
    }
    const left: Array<string> = []
    for (const file of useless) {
      const why = await unlink(file)
      if (why !== undefined) left.push(`${path.basename(file)} (${why})`)
    }
    if (left.length > 0) {
      const more = left.length === 1 ? "" : ` and ${left.length - 1} more`
      folder.#note = `passed over what cannot be removed from ${directory}: ${left[0]}${more}`
    }
    return folder
  }
}

/** A partial file that can be continued at `offset`. */
export interface Partial {
  readonly offset: number
  readonly sidecar: Sidecar
  readonly file: string
  /** The file itself, as it was checked. */
  readonly stat: fs.Stats
}

/** The partial file has changed since it was checked, for instance because another process continues it. */
export class TakenError extends Error {
  readonly code = "EBUSY"
}

/** Whether the ranges are in order, apart, and within the file. */
const inOrder = (ranges: ReadonlyArray<readonly [number, number]>, total: number | undefined): boolean =>
  total !== undefined &&
  ranges.every(([from, end], i) => from < end && end <= total && (i === 0 || ranges[i - 1]![1] <= from))

/** The continuable partial file; a text if a note should report why it is not continued; else undefined. */
const inspect = (folder: Folder, file: string, target: Target, url: string): Partial | string | undefined => {
  const stat = fs.lstatSync(file, { throwIfNoEntry: false })
  if (stat === undefined) return undefined
  if (!stat.isFile()) return "it is not a regular file"
  // Writing would change the other file of a hard link too.
  if (stat.nlink !== 1) return "it has a second name"
  if (!folder.owners.has(stat.uid)) return "it is another user's"
  let text: string
  try {
    text = readOwn(sidecarOf(file), mostSidecar).toString("utf8")
  } catch (error) {
    if (error instanceof FileKindError || error instanceof RangeError)
      return `what describes it cannot be used: ${error.message}`
    return undefined // it is gone
  }
  const sidecar = decode(text)
  if (Either.isLeft(sidecar)) return "what describes it was not written by this program, or is torn"
  if (sidecar.right.url !== url) return undefined
  const { missing, name, total } = sidecar.right
  const wanted = target.contentDisposition === true ? name : target.name
  const known = { ...sidecar.right, name: wanted }
  if (missing !== undefined && missing.length > 0) {
    const written = missing.at(-1)![1] === total ? missing.at(-1)![0] : (total ?? 0)
    if (!inOrder(missing, total) || stat.size < written)
      return "what describes it is wrong about its segments"
    const [[offset]] = missing as readonly [readonly [number, number]]
    if ((target.split ?? 1) > 1) return { offset, sidecar: known, file, stat }
    // Without segments only what is whole from the beginning counts.
    return offset > 0 ? { offset, sidecar: { ...known, missing: undefined }, file, stat } : undefined
  }
  // The last byte of a complete file is requested again, so that the server still has to name its version.
  const offset = stat.size === total ? stat.size - 1 : stat.size
  if (offset <= 0 || (total !== undefined && offset >= total)) return undefined
  return { offset, sidecar: { ...known, missing: undefined }, file, stat }
}

/** The bytes of a partial file that count. */
export const bytesOf = ({ offset, sidecar: { missing, total } }: Partial): number =>
  missing === undefined ? offset : missing.reduce((sum, [from, end]) => sum - (end - from), total!)

/** Finds the partial file of an earlier attempt at this URL, and discards unusable ones; `note` receives the reason. */
export const findPartial = async (
  folder: Folder,
  target: Target,
  url: string,
  note: (text: string) => void = () => undefined
): Promise<Partial | undefined> => {
  let best: Partial | undefined
  for (const file of folder.partials.get(target.name) ?? []) {
    if (active.has(file)) continue
    const found = inspect(folder, file, target, url)
    if (typeof found === "object" && bytesOf(found) > (best === undefined ? 0 : bytesOf(best))) {
      if (best !== undefined) await discardPartial(folder, target, best.file)
      best = found
      continue
    }
    if (typeof found === "string") note(`${file} is not continued: ${found}`)
    await discardPartial(folder, target, file)
  }
  return best
}

/** Discards a partial file. If it cannot be removed it stays, and no download fails. */
export const discardPartial = async (folder: Folder, target: Target, file: string): Promise<void> => {
  await unlink(file)
  await unlink(sidecarOf(file))
  folder.remove(target.name, file)
}

const { O_NOFOLLOW, O_NONBLOCK, O_RDONLY, O_WRONLY } = fs.constants

/** Opens the same file that was checked, under its current name. */
const reopen = async ({ stat }: Partial, file: string, flags: number): Promise<fsp.FileHandle> => {
  const changed = new TakenError("the partial file has been changed meanwhile")
  const handle = await fsp.open(file, flags | O_NOFOLLOW | O_NONBLOCK).catch((error) => {
    throw ["ENOENT", "ELOOP", "ENXIO", "EISDIR"].includes(error.code) ? changed : error
  })
  const now = await handle.stat()
  const same = (["dev", "ino", "nlink", "size", "mtimeMs"] as const).every((key) => now[key] === stat[key])
  if (same) return handle
  await handle.close()
  throw changed
}

/** The bytes of a partial file, for the checksum of the whole file. */
export const readPartial = async function* (partial: Partial): AsyncGenerator<Buffer> {
  const handle = await reopen(partial, partial.file, O_RDONLY)
  yield* handle.createReadStream({ end: partial.offset - 1 }) // closes the handle
}

/** Renames a partial file to a name of this process, and opens it to continue at its offset. */
export const takePartial = async (
  folder: Folder,
  target: Target,
  partial: Partial,
  file: string
): Promise<fsp.FileHandle> => {
  await fsp.rename(partial.file, file).catch((error) => {
    throw error.code === "ENOENT" ? new TakenError("another process continues this file") : error
  })
  await discardPartial(folder, target, partial.file)
  const handle = await reopen(partial, file, O_WRONLY)
  try {
    if (partial.sidecar.missing === undefined) await handle.truncate(partial.offset)
    return handle
  } catch (error) {
    await handle.close()
    throw error
  }
}
