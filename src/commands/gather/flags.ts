import { Either } from "effect"
import * as DownloadList from "../../services/download/DownloadList.js"
import * as Flag from "../kernel/Flag.js"
import * as Flags from "../kernel/Flags.js"
import type * as Values from "../kernel/Values.js"

const header: Flag.Parse<readonly [name: string, value: string]> = (text) => {
  const match = /^([!#$%&'*+.^_`|~0-9A-Za-z-]+):[ \t]*(.*)$/s.exec(text)
  if (match === null)
    return Either.left(`'${text.replace(/\s+/g, " ")}' is not a header; expected 'Name: value'`)
  if (/[\0-\x08\x0a-\x1f\x7f]|[^\0-\xff]/.test(match[2]!)) {
    return Either.left(`the value of ${match[1]} has a line end or another character that no header may have`)
  }
  return Either.right([match[1]!, match[2]!])
}

const user: Flag.Parse<{ readonly name: string; readonly password: string }> = (text) => {
  const colon = text.indexOf(":")
  if (colon < 0) return Either.left("no password; expected NAME:PASSWORD, or NAME: for an empty one")
  if (/[\0-\x1f\x7f]/.test(text))
    return Either.left("it has a control character, which no user or password may have")
  return Either.right({ name: text.slice(0, colon), password: text.slice(colon + 1) })
}

/** The options of `aio gather`. */
export const flags = {
  directory: Flag.withText(Flags.directory, "save files in DIR", "the current folder"),
  output: Flags.file(
    "output",
    "save the one URL as FILE, within DIR if that is given; - is standard output",
    {
      alias: "o"
    }
  ),
  discard: Flag.toggle("discard", "read and count the files, and save nothing"),
  argFile: Flag.withText(
    Flags.argFile,
    "read URLs from FILE too: a URL a line, then TAB and a file name, TAB and a checksum; - is standard input"
  ),
  format: Flags.format(["lines", "null"]),
  nul: Flags.nul,
  maxLine: Flags.maxLine,
  jobs: Flag.withDefault(
    Flag.withText(Flags.jobs, "transfers at once: a number, or N% or +N of the processors"),
    { of: "number", n: 16 } as Values.Jobs,
    "16"
  ),
  perHost: Flags.count(1)("per-host", "transfers at once from one host"),
  split: Flags.count(1, 64)(
    "split",
    "connections for one file, each for a segment of 1 MiB or more, where the server proves that they belong together"
  ),
  retries: Flags.retries(3),
  timeout: Flag.withText(Flags.timeout, "time limit of a transfer, with its retries"),
  stallTimeout: Flags.span("stall-timeout", "longest time without a byte", { default: "30s" }),
  connectTimeout: Flags.span("connect-timeout", "time limit of a connection", { default: "10s" }),
  limitRate: Flags.size(100)("limit-rate", "bytes a second over all transfers, like 500K or 2M"),
  maxSize: Flags.size(1)(
    "max-size",
    "most bytes of a decoded body; default no limit, but 1G for a compressed body"
  ),
  maxRedirects: Flag.withDefault(Flags.count(0)("max-redirects", "redirects followed for one URL"), 10),
  header: Flag.values("header", {
    value: "'NAME: VALUE'",
    text: "send this with every request; Authorization and Cookie stay with the URL's own origin",
    parse: header
  }),
  checksum: Flag.kind("ALGORITHM:HEX", DownloadList.parseChecksum)(
    "checksum",
    "what the one URL's file must have: sha256:HEX, sha512:HEX, sha1:HEX or md5:HEX"
  ),
  checksums: Flags.file(
    "checksums",
    "check each file by a list like SHA256SUMS, a FILE or a URL; a URL that is not in it is refused"
  ),
  onFailure: Flags.onFailure(["cancel", "continue", "collect"], "continue"),
  clobber: Flag.negatable(
    "clobber",
    "replace files that exist; --no-clobber keeps them, unless a checksum says that they are wrong",
    "--clobber"
  ),
  timestamping: Flag.toggle(
    "timestamping",
    "replace a file that exists only if the server's is newer; with a checksum, only if it is wrong",
    "N"
  ),
  mtime: Flag.negatable(
    "mtime",
    "give files the server's modification time; --no-mtime leaves the time of the download",
    "--mtime"
  ),
  resume: Flag.negatable(
    "resume",
    "continue partial files of an earlier run that are the same version; --no-resume keeps none either",
    "--resume"
  ),
  forceDirectories: Flag.toggle(
    "force-directories",
    "save each file below its URL's host and folders: DIR/example.org/a/b.zip",
    "x"
  ),
  cacert: Flags.file("cacert", "trust the authorities in FILE (PEM), and no others"),
  user: Flag.kind("NAME:PASSWORD", user)(
    "user",
    "user of URLs that name none, sent to their own origin only; AIO_GATHER_USER keeps it off the command line"
  ),
  contentDisposition: Flag.toggle("content-disposition", "take file names from the server"),
  fsync: Flag.toggle("fsync", "a finished file survives a power cut"),
  denyPrivate: Flag.toggle(
    "deny-private",
    "refuse addresses that are not public, at every redirect, after DNS"
  ),
  cluster: Flag.withText(
    Flags.cluster,
    "download on the runners of this store (aio runner --store STORE --downloads DIR), into their folders; the URLs of a host on one of them"
  ),
  group: Flags.group,
  dryRun: Flag.withText(Flags.dryRun, "print URLs and files; download nothing"),
  progress: Flag.withText(Flags.progress, Flags.progress.text, "--progress on a terminal"),
  ...Flags.reporting
}
