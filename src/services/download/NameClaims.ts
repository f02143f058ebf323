import { createHash } from "node:crypto"
import { Data, Effect } from "effect"
import { codes } from "../host/ExitCodes.js"
import * as Download from "./Download.js"
import * as FileName from "./FileName.js"

// The names of the files to download: each belongs to one request.

/**
 * A name that two requests would both write.
 *
 * @since 0.1.0
 * @category errors
 */
export class NameTaken extends Data.TaggedError("NameTaken")<{
  readonly name: string
  /** The earlier request's spelling of the name, which may differ in case. */
  readonly taken: string
  readonly url: string
  readonly source: string | undefined
  /** Whether it is the same URL, with another checksum. */
  readonly same: boolean
}> {
  readonly exitCode = codes.usage
  override get message() {
    const { name, same, source, taken, url } = this
    const where = `${source === undefined ? "" : `${source}: `}${url}: `
    if (same)
      return `${where}it is listed already, with another checksum or without one; list it once, with the right one`
    const [file, path] = name.length < taken.length ? [name, taken] : [taken, name]
    if (path.toLowerCase().startsWith(`${file.toLowerCase()}/`))
      return `${where}'${path}' needs the folder '${file}', which is a file of the same list; give one of them another name`
    const other = name === taken ? "" : `, and '${name}' is the same file where case does not count`
    return `${where}another URL is saved as '${taken}' already${other}; give one of them a name of its own (URL, TAB, name)`
  }
}

/**
 * A folder has the name of a file to download.
 *
 * @since 0.1.0
 * @category errors
 */
export class FolderInTheWay extends Data.TaggedError("FolderInTheWay")<{
  readonly directory: string
  readonly name: string
  readonly source: string | undefined
}> {
  readonly exitCode = codes.usage
  override get message() {
    const { directory, name, source } = this
    return `${source === undefined ? "" : `${source}: `}${directory}/${name} is a folder; move it away, or give the file another name`
  }
}

/**
 * The name under which a request is saved, which may have folders.
 *
 * @since 0.1.0
 * @category functions
 */
export const nameOf = (request: Download.DownloadRequest): string =>
  request.name ?? FileName.fromUrl(request.url)

/**
 * File names in use.
 *
 * @since 0.1.0
 * @category models
 */
export interface NameClaims {
  /** Takes a name; false when it is taken. */
  readonly claim: (name: string) => boolean
  /** Takes a request's name and returns it, also if an equal request has it; fails if another one has it. */
  readonly check: (request: Download.DownloadRequest) => Effect.Effect<string, NameTaken>
  /** {@link check}; returns whether this is the first of several equal requests to begin. */
  readonly begin: (request: Download.DownloadRequest) => Effect.Effect<boolean, NameTaken>
}

interface Claim {
  readonly name: string
  /** Identifies the URL: see {@link identify}. */
  readonly url: string | undefined
  readonly checksum: string | undefined
  begun: boolean
}

/** Characters of a URL that is kept itself: not many more than a digest has, which takes longer than all else here. */
const short = 96

/** The URL that is sent, or the digest of a long one, which bounds the memory for a list. No URL looks like a digest. */
const identify = ({ href }: URL): string => {
  const end = href.indexOf("#") // the fragment is not sent
  if (end < 0 && href.length <= short) return href
  const sent = Buffer.from(href).subarray(0, end < 0 ? href.length : end) // a slice of the text would keep the whole
  return sent.length <= short ? sent.toString() : createHash("sha256").update(sent).digest("base64")
}

/**
 * Refuses a request whose name an earlier one has, unless it is the same request again: the same URL, name and checksum.
 * Keeps only the names, and of each URL a text of bounded length.
 *
 * @since 0.1.0
 * @category constructors
 */
export const make = (): NameClaims => {
  const claims = new Map<string, Claim>()
  /** The folders of names that have some: no file has their names. */
  const folders = new Map<string, string>()
  const keyOf = (name: string) => name.toLowerCase() // some file systems ignore case
  /** Another name that needs a file where this one needs a folder, or a folder where this one is a file. */
  const inTheWay = (name: string): string | undefined => {
    const below = folders.get(keyOf(name))
    if (below !== undefined) return below
    const above: Array<string> = []
    for (let end = name.indexOf("/"); end >= 0; end = name.indexOf("/", end + 1)) {
      const folder = keyOf(name.slice(0, end))
      const file = claims.get(folder)
      if (file !== undefined) return file.name
      above.push(folder)
    }
    for (const folder of above) if (!folders.has(folder)) folders.set(folder, name)
    return undefined
  }
  const take = (request: Download.DownloadRequest): Claim | NameTaken => {
    const name = nameOf(request)
    const key = keyOf(name)
    const url = identify(request.url)
    const checksum = request.checksum?.hex // of one algorithm, by its length
    const earlier = claims.get(key)
    const blocked = earlier === undefined ? inTheWay(name) : undefined
    if (blocked !== undefined) {
      const { source, url } = request
      return new NameTaken({ name, taken: blocked, url: Download.show(url), source, same: false })
    }
    if (earlier === undefined) {
      const claim = { name, url, checksum, begun: false }
      claims.set(key, claim)
      return claim
    }
    if (earlier.url === url && earlier.name === name && earlier.checksum === checksum) return earlier
    const same = earlier.url === url && earlier.name === name
    return new NameTaken({
      name,
      taken: earlier.name,
      url: Download.show(request.url),
      source: request.source,
      same
    })
  }
  return {
    claim: (name) => {
      const key = keyOf(name)
      if (claims.has(key) || inTheWay(name) !== undefined) return false
      claims.set(key, { name, url: undefined, checksum: undefined, begun: true })
      return true
    },
    check: (request) =>
      Effect.suspend(() => {
        const taken = take(request)
        return taken instanceof NameTaken ? Effect.fail(taken) : Effect.succeed(taken.name)
      }),
    begin: (request) =>
      Effect.suspend(() => {
        const taken = take(request)
        if (taken instanceof NameTaken) return Effect.fail(taken)
        const first = !taken.begun
        taken.begun = true
        return Effect.succeed(first)
      })
  }
}
